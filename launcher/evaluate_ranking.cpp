#include "launcher/evaluate_ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>

#include "kernels/base/error.h"
#include "launcher/ranking_slices.h"
#include "models/recommend/popularity.h"
#include "models/recommend/ranking_validation.h"
#include "runtime/checkpoint/files.h"
#include "runtime/core/terminal.h"
#include "runtime/core/transfer.h"
#include "runtime/data/csv.h"
#include "runtime/data/sequence_dataset.h"

namespace tradewind::launcher {
namespace {

using nlohmann::ordered_json;
using Metrics = std::vector<std::pair<std::string, double>>;

/// Of a metric in a file of users: another name for another thing, so that `compare` takes only the same.
std::string among_text(const runtime::EvaluateConfig& config) {
  return config.candidates > 0 ? fmt::format(" among {} sampled", config.candidates) : "";
}

/// A CSV of a user a line, in the order in which they are ranked: metrics, then the user's value of every slice.
class PerUser {
 public:
  PerUser(const std::string& file, const runtime::HeldOut& users, const runtime::EvaluateConfig& config,
          const std::vector<models::TargetSlice>& slices)
      : users_(users), slices_(slices) {
    if (file.empty()) return;
    to_ = file;
    if (std::filesystem::is_directory(to_))
      throw ConfigError("--per-user " + file + " is a directory; give the name of a file");
    if (to_.has_parent_path() && !std::filesystem::is_directory(to_.parent_path()))
      throw ConfigError("--per-user " + file + ": there is no directory " + to_.parent_path().string());
    unfinished_ = runtime::leftover_name(to_);
    file_ = std::make_unique<runtime::DurableFile>(unfinished_);
    std::string line = "user";
    const runtime::RankingMetrics metrics({config.cutoff});
    for (const auto& name : metrics.names()) line.append(",").append(name).append(among_text(config));
    for (const auto& slice : slices) line.append(",").append(runtime::csv_field("slice " + slice.name));
    write(line + "\n");
  }
  ~PerUser() {
    std::error_code ignored;
    if (file_) std::filesystem::remove(unfinished_, ignored);  // nothing where it is finished
  }
  PerUser(const PerUser&) = delete;
  PerUser& operator=(const PerUser&) = delete;
  void add(std::int32_t user, const std::vector<double>& values) {
    if (!file_) return;
    const runtime::Interactions& interactions = users_.interactions();
    std::string line = runtime::csv_field(interactions.users->name(user));
    for (const double value : values) line += fmt::format(",{:.9g}", value);
    for (const auto& slice : slices_) line.append(",").append(runtime::csv_field(slice_values(slice, user)));
    write(line + "\n");
  }
  void finish() {
    if (!file_) return;
    file_->finish();
    std::filesystem::rename(unfinished_, to_);
  }

 private:
  void write(const std::string& line) { file_->write(line.data(), line.size()); }
  /// Those of the user's held-out items, each once, with a bar between them.
  std::string slice_values(const models::TargetSlice& slice, std::int32_t user) const {
    const runtime::Interactions& interactions = users_.interactions();
    std::vector<std::int32_t> places;
    for (auto e = interactions.offsets[static_cast<std::size_t>(user)];
         e < interactions.offsets[static_cast<std::size_t>(user) + 1]; ++e) {
      const auto at = static_cast<std::size_t>(e);
      if (interactions.part[at] == users_.part()) places.push_back(slice.value_of(user, interactions.item[at]));
    }
    std::ranges::sort(places);
    places.erase(std::unique(places.begin(), places.end()), places.end());
    std::string out;
    for (const std::int32_t place : places)
      out.append(out.empty() ? "" : "|").append(slice.values[static_cast<std::size_t>(place)]);
    return out;
  }

  const runtime::HeldOut& users_;
  const std::vector<models::TargetSlice>& slices_;
  std::unique_ptr<runtime::DurableFile> file_;
  std::filesystem::path to_, unfinished_;
};

/// By which lists are diverse; nothing where the model has no vectors of items, or zeros for them, as popularity has.
std::vector<float> item_vectors(const LoadedRun& run) {
  auto* const model = dynamic_cast<models::Recommender*>(run.task.get());
  if (model == nullptr) return {};
  const runtime::Tensor vectors = models::host_floats(model->item_vectors(*run.context));
  std::vector<float> out(vectors.span<float>().begin(), vectors.span<float>().end());
  if (std::ranges::all_of(out, [](float x) { return x == 0; })) out.clear();
  return out;
}

/// A number for each distinct value of the items' column "FILE:COLUMN"; -1 where an item has none.
std::vector<std::int32_t> item_categories(const std::string& wanted, const RunConfig& config,
                                          const runtime::Interactions& interactions) {
  const std::size_t colon = wanted.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == wanted.size())
    throw ConfigError("--category " + wanted + ": give a table and its column, as in --category items.csv:category");
  std::map<std::string, std::int32_t> numbers;
  std::vector<std::int32_t> out;
  for (const auto& value : column_by_id(wanted.substr(0, colon), config.interactions.item_key, wanted.substr(colon + 1),
                                        *interactions.items, "--category"))
    out.push_back(!value || value->empty() ? -1
                                           : numbers.emplace(*value, static_cast<std::int32_t>(numbers.size())).first->second);
  return out;
}

/// What targets are ranked among.
std::string candidates_text(const RunData& data, const RunConfig& config, bool leave_out) {
  const auto items = data.interactions->items->size() - data.interactions->items->buckets();
  if (config.evaluate.candidates == 0)
    return fmt::format("{} items{}", items,
                       leave_out ? " less those that the user had before" : ", those that the user had before too");
  return fmt::format(
      "{} SAMPLED items, drawn from the {}{}, seed {}. This is not full ranking: the metrics do not compare with those of "
      "evaluate.candidates = 0",
      config.evaluate.candidates, items, leave_out ? " without those of the user's training part" : "", config.run.seed);
}

void print_slices(const RankingResult& result) {
  const auto& slices = result.model.slices;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const auto& here = slices[i];
    if (i == 0 || slices[i - 1].slice != here.slice) {
      runtime::say(stdout, fmt::format("\nby {}", here.slice));
      std::printf("%-30s %8s %8s", "", "users", "events");
      for (std::size_t m = 0; m < result.model.headline; ++m) std::printf(" %9s", here.metrics[m].first.c_str());
      std::printf("   popularity %s\n", here.metrics[0].first.c_str());
    }
    // fmt pads by columns of the terminal, printf by bytes.
    std::fputs(fmt::format("{:<30} {:>8} {:>8}", here.value, here.users, here.targets).c_str(), stdout);
    for (std::size_t m = 0; m < result.model.headline; ++m) std::printf(" %9.4f", here.metrics[m].second);
    std::printf("   %.4f\n", result.popularity.slices[i].metrics[0].second);
  }
}

/// The names of the configured rule and of the other one.
std::pair<std::string, std::string> rules_of(const RunConfig& config) {
  const std::string& here = config.evaluate.seen_items;
  return {here, here == "keep" ? "leave_out" : "keep"};
}

const char* rule_text(const std::string& rule) { return rule == "keep" ? "seen items kept" : "seen items left out"; }

/// Model and popularity side by side; where both rules were asked for, under the other one beside them.
void print_metrics(const RankingResult& result, const RunConfig& config) {
  const auto& [model, popularity] = result;
  const bool both = !model.other_metrics.empty();
  const auto [here, there] = rules_of(config);
  if (both) std::printf("%-26s %-22s %s\n", "", rule_text(here), rule_text(there));
  std::printf("%-26s %-9s popularity%s\n", "", "model", both ? "   model     popularity" : "");
  for (std::size_t i = 0; i < model.metrics.size(); ++i) {
    const auto& [name, value] = model.metrics[i];
    std::printf("%-26s %-9.4f %-*.4f", name.c_str(), value, both ? 12 : 0, popularity.metrics[i].second);
    if (both) std::printf(" %-9.4f %.4f", model.other_metrics[i].second, popularity.other_metrics[i].second);
    std::printf("\n");
  }
  std::printf("%-26s %-9.4f %.4f  nats, of a softmax over all items\n", "loss", model.loss, popularity.loss);
}

ordered_json values_of(const Metrics& metrics) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, value] : metrics) out[name] = value;
  return out;
}

}  // namespace

const char* name_of(runtime::Part part) {
  return part == runtime::Part::kTest ? "test" : part == runtime::Part::kValidation ? "validation" : "training";
}

RankingResult evaluate_ranking(const LoadedRun& run, const RunData& data, const RankingRequest& request,
                               const runtime::EvaluationPlan& plan) {
  const auto users =
      std::make_shared<runtime::HeldOut>(data.interactions, request.part, run.config.model->history(data.inputs.vocabulary));
  if (users->size() == 0)
    throw ConfigError(
        fmt::format("evaluating: {} holds no event of the {} part; see data.split", data.source, name_of(request.part)));
  auto ranking = ranking_options(run.config);
  ranking.both_rules = request.both_rules;
  ranking.slices = ranking_slices(request.slices, run.config, *data.interactions, request.part);
  ranking.lists = models::diversity_inputs(*data.interactions);
  ranking.lists->vectors = item_vectors(run);
  if (!request.category.empty()) ranking.lists->category = item_categories(request.category, run.config, *data.interactions);
  const auto of_popularity = ranking;
  PerUser per_user(request.per_user, *users, run.config.evaluate, of_popularity.slices);
  ranking.each_user = [&](std::int32_t user, const std::vector<double>& values) { per_user.add(user, values); };
  RankingResult out{.model = models::RankingValidation(users, ranking).run(*run.context, *run.task, plan), .popularity = {}};
  per_user.finish();
  models::Popularity popularity(data.interactions->items->size());
  popularity.fit(*run.context, *data.interactions);
  out.popularity = models::RankingValidation(users, of_popularity).run(*run.context, popularity, plan);
  return out;
}

void print_ranking(const RankingResult& result, const LoadedRun& run, const RunData& data, const RankingRequest& request) {
  const bool leave_out = run.config.evaluate.seen_items == "leave_out";
  runtime::say(stdout, fmt::format("{} events of the {} part, each ranked among {}", result.model.targets,
                                   name_of(request.part), candidates_text(data, run.config, leave_out)));
  if (!result.model.other_metrics.empty())
    runtime::say(stdout, fmt::format("and, on the right, among {}", candidates_text(data, run.config, !leave_out)));
  print_metrics(result, run.config);
  print_slices(result);
}

void add_ranking(ordered_json& to, const RankingResult& result, const LoadedRun& run, const RankingRequest& request) {
  const auto& [model, popularity] = result;
  to["part"] = name_of(request.part);
  to["ranked_among"] = model.candidates == 0 ? "all" : "sampled";
  if (model.candidates > 0) to["sampled_candidates"] = model.candidates;
  to["seen_items"] = run.config.evaluate.seen_items;
  to.update(values_of(model.metrics));
  to["popularity"] = {{"loss", popularity.loss}};
  to["popularity"].update(values_of(popularity.metrics));
  if (!model.other_metrics.empty()) {
    const auto [here, there] = rules_of(run.config);
    const auto add = [&](const std::string& rule, const Metrics& of_model, const Metrics& of_popularity) {
      ordered_json& under = to["by_seen_items"][rule] = values_of(of_model);
      under["popularity"] = values_of(of_popularity);
    };
    add(here, model.metrics, popularity.metrics);
    add(there, model.other_metrics, popularity.other_metrics);
  }
  for (std::size_t i = 0; i < model.slices.size(); ++i) {
    const auto& here = model.slices[i];
    ordered_json value = {{"value", here.value}, {"users", here.users}, {"targets", here.targets}};
    value.update(values_of(here.metrics));
    value["popularity"] = values_of(popularity.slices[i].metrics);
    to["slices"][here.slice].push_back(std::move(value));
  }
}

}  // namespace tradewind::launcher
