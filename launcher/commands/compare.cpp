#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/compare_users.h"
#include "launcher/output.h"
#include "launcher/run_summary.h"
#include "runtime/core/terminal.h"

namespace tradewind::launcher {
namespace {

char letter(std::size_t run) { return static_cast<char>('A' + run % 26); }

using nlohmann::ordered_json;
using runtime::RunRecord;

const char* const kHelp = R"(What sets runs apart: their configs, their results, their curves.

usage: tradewind compare RUN RUN... [--json]
       tradewind compare FILE FILE [--json]

  RUN     a run directory; the first is the one that the others are held against
  FILE    what `tradewind evaluate --per-user FILE` wrote: two models user by
          user, with the interval of their difference (paired bootstrap)
  --json  print one JSON object, without the curves

The curves are of the validation loss where every run has at least two
evaluations, else of the training loss, smoothed.

examples:
  tradewind compare runs/a runs/b
  tradewind compare runs/a runs/b runs/c --json
  tradewind compare a.csv b.csv
)";

struct Point {
  double step, loss;
};

/// Means over parts of the run, as many as the plot is wide.
std::vector<Point> training_curve(const RunRecord& run, std::size_t points) {
  std::vector<Point> out;
  const std::size_t n = run.steps.size(), parts = std::min(n, points);
  for (std::size_t p = 0; p < parts; ++p) {
    Point mean{0, 0};
    const std::size_t begin = n * p / parts, end = n * (p + 1) / parts;
    for (std::size_t i = begin; i < end; ++i) {
      mean.step += static_cast<double>(run.steps[i].step);
      mean.loss += run.steps[i].loss;
    }
    out.push_back({mean.step / static_cast<double>(end - begin), mean.loss / static_cast<double>(end - begin)});
  }
  return out;
}

/// 72 columns by 16 rows of letters, one a run.
void print_curves(const std::vector<RunRecord>& runs) {
  constexpr std::size_t kWidth = 68, kHeight = 16;
  const bool validation = std::ranges::all_of(runs, [](const RunRecord& r) { return r.evaluations.size() > 1; });
  std::vector<std::vector<Point>> curves;
  double steps = 1, low = INFINITY, high = -INFINITY;
  for (const RunRecord& run : runs) {
    std::vector<Point> curve = validation ? std::vector<Point>() : training_curve(run, kWidth);
    if (validation)
      for (const auto& e : run.evaluations) curve.push_back({static_cast<double>(e.step), e.loss});
    std::erase_if(curve, [](const Point& p) { return !std::isfinite(p.loss); });
    for (const Point& p : curve) {
      steps = std::max(steps, p.step);
      low = std::min(low, p.loss);
      high = std::max(high, p.loss);
    }
    curves.push_back(std::move(curve));
  }
  if (!(low < high)) return;
  std::vector<std::string> rows(kHeight, std::string(kWidth, ' '));
  for (std::size_t r = 0; r < curves.size(); ++r)
    for (const Point& p : curves[r]) {
      const auto column = static_cast<std::size_t>(std::lround(p.step / steps * (kWidth - 1)));
      const auto row = static_cast<std::size_t>(std::lround((high - p.loss) / (high - low) * (kHeight - 1)));
      char& cell = rows[row][column];
      cell = cell == ' ' || cell == letter(r) ? letter(r) : '*';
    }
  std::printf("\n%s loss (* where runs meet)\n", validation ? "validation" : "training");
  for (std::size_t i = 0; i < kHeight; ++i) {
    if (i % 5 == 0)
      std::printf("%8.3f |%s\n", high - (high - low) * static_cast<double>(i) / (kHeight - 1), rows[i].c_str());
    else
      std::printf("%8s |%s\n", "", rows[i].c_str());
  }
  std::printf("%8s +%s\n%8s  1%*.0f steps\n", "", std::string(kWidth, '-').c_str(), "", static_cast<int>(kWidth) - 7, steps);
}

std::string cell(const ordered_json& value, const char* format) {
  if (value.is_null()) return "-";
  char out[32];
  std::snprintf(out, sizeof out, format, value.get<double>());
  return out;
}

/// Recommenders have a column more: the metric that tells the best.
void print_table(const std::vector<ordered_json>& rows) {
  const bool ranked = std::ranges::any_of(rows, [](const ordered_json& s) { return !s["best_by"].is_null(); });
  const auto metric = [&](const ordered_json& s) {
    if (s["best_by"].is_null()) return std::string("-");
    const std::string among = s["sampled_candidates"].is_null() ? "" : fmt::format(" of {}", s["sampled_candidates"].dump());
    return fmt::format("{} {}{}", s["best_by"].get<std::string>(), cell(s["best_metric"], "%.4f"), among);
  };
  std::printf("%-3s %8s %9s %11s %9s %9s %10s %8s%s\n", "", "steps", "training", "validation", "best", "at step", "rate",
              "seconds", ranked ? "  best by" : "");
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto& s = rows[r];
    std::printf("%c   %8s %9s %11s %9s %9s %10s %8s%s\n", letter(r), cell(s["steps"], "%.0f").c_str(),
                cell(s["training_loss"], "%.4f").c_str(), cell(s["validation_loss"], "%.4f").c_str(),
                cell(s["best_validation_loss"], "%.4f").c_str(), cell(s["best_step"], "%.0f").c_str(),
                cell(s["rate"], "%.0f").c_str(), cell(s["seconds"], "%.0f").c_str(), ranked ? ("  " + metric(s)).c_str() : "");
  }
}

}  // namespace

int run_compare(const Arguments& arguments, const models::Registry&) {
  CommandLine line("compare", kHelp);
  std::string first;
  std::vector<std::string> others;
  bool json = false;
  line.positional("RUN", first);
  line.positionals("RUNS", others);
  line.flag("--json", json);
  line.parse(arguments, 1);
  if (others.empty()) line.complain("a second RUN is missing");
  if (others.size() == 1 && std::filesystem::is_regular_file(first) && std::filesystem::is_regular_file(others[0]))
    return compare_users(first, others[0], json);
  std::vector<RunRecord> runs{runtime::read_run(first)};
  for (const std::string& path : others) runs.push_back(runtime::read_run(path));

  std::vector<ordered_json> rows;
  rows.reserve(runs.size());
  for (const RunRecord& run : runs) rows.push_back(run_summary(run));
  const ordered_json differences = config_differences(runs);
  if (json) {
    const ordered_json out = {{"runs", rows}, {"config_differences", differences}};
    print_json(out);
    return 0;
  }
  for (std::size_t r = 0; r < runs.size(); ++r) {
    runtime::say(stdout, fmt::format("{}   {}, {}", letter(r), runs[r].path.string(), runs[r].state));
    for (const std::string& problem : runs[r].problems) runtime::say(stdout, "    " + problem);
  }
  std::printf("\nconfig");
  if (differences.empty()) std::printf(": the same\n");
  if (!differences.empty()) std::printf("\n");
  for (const auto& d : differences) {
    std::size_t r = 1;
    while (runs[r].path.string() != d["run"].get<std::string>()) ++r;
    runtime::say(stdout, fmt::format("  {:<28} A: {}, {}: {}", d["key"].get<std::string>(), d["first"].get<std::string>(),
                                     letter(r), d["here"].get<std::string>()));
  }
  std::printf("\n");
  print_table(rows);
  print_curves(runs);
  return 0;
}

}  // namespace tradewind::launcher
