#include "launcher/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "launcher/command_line.h"
#include "launcher/report/chart.h"
#include "launcher/report/html.h"
#include "launcher/report/ranking.h"
#include "launcher/run_summary.h"
#include "runtime/config/config.h"

namespace tradewind::launcher {
namespace {

using nlohmann::ordered_json;
using runtime::RunRecord;
using Runs = std::vector<ReportRun>;

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "an unknown time";
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string name_of(const RunRecord& run) {
  const auto path = run.path.has_filename() ? run.path : run.path.parent_path();
  return path.filename().string();
}

std::string state_text(const RunRecord& run) {
  const std::string at = !run.steps.empty()         ? fmt::format("at step {}", run.steps.back().step)
                         : !run.evaluations.empty() ? fmt::format("at step {}", run.evaluations.back().step)
                                                    : "before the first step";
  if (run.state == "finished") return fmt::format("finished {}", at);
  if (run.state == "stopped") return fmt::format("stopped {}, to be gone on with", at);
  if (run.state == "failed") return fmt::format("failed {} with exit code {}", at, run.exit_code);
  if (run.state == "running") return fmt::format("{}, at work or killed", at);
  return fmt::format("{}, in an unknown state", at);
}

std::string verdict_of(const RunRecord& run) {
  std::string out = state_text(run);
  out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
  if (!run.steps.empty()) out += fmt::format(", after {}", duration(run.steps.back().seconds));
  out += ". ";
  const auto* best = run.best();
  if (best != nullptr && !best->best_by.empty()) {
    out += fmt::format("Best {} {:.4f} at step {}", best->best_by, best->metric(best->best_by), best->step);
    if (best->candidates > 0) out += fmt::format(", among {} sampled items", best->candidates);
    out += fmt::format(" (validation loss {:.4f}). ", best->loss);
  } else if (best != nullptr) {
    out += fmt::format("Best validation loss {:.4f} at step {}", best->loss, best->step);
    if (std::isfinite(best->perplexity)) out += fmt::format(" (perplexity {:.3f})", best->perplexity);
    const auto& last = run.evaluations.back();
    if (last.step > best->step && last.loss > best->loss * 1.01)
      out += fmt::format("; it has risen to {:.4f} since", last.loss);
    out += ". ";
  } else if (std::isfinite(run.last_loss())) {
    out += fmt::format("Training loss {:.4f}; it was never evaluated on a validation part. ", run.last_loss());
  }
  if (const auto bad = run.bad_steps(); bad > 0)
    out += fmt::format("{} of {} steps had no finite loss or gradient. ", bad, run.steps.size());
  out.pop_back();  // the space
  return out;
}

/// A loss is one of tokens, and the runs may have cut their texts into different ones.
bool same_tokens(const Runs& runs) {
  for (std::size_t r = 1; r < runs.size(); ++r)
    for (const auto& d : runtime::compare_configs(runs[0].record.config, runs[r].record.config, "config.toml"))
      if (d.key == "data.tokenizer" || d.key == "data.vocabulary" || d.key == "data.prepared") return false;
  return true;
}

/// What the best evaluations of runs are compared by: what is smaller is better.
struct Measure {
  std::string name;
  double (*of)(const RunRecord&);
};

Measure measure_of(const Runs& runs) {
  for (const ReportRun& run : runs)
    if (const auto* best = run.record.best(); best != nullptr && !best->best_by.empty())
      return {"the highest " + best->best_by, [](const RunRecord& r) { return -r.best()->metric(r.best()->best_by); }};
  if (same_tokens(runs)) return {"the lowest validation loss", [](const RunRecord& run) { return run.best()->loss; }};
  return {"the fewest bits per byte", [](const RunRecord& run) { return run.best()->bits_per_byte; }};
}

/// The runs by that, those without an evaluation left out.
std::vector<std::size_t> ranking(const Runs& runs, const Measure& measure) {
  std::vector<std::size_t> out;
  for (std::size_t r = 0; r < runs.size(); ++r)
    if (runs[r].record.best() != nullptr && std::isfinite(measure.of(runs[r].record))) out.push_back(r);
  std::ranges::stable_sort(out, {}, [&](std::size_t r) { return measure.of(runs[r].record); });
  return out;
}

std::string paragraph(const std::string& text, const char* kind = "quiet") {
  return fmt::format("<p class=\"{}\">{}</p>\n", kind, escape_html(text));
}

/// Rows of a name and a cell a run, as they are: markup. A run alone needs no head.
class Table {
 public:
  explicit Table(const Runs& runs) {
    if (runs.size() < 2) return;
    text_ = "<thead><tr><td></td>";
    for (std::size_t r = 0; r < runs.size(); ++r) text_ += fmt::format("<th scope=\"col\">{}</th>", run_letter(r));
    text_ += "</tr></thead>";
  }
  void row(const std::string& name, const std::vector<std::string>& cells) {
    body_ += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(name));
    for (const std::string& cell : cells) body_ += fmt::format("<td>{}</td>", cell);
    body_ += "</tr>\n";
  }
  bool empty() const { return body_.empty(); }
  std::string html() const {
    return fmt::format("<div class=\"wide\"><table>{}<tbody>\n{}</tbody></table></div>\n", text_, body_);
  }

 private:
  std::string text_, body_;
};

ChartCurve curve(const Runs& runs, std::size_t r, const char* what,
                 const std::function<double(const RunRecord::Step&)>& value) {
  const std::string run = runs.size() > 1 ? run_letter(r) : "";
  ChartCurve out{.name = run + (run.empty() || *what == '\0' ? "" : ", ") + what, .run = r};
  for (const RunRecord::Step& s : runs[r].record.steps) out.points.push_back({s.step, value(s)});
  return out;
}

double unless_skipped(const RunRecord::Step& s, double value) {
  return s.skipped ? std::numeric_limits<double>::quiet_NaN() : value;
}

std::string charts(const Runs& runs) {
  Chart loss{.id = "loss", .title = "Loss", .what = "nats, mean of a step's targets"};
  Chart rate{.id = "learning-rate", .title = "Learning rate", .what = "as the schedule gave it", .from_nought = true};
  Chart norm{.id = "gradient-norm", .title = "Gradient norm", .what = "before clipping"};
  Chart speed{.id = "throughput", .title = "Throughput", .what = runs[0].record.unit, .from_nought = true};
  Chart memory{
      .id = "memory", .title = "Memory", .what = "resident, of the first rank", .unit = ChartUnit::kBytes, .from_nought = true};
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const RunRecord& run = runs[r].record;
    loss.curves.push_back(curve(runs, r, "training", [](const auto& s) { return unless_skipped(s, s.loss); }));
    if (!run.evaluations.empty()) {
      loss.curves.back().background = true;
      ChartCurve validation = curve(runs, r, "validation", [](const auto& s) { return s.loss; });
      // A run alone has a second colour for it.
      if (runs.size() == 1) validation.run = 1;
      validation.dots = true;
      validation.points.clear();
      for (const auto& e : run.evaluations) validation.points.push_back({e.step, e.loss});
      loss.curves.push_back(validation);
    }
    rate.curves.push_back(
        curve(runs, r, runs.size() > 1 ? "" : "learning rate", [](const auto& s) { return s.learning_rate; }));
    norm.curves.push_back(curve(runs, r, runs.size() > 1 ? "" : "norm of the gradient",
                                [](const auto& s) { return unless_skipped(s, s.gradient_norm); }));
    speed.curves.push_back(curve(runs, r, runs.size() > 1 ? "" : run.unit.c_str(), [](const auto& s) { return s.rate; }));
    memory.curves.push_back(curve(runs, r, runs.size() > 1 ? "" : "resident memory", [](const auto& s) { return s.memory; }));
    // Not a step of which something is missing: a file of a version that did not write it.
    if (run.peak_memory() <= 0) memory.curves.pop_back();
  }
  return "<section aria-label=\"Curves\"><h2>Curves</h2>\n<div class=\"charts\">\n" + ranking_chart(runs) + chart_html(loss) +
         chart_html(rate) + chart_html(norm) + chart_html(speed) + chart_html(memory) + "</div></section>\n";
}

std::string results(const Runs& runs) {
  std::vector<ordered_json> rows;
  for (const ReportRun& r : runs) rows.push_back(run_summary(r.record));
  const auto best = ranking(runs, measure_of(runs));
  const auto is_best = [&](std::size_t r) {
    return runs.size() > 1 && same_ranking(runs) && !best.empty() && r == best.front();
  };
  const bool ranked = std::ranges::any_of(rows, [](const ordered_json& row) { return !row["best_by"].is_null(); });
  Table table(runs);
  const auto row = [&](const char* name, const char* key, const char* format) {
    std::vector<std::string> cells;
    bool known = false;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto& value = rows[r][key];
      std::string cell = value.is_null() ? "-" : fmt::format(fmt::runtime(format), value.get<double>());
      known = known || !value.is_null();
      if (!ranked && std::string_view(key) == "best_validation_loss" && is_best(r))
        cell = fmt::format("<span class=\"best\">{}, the lowest</span>", cell);
      cells.push_back(cell);
    }
    if (known) table.row(name, cells);
  };
  const auto text = [&](const char* name, const std::function<std::string(std::size_t)>& of) {
    std::vector<std::string> cells;
    for (std::size_t r = 0; r < rows.size(); ++r) cells.push_back(escape_html(of(r)));
    table.row(name, cells);
  };
  text("state", [&](std::size_t r) { return runs[r].record.state; });
  row("steps", "steps", "{:.0f}");
  row("training loss, last 50 steps", "training_loss", "{:.4f}");
  row("validation loss, last", "validation_loss", "{:.4f}");
  row(ranked ? "validation loss, at the best" : "validation loss, best", "best_validation_loss", "{:.4f}");
  if (ranked) {
    std::vector<std::string> cells;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto &by = rows[r]["best_by"], &value = rows[r]["best_metric"];
      std::string cell = by.is_null() || value.is_null()
                             ? "-"
                             : escape_html(fmt::format("{} {:.4f}", by.get<std::string>(), value.get<double>()));
      if (is_best(r)) cell = fmt::format("<span class=\"best\">{}, the highest</span>", cell);
      cells.push_back(cell);
    }
    table.row("best, by a ranking metric", cells);
  }
  row("at step", "best_step", "{:.0f}");
  row("perplexity, best", "perplexity", "{:.3f}");
  row("bits per byte, best", "bits_per_byte", "{:.4f}");
  text("throughput, median", [&](std::size_t r) {
    const double rate = runs[r].record.median_rate();
    return rate > 0 ? number_label(rate, 0) + " " + runs[r].record.unit : "-";
  });
  text("time", [&](std::size_t r) { return duration(rows[r]["seconds"].is_null() ? NAN : rows[r]["seconds"].get<double>()); });
  text("memory, highest", [&](std::size_t r) {
    const double peak = runs[r].record.peak_memory();
    return peak > 0 ? size_text(static_cast<std::uint64_t>(peak)) : "-";
  });
  row("steps without a finite loss or gradient", "bad_steps", "{:.0f}");
  return "<section><h2>Results</h2>\n" + table.html() + "</section>\n";
}

/// Every key of a config, by section.
std::string config_keys(const RunRecord& run) {
  std::string out = "<dl class=\"keys\">\n";
  for (const auto& d : runtime::compare_configs("", run.config, (run.path / "config.toml").string()))
    out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape_html(d.key), escape_html(d.after));
  return out + "</dl>\n";
}

std::string config(const Runs& runs) {
  if (runs.size() == 1) return "<section><h2>Config</h2>\n" + config_keys(runs[0].record) + "</section>\n";
  std::vector<RunRecord> records;
  for (const ReportRun& r : runs) {
    records.emplace_back();
    records.back().path = r.record.path;
    records.back().config = r.record.config;
  }
  std::vector<std::string> keys;
  const ordered_json differences = config_differences(records);
  for (const auto& d : differences)
    if (std::ranges::find(keys, d["key"].get<std::string>()) == keys.end()) keys.push_back(d["key"]);
  Table table(runs);
  for (const std::string& key : keys) {
    std::vector<std::string> cells(runs.size());
    for (const auto& d : differences)
      if (d["key"] == key) cells.assign(runs.size(), escape_html(d["first"].get<std::string>()));
    for (const auto& d : differences)
      for (std::size_t r = 1; r < runs.size(); ++r)
        if (d["key"] == key && d["run"] == runs[r].record.path.string()) cells[r] = escape_html(d["here"].get<std::string>());
    table.row(key, cells);
  }
  return "<section><h2>Config: what differs</h2>\n" + (table.empty() ? paragraph("Nothing does.") : table.html()) +
         "<details><summary>Every key of A</summary>\n" + config_keys(runs[0].record) + "</details></section>\n";
}

void flatten(const ordered_json& object, const std::string& prefix, std::vector<std::pair<std::string, std::string>>& out) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object())
      flatten(value, prefix + key + ".", out);
    else
      out.emplace_back(prefix + key, value.is_string() ? value.get<std::string>()
                                     : key.ends_with("_bytes") && value.is_number_unsigned()
                                         ? size_text(value.get<std::uint64_t>())
                                         : value.dump());
  }
}

std::string environment(const Runs& runs) {
  std::vector<std::vector<std::pair<std::string, std::string>>> all(runs.size());
  std::vector<std::string> keys;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    if (runs[r].environment.is_object()) flatten(runs[r].environment, "", all[r]);
    for (const auto& [key, value] : all[r])
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  }
  if (keys.empty())
    return "<section><h2>Environment</h2>\n" + paragraph("No environment.json that can be read.") + "</section>\n";
  Table table(runs);
  for (const std::string& key : keys) {
    std::vector<std::string> cells;
    for (const auto& run : all) {
      const auto found = std::ranges::find(run, key, &std::pair<std::string, std::string>::first);
      cells.push_back(found == run.end() ? "-" : escape_html(found->second));
    }
    table.row(key, cells);
  }
  return "<section><h2>Environment</h2>\n" + table.html() + "</section>\n";
}

std::string samples(const Runs& runs) {
  std::string out;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::string run = runs.size() > 1 ? run_letter(r) + ": " : "";
    if (!runs[r].samples_problem.empty()) out += paragraph(run + "no samples: " + runs[r].samples_problem);
    if (runs[r].samples.empty()) continue;
    out += paragraph(run + "drawn from the checkpoint of " + runs[r].samples_of);
    for (const std::string& text : runs[r].samples) out += fmt::format("<pre>{}</pre>\n", escape_html(text));
  }
  return out.empty() ? "" : "<section><h2>Samples</h2>\n" + out + "</section>\n";
}

std::string checkpoints(const Runs& runs) {
  std::string out = "<section><h2>Checkpoints</h2>\n";
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::string run = runs.size() > 1 ? run_letter(r) + ": " : "";
    if (runs[r].checkpoints.empty()) {
      out += paragraph(run + "there is none");
      continue;
    }
    if (!run.empty()) out += paragraph(run_letter(r));
    out +=
        "<div class=\"wide\"><table><thead><tr><th scope=\"col\">step</th><th scope=\"col\">size</th><th scope=\"col\">"
        "tensors</th><th scope=\"col\">state</th></tr></thead><tbody>\n";
    const auto* best = runs[r].record.best();
    for (const ReportCheckpoint& c : runs[r].checkpoints) {
      const bool is_best = best != nullptr && best->step == c.step;
      out += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                         c.step < 0 ? escape_html(c.name) : std::to_string(c.step), size_text(c.bytes), c.tensors,
                         c.problem.empty() ? (is_best ? "complete; the best" : "complete")
                                           : "<span class=\"problem\">" + escape_html(c.problem) + "</span>");
    }
    out += "</tbody></table></div>\n";
  }
  return out + paragraph("Complete: every file is there in its full length. tradewind verify reads every byte.") +
         "</section>\n";
}

std::string head(const Runs& runs) {
  std::string title = runs.size() == 1 ? name_of(runs[0].record) : fmt::format("{} runs", runs.size());
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<title>{0} - Tradewind report</title>\n<style>{1}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
      escape_html(title), report_style());
  out += paragraph(verdict(runs), "verdict");
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::string run = runs.size() > 1 ? run_letter(r) + ": " : "";
    out += paragraph(run + runs[r].record.path.string() + (runs.size() > 1 ? ", " + state_text(runs[r].record) : ""));
    for (const std::string& problem : runs[r].record.problems) out += paragraph(run + problem, "problem");
  }
  return out;
}

}  // namespace

std::string run_letter(std::size_t run) {
  return (run >= 26 ? std::string(1, static_cast<char>('A' + run / 26 - 1)) : "") + static_cast<char>('A' + run % 26);
}

std::string verdict(const std::vector<ReportRun>& runs) {
  if (runs.size() == 1) return verdict_of(runs[0].record);
  if (!same_ranking(runs))
    return "The runs were not evaluated by one rule: another metric tells the best, or rankings are among other candidates. So "
           "they do "
           "not compare.";
  const Measure measure = measure_of(runs);
  const auto best = ranking(runs, measure);
  if (best.empty()) return "None of the runs was evaluated on a validation part, so none is the best.";
  const auto value = [&](std::size_t place) { return std::abs(measure.of(runs[best[place]].record)); };
  std::string out = fmt::format("{} has {}, {:.4f}", run_letter(best[0]), measure.name, value(0));
  if (best.size() > 1) out += fmt::format("; next is {} with {:.4f}", run_letter(best[1]), value(1));
  out += same_tokens(runs) ? "." : ". Their tokenizers differ, so losses, which are of tokens, do not compare.";
  if (best.size() < runs.size()) out += fmt::format(" {} of the runs were not evaluated.", runs.size() - best.size());
  return out;
}

std::string report_page(const std::vector<ReportRun>& runs, const std::string& written) {
  return head(runs) + charts(runs) + results(runs) + rankings(runs) + samples(runs) + config(runs) + checkpoints(runs) +
         environment(runs) + "</main>\n<footer>" + escape_html(written) + "</footer>\n</body>\n</html>\n";
}

}  // namespace tradewind::launcher
