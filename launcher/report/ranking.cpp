#include "launcher/report/ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "launcher/report/chart.h"
#include "launcher/report/html.h"

namespace tradewind::launcher {
namespace {

using nlohmann::ordered_json;
using runtime::RunRecord;

bool is_ranked(const ReportRun& run) {
  return !run.record.evaluations.empty() && !run.record.evaluations.back().best_by.empty();
}

ChartCurve curve(const RunRecord& run, const std::string& metric, const std::string& name, std::size_t colour) {
  ChartCurve out{.name = name, .run = colour, .dots = true};
  for (const auto& e : run.evaluations) out.points.push_back({e.step, e.metric(metric)});
  return out;
}

std::string text_of(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string number(const ordered_json& object, const std::string& key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? fmt::format("{:.4f}", found->get<double>()) : "-";
}

std::string head_row(const std::vector<std::string>& cells) {
  std::string out = "<div class=\"wide\"><table><thead><tr>";
  for (const auto& cell : cells) out += fmt::format("<th scope=\"col\">{}</th>", escape_html(cell));
  return out + "</tr></thead><tbody>\n";
}

std::string row(const std::string& name, const std::vector<std::string>& cells) {
  std::string out = fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(name));
  for (const auto& cell : cells) out += fmt::format("<td>{}</td>", escape_html(cell));
  return out + "</tr>\n";
}

/// What the targets were ranked among.
std::string rule(const ordered_json& result) {
  std::string out = fmt::format("{} events of the {} part, at step {}, each ranked among ", text_of(result, "targets"),
                                text_of(result, "part"), text_of(result, "step"));
  if (text_of(result, "ranked_among") == "sampled")
    return out + text_of(result, "sampled_candidates") +
           " sampled items: this is not full ranking and does not compare with it";
  return out + (text_of(result, "seen_items") == "keep" ? "all items, those that the user had before too"
                                                        : "all items but those that the user had before");
}

std::string slice_table(const std::string& name, const ordered_json& values, const std::vector<std::string>& metrics) {
  if (!values.is_array() || metrics.empty()) return "";
  std::vector<std::string> head = {"by " + name, "users", "events"};
  head.insert(head.end(), metrics.begin(), metrics.end());
  head.push_back("popularity " + metrics[0]);
  std::string out = head_row(head);
  for (const auto& value : values) {
    if (!value.is_object()) continue;
    std::vector<std::string> cells = {text_of(value, "users"), text_of(value, "targets")};
    for (const auto& metric : metrics) cells.push_back(number(value, metric));
    const auto popularity = value.find("popularity");
    cells.push_back(popularity != value.end() && popularity->is_object() ? number(*popularity, metrics[0]) : "-");
    out += row(text_of(value, "value"), cells);
  }
  return out + "</tbody></table></div>\n";
}

/// The metrics under the other rule of seen items, where `evaluate` was asked for both; null where it was not.
const ordered_json* other_rule(const ordered_json& result) {
  const auto rules = result.find("by_seen_items");
  if (rules == result.end() || !rules->is_object()) return nullptr;
  const auto other = rules->find(text_of(result, "seen_items") == "keep" ? "leave_out" : "keep");
  return other != rules->end() && other->is_object() && other->value("popularity", ordered_json()).is_object() ? &*other
                                                                                                               : nullptr;
}

/// Of one file that `evaluate` kept. Whoever may write the run may have written anything there.
std::string ranking(const ordered_json& result) {
  const auto popularity = result.find("popularity");
  if (popularity == result.end() || !popularity->is_object()) return "";
  std::vector<std::string> head = {"", "model", "popularity"}, headline;
  const ordered_json* const other = other_rule(result);
  if (other != nullptr) {
    const std::string where = text_of(result, "seen_items") == "keep" ? "seen items left out" : "seen items kept";
    for (const char* of : {"model, ", "popularity, "}) head.push_back(of + where);
  }
  std::string out = fmt::format("<p class=\"quiet\">{}</p>\n", escape_html(rule(result))) + head_row(head);
  for (const auto& [metric, value] : popularity->items()) {
    std::vector<std::string> cells = {number(result, metric), number(*popularity, metric)};
    if (other != nullptr)
      for (const ordered_json* of : {other, &other->at("popularity")}) cells.push_back(number(*of, metric));
    out += row(metric, cells);
    if (metric.starts_with("ndcg@") || metric.starts_with("hr@") || metric == "mrr") headline.push_back(metric);
  }
  out += "</tbody></table></div>\n";
  if (const auto slices = result.find("slices"); slices != result.end() && slices->is_object())
    for (const auto& [name, values] : slices->items()) out += slice_table(name, values, headline);
  return out;
}

}  // namespace

std::string ranking_chart(const std::vector<ReportRun>& runs) {
  Chart chart{.id = "ranking", .title = "Ranking", .what = "of the validation part, mean over users", .from_nought = true};
  for (std::size_t r = 0; r < runs.size(); ++r) {
    if (!is_ranked(runs[r])) continue;
    const auto& last = runs[r].record.evaluations.back();
    if (last.candidates > 0) chart.what = fmt::format("of the validation part among {} sampled items", last.candidates);
    if (runs.size() > 1) {
      chart.curves.push_back(curve(runs[r].record, last.best_by, run_letter(r) + ", " + last.best_by, r));
      continue;
    }
    for (const auto& [name, value] : last.metrics)
      if (name.starts_with("ndcg@") || name.starts_with("hr@") || name == "mrr")
        chart.curves.push_back(curve(runs[r].record, name, name, chart.curves.size()));
  }
  if (!same_ranking(runs)) chart.what = "of the validation part; not of one rule, so that they do not compare";
  return chart_html(chart);
}

std::string rankings(const std::vector<ReportRun>& runs) {
  std::string out;
  for (std::size_t r = 0; r < runs.size(); ++r)
    for (const auto& result : runs[r].rankings) {
      const std::string table = result.is_object() ? ranking(result) : "";
      if (!table.empty() && runs.size() > 1) out += fmt::format("<p class=\"quiet\">{}</p>\n", run_letter(r));
      out += table;
    }
  return out.empty() ? "" : "<section><h2>Ranking</h2>\n" + out + "</section>\n";
}

bool same_ranking(const std::vector<ReportRun>& runs) {
  const RunRecord::Evaluated* first = nullptr;
  for (const ReportRun& run : runs) {
    if (run.record.evaluations.empty()) continue;
    const auto& here = run.record.evaluations.back();
    if (first == nullptr) first = &here;
    if (here.best_by != first->best_by || here.candidates != first->candidates) return false;
  }
  return true;
}

}  // namespace tradewind::launcher
