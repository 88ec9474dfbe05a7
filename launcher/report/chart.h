// A chart of a quantity against the step: several curves over each other, as SVG in a <figure>.
//
// Whatever the length of a run, a curve is drawn in at most 216 columns: the mean of a column as a line, its lowest to highest
// value as a band, so that no spike is lost. A step without a finite value is a gap and a cross at the foot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tradewind::launcher {

struct ChartPoint {
  std::int64_t step;
  double value;  // not finite: there is none
};

struct ChartCurve {
  std::string name;
  std::size_t run = 0;                  // decides colour and dashes
  bool background = false;              // thin: the noisy one of two
  bool dots = false;                    // a dot a point, where they are few
  std::vector<ChartPoint> points = {};  // by step
};

enum class ChartUnit : std::uint8_t { kPlain, kBytes };

struct Chart {
  std::string id;     // unique in the page
  std::string title;  // "Loss"
  std::string what;   // "nats a token"
  ChartUnit unit = ChartUnit::kPlain;
  bool from_nought = false;  // the axis begins at 0 whatever the values
  std::vector<ChartCurve> curves = {};
};

/// The figure; "" where no curve has a finite value.
std::string chart_html(const Chart& chart);

/// A short number for axes and sentences: "1.25", "20k", "3e-05", "250 MB". `spacing`: what the digits must resolve; 0: four
/// significant ones. `largest`: of the numbers beside it, which share the "k" or "MB".
std::string number_label(double value, double spacing, ChartUnit unit = ChartUnit::kPlain, double largest = 0);

/// Round values (1, 2 or 5 times a power of ten) that span [low, high], about `count` of them.
std::vector<double> axis_ticks(double low, double high, int count);

}  // namespace tradewind::launcher
