#include "launcher/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "launcher/report/html.h"

namespace tradewind::launcher {
namespace {

// In units of the view box. Coordinates are whole numbers: half a pixel where the chart is shown at half its size.
constexpr int kWidth = 960, kHeight = 500, kTop = 24, kBottom = 440, kRight = 926, kColumn = 4;
constexpr double kCharacter = 20;  // width of a digit in the larger of the style sheet's two sizes
constexpr std::size_t kRuns = 6;   // colours, and dashes, that there are

std::string colour(std::size_t run) { return std::to_string(run % kRuns); }
/// Runs with the same colour have other dashes.
std::string dashes(std::size_t run) { return std::to_string((run + run / kRuns) % kRuns); }

struct Axis {
  double low = 0, high = 1;  // of the values; their logarithms where `logarithmic`
  bool logarithmic = false;
  std::vector<double> ticks = {};

  double at(double value) const { return ((logarithmic ? std::log10(value) : value) - low) / (high - low); }
};

struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

Axis linear_axis(double low, double high, int count) {
  if (!(low < high)) {  // one value: some room around it
    const double room = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= room;
    high += room;
  }
  return {.low = low, .high = high, .ticks = axis_ticks(low, high, count)};
}

/// Linear, but logarithmic where the values are positive and span more than three powers of ten.
Axis value_axis(const Extent& extent, bool nought) {
  if (nought || !(extent.low > 0) || extent.high / extent.low < 1000) {
    // From nought where that wastes little of the height; else a little room above and below.
    const double room = 0.03 * (extent.high - extent.low);
    const bool from_nought = extent.low >= 0 && (nought || extent.low < 0.12 * extent.high);
    return linear_axis(from_nought ? 0 : extent.low - room, extent.high + room, 5);
  }
  Axis out{.logarithmic = true};
  out.low = std::floor(std::log10(extent.low));
  out.high = std::ceil(std::log10(extent.high));
  const double every = std::ceil((out.high - out.low) / 6);
  for (double power = out.low; power <= out.high; power += every) out.ticks.push_back(std::pow(10, power));
  return out;
}

struct Column {
  double x = 0, sum = 0, low = std::numeric_limits<double>::infinity(), high = -low;
  std::int64_t count = 0;
  bool gap = false;  // a value of it is missing
};

/// Where things are drawn.
class Canvas {
 public:
  Canvas(const Axis& steps, const Axis& values, int left) : steps_(steps), values_(values), left_(left) {}
  int left() const { return left_; }
  int x(double step) const { return static_cast<int>(std::lround(left_ + steps_.at(step) * (kRight - left_))); }
  int y(double value) const { return static_cast<int>(std::lround(kBottom - values_.at(value) * (kBottom - kTop))); }

  /// One column a point where there is room for them, else kColumn units each.
  std::vector<Column> columns(const std::vector<ChartPoint>& points) const {
    const auto room = static_cast<std::size_t>((kRight - left_) / kColumn);
    std::vector<Column> out;
    std::int64_t number = -1;
    for (const ChartPoint& p : points) {
      const int at = x(static_cast<double>(p.step));
      const std::int64_t mine = points.size() <= room ? number + 1 : (at - left_) / kColumn;
      if (mine != number) out.push_back({});
      number = mine;
      Column& column = out.back();
      if (!std::isfinite(p.value)) {
        column.gap = true;
        if (column.count == 0) column.x = at;
        continue;
      }
      column.x = column.count == 0 ? at : column.x + (at - column.x) / static_cast<double>(column.count + 1);
      column.sum += p.value;
      column.low = std::min(column.low, p.value);
      column.high = std::max(column.high, p.value);
      ++column.count;
    }
    return out;
  }

 private:
  const Axis &steps_, &values_;
  int left_;
};

/// A path of "move to" and short relative lines.
class Path {
 public:
  void to(int x, int y) {
    if (!drawing_)
      text_ += fmt::format("M{} {}", x, y);
    else if (x != x_ || y != y_)
      text_ += fmt::format("l{}{}{}", x - x_, y - y_ < 0 ? "" : " ", y - y_);
    else if (!moved_)
      text_ += "h0";  // a point alone is a dot
    moved_ = drawing_ && (moved_ || x != x_ || y != y_);
    drawing_ = true;
    x_ = x;
    y_ = y;
  }
  void lift() {
    if (drawing_ && !moved_) text_ += "h0";
    drawing_ = moved_ = false;
  }
  void close() {
    text_ += "z";
    drawing_ = moved_ = false;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool drawing_ = false, moved_ = false;
  int x_ = 0, y_ = 0;
};

/// The pieces between gaps.
std::vector<std::vector<Column>> pieces(const std::vector<Column>& columns) {
  std::vector<std::vector<Column>> out(1);
  for (const Column& column : columns) {
    if (column.gap && !out.back().empty()) out.emplace_back();
    if (column.count > 0) out.back().push_back(column);
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

std::string curve_svg(const ChartCurve& curve, const Canvas& canvas, bool faint) {
  const auto columns = canvas.columns(curve.points);
  Path line, band, crosses;
  bool spread = false;
  for (const auto& piece : pieces(columns)) {
    for (const Column& c : piece) {
      const auto x = static_cast<int>(std::lround(c.x));
      line.to(x, canvas.y(c.sum / static_cast<double>(c.count)));
      band.to(x, canvas.y(c.high));
      spread = spread || c.low < c.high;
    }
    line.lift();
    for (auto c = piece.rbegin(); c != piece.rend(); ++c) band.to(static_cast<int>(std::lround(c->x)), canvas.y(c->low));
    band.close();
  }
  const std::string run = colour(curve.run);
  std::string out;
  if (spread) out += fmt::format("<path class=\"band f{}{}\" d=\"{}\"/>", run, faint ? " faint" : "", band.text());
  if (!line.text().empty())
    out += fmt::format("<path class=\"line s{} d{}{}\" d=\"{}\"/>", run, dashes(curve.run), curve.background ? " thin" : "",
                       line.text());
  if (curve.dots && curve.points.size() <= 60) {
    Path dots;
    for (const Column& c : columns) {
      if (c.count == 0) continue;
      dots.to(static_cast<int>(std::lround(c.x)), canvas.y(c.sum / static_cast<double>(c.count)));
      dots.lift();
    }
    if (!dots.text().empty()) out += fmt::format("<path class=\"dot s{}\" d=\"{}\"/>", run, dots.text());
  }
  std::string bad;
  for (const Column& c : columns)
    if (c.gap) bad += fmt::format("M{} {}l12 12m0-12l-12 12", std::lround(c.x) - 6, kBottom - 18);
  if (!bad.empty()) out += fmt::format("<path class=\"bad\" d=\"{}\"/>", bad);
  return out;
}

std::string axes_svg(const Canvas& canvas, const Axis& steps, const Axis& values, const std::vector<std::string>& labels) {
  std::string grid, text;
  for (std::size_t i = 0; i < values.ticks.size(); ++i) {
    const int y = canvas.y(values.ticks[i]);
    grid += fmt::format("M{} {}H{}", canvas.left(), y, kRight);
    text += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", canvas.left() - 12, y + 10, labels[i]);
  }
  std::string marks;
  const double spacing = steps.ticks.size() > 1 ? steps.ticks[1] - steps.ticks[0] : 1;
  for (const double tick : steps.ticks) {
    const int x = canvas.x(tick);
    marks += fmt::format("M{} {}v9", x, kBottom);
    text += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>", std::min(x, kWidth - 4), kBottom + 44,
                        x > kRight - 30 ? "end" : "middle", number_label(tick, spacing, ChartUnit::kPlain, steps.ticks.back()));
  }
  return fmt::format("<path class=\"grid\" d=\"{}\"/><path class=\"axis\" d=\"M{} {}H{}{}\"/><g class=\"tick\">{}</g>", grid,
                     canvas.left(), kBottom, kRight, marks, text);
}

std::string legend_html(const Chart& chart) {
  std::string out = "<ul class=\"legend\">";
  for (const ChartCurve& c : chart.curves) {
    const std::string run = colour(c.run);
    out += fmt::format(
        "<li><svg viewBox=\"0 0 84 28\" aria-hidden=\"true\"><path class=\"line s{} d{}{}\" d=\"M3 14H81\"/>{}</svg>{}</li>",
        run, dashes(c.run), c.background ? " thin" : "",
        c.dots ? fmt::format("<path class=\"dot s{}\" d=\"M42 14h0\"/>", run) : "", escape_html(c.name));
  }
  return out + "</ul>";
}

/// What the chart shows, for who does not see it.
std::string description(const Chart& chart) {
  std::string out;
  for (const ChartCurve& c : chart.curves) {
    const ChartPoint *first = nullptr, *last = nullptr, *lowest = nullptr, *highest = nullptr;
    for (const ChartPoint& p : c.points) {
      if (!std::isfinite(p.value)) continue;
      if (first == nullptr) first = &p;
      if (lowest == nullptr || p.value < lowest->value) lowest = &p;
      if (highest == nullptr || p.value > highest->value) highest = &p;
      last = &p;
    }
    if (first == nullptr) continue;
    const auto text = [&](const ChartPoint* p) {
      return fmt::format("{} at step {}", number_label(p->value, 0, chart.unit), p->step);
    };
    out +=
        fmt::format("{}: from {} to {}; lowest {}, highest {}. ", c.name, text(first), text(last), text(lowest), text(highest));
  }
  return out;
}

std::size_t gaps(const Chart& chart) {
  std::size_t out = 0;
  for (const ChartCurve& c : chart.curves)
    out +=
        static_cast<std::size_t>(std::ranges::count_if(c.points, [](const ChartPoint& p) { return !std::isfinite(p.value); }));
  return out;
}

double power_of_ten(double value) { return std::pow(10, std::floor(std::log10(value) + 1e-9)); }

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count) {
  const double raw = (high - low) / count, power = power_of_ten(raw), part = raw / power;
  const double spacing = (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10) * power;
  std::vector<double> out;
  const double first = std::ceil(low / spacing - 1e-6);
  for (double i = first; i * spacing <= high + spacing * 1e-6; ++i) out.push_back(i * spacing);
  if (out.empty()) out = {low, high};
  return out;
}

std::string number_label(double value, double spacing, ChartUnit unit, double largest) {
  const double size = std::max({std::abs(value), spacing, largest});
  double scale = 1;
  std::string suffix;
  if (unit == ChartUnit::kBytes) {
    constexpr const char* kNames[] = {" B", " kB", " MB", " GB", " TB"};
    int power = 0;
    for (; size / scale >= 1000 && power < 4; ++power) scale *= 1000;
    suffix = kNames[power];
  } else if (size >= 10'000) {
    constexpr const char* kNames[] = {"k", "M", "G", "T"};
    int power = -1;
    for (; (size / scale >= 1000 && power < 3); ++power) scale *= 1000;
    suffix = kNames[power];
  }
  if (value == 0 && unit == ChartUnit::kPlain) return "0";
  const double scaled = value / scale;
  if (spacing <= 0) return fmt::format("{:.4g}{}", scaled, suffix);
  const double resolved = spacing / scale;
  if (resolved < 1e-4) return fmt::format("{:g}{}", std::round(scaled / resolved) * resolved, suffix);
  int digits = std::max(0, static_cast<int>(std::ceil(-std::log10(resolved) - 1e-9)));
  return fmt::format("{:.{}f}{}", scaled == 0 ? 0.0 : scaled, digits, suffix);
}

std::string chart_html(const Chart& of_all) {
  Chart chart = of_all;
  std::erase_if(chart.curves, [](const ChartCurve& c) { return c.points.empty(); });  // of a model that has no steps
  Extent values, steps;
  for (const ChartCurve& c : chart.curves)
    for (const ChartPoint& p : c.points) {
      values.add(p.value);
      steps.add(static_cast<double>(p.step));
    }
  if (values.empty()) return "";
  const Axis y = value_axis(values, chart.from_nought);
  Axis x = linear_axis(steps.low < 0.2 * steps.high ? 0 : steps.low, steps.high, 5);
  // Steps are drawn to the last one, not to the next round number.
  x.low = std::min(x.ticks.front(), steps.low);
  if (steps.low < steps.high) x.high = steps.high;
  std::erase_if(x.ticks, [&](double t) { return t > x.high || t < x.low || std::abs(t - std::round(t)) > 1e-6; });
  const double spacing = y.logarithmic ? 0 : y.ticks.size() > 1 ? y.ticks[1] - y.ticks[0] : 0;
  std::vector<std::string> labels;
  std::size_t widest = 0;
  for (const double tick : y.ticks) {
    labels.push_back(number_label(tick, spacing, chart.unit, y.logarithmic ? 0 : y.ticks.back()));
    widest = std::max(widest, labels.back().size());
  }
  const Canvas canvas(x, y, static_cast<int>(24 + kCharacter * static_cast<double>(widest)));
  std::string curves;
  for (const ChartCurve& c : chart.curves) curves += curve_svg(c, canvas, chart.curves.back().run > 2);
  const std::string bad =
      gaps(chart) > 0
          ? fmt::format("<p class=\"quiet\">&#215; at the foot: steps without a finite value ({}).</p>", gaps(chart))
          : "";
  const std::string title = escape_html(chart.title), id = escape_html(chart.id);
  return fmt::format(
      "<figure><h3>{0}</h3><figcaption>{1}{2}, against the step</figcaption>\n"
      "<svg viewBox=\"0 0 {3} {4}\" role=\"img\" aria-labelledby=\"{5}-t {5}-d\"><title id=\"{5}-t\">{0} against the "
      "step</title><desc id=\"{5}-d\">{6}</desc>\n{7}\n{8}</svg>\n{9}{10}</figure>\n",
      title, escape_html(chart.what), y.logarithmic ? " (logarithmic)" : "", kWidth, kHeight, id,
      escape_html(description(chart)), axes_svg(canvas, x, y, labels), curves, legend_html(chart), bad);
}

}  // namespace tradewind::launcher
