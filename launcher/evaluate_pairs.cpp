#include "launcher/evaluate_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <map>
#include <tuple>

#include "kernels/base/error.h"
#include "launcher/evaluate_ranking.h"
#include "models/recommend/popularity.h"
#include "models/recommend/serve.h"
#include "runtime/core/terminal.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/table_stream.h"
#include "runtime/data/time_parse.h"

namespace tradewind::launcher {
namespace {

struct LabelledPair {
  std::int32_t user, item;  // -1: not known
  std::uint8_t label;
  std::int64_t before = 0;  // the user's first events, those of its history among them
  std::int64_t asked = 0;   // the second that what comes next is asked for, where the model reads times
};

/// How many of the user's events come before a time; before a part all that belong to earlier ones are among the first so many.
std::int64_t events_before(const runtime::Interactions& data, std::int32_t user, std::optional<std::int64_t> time,
                           runtime::Part part) {
  const auto begin = data.offsets[static_cast<std::size_t>(user)], end = data.offsets[static_cast<std::size_t>(user) + 1];
  if (time) return std::lower_bound(data.time.begin() + begin, data.time.begin() + end, *time) - (data.time.begin() + begin);
  std::int64_t last = end;
  while (last > begin && data.part[static_cast<std::size_t>(last - 1)] >= part) --last;
  return last - begin;
}

/// What a user had before: of the first events all, or with a part those of earlier ones. Without times.
std::vector<std::int32_t> items_before(const runtime::Interactions& data, const LabelledPair& pair,
                                       const PairsRequest& request) {
  const auto items = data.items_of(pair.user).first(static_cast<std::size_t>(pair.before));
  if (!request.time_column.empty()) return {items.begin(), items.end()};
  std::vector<std::int32_t> out;
  const auto first = static_cast<std::size_t>(data.offsets[static_cast<std::size_t>(pair.user)]);
  for (std::size_t i = 0; i < items.size(); ++i)
    if (data.part[first + i] < request.part) out.push_back(items[i]);
  return out;
}

/// When that was.
runtime::HistoryTimes times_before(const runtime::Interactions& data, const LabelledPair& pair, const PairsRequest& request) {
  const bool timed = !request.time_column.empty();
  auto out = runtime::times_of(data, pair.user, [&](runtime::Part part) { return timed || part < request.part; });
  if (timed) out.seconds.resize(static_cast<std::size_t>(pair.before));
  out.request = pair.asked;
  return out;
}

std::vector<LabelledPair> read_pairs(const RunConfig& config, const RunData& from, const PairsRequest& request) {
  const auto& data = *from.interactions;
  const auto& keys = config.interactions;
  std::vector<runtime::WantedColumn> wanted = {
      {keys.user_key, "--pairs", true}, {keys.item_key, "--pairs", true}, {request.label_column, "--label"}};
  const bool timed = !request.time_column.empty();
  if (timed) wanted.push_back({request.time_column, "--time"});
  if (timed && data.time.empty())
    throw ConfigError("--time " + request.time_column + ": the run's own events have no times; see data.time_key");
  runtime::TableStream rows(request.file,
                            {.format = runtime::table_format_of_name(request.file, "--pairs"), .path_key = "--pairs"}, wanted);
  runtime::ThrowProblems sink;
  runtime::TimeColumn times(keys.time_format);
  std::vector<LabelledPair> out;
  std::vector<std::int64_t> at;  // of each pair
  while (rows.next(sink)) {
    for (const std::size_t i : {0U, 1U})
      if (rows[i].empty()) sink.report(rows.problem(i, "empty_id", "the id is empty", "Give one, or leave the row out"));
    const auto label = label_of(rows[2]);
    if (!label)
      sink.report(rows.problem(
          2, "label", fmt::format("the label \"{}\" is neither 0 nor 1", rows[2].substr(0, 40)),
          "Write 1 where it was clicked, bought or liked and else 0, and leave out rows of which it is not known"));
    out.push_back({.user = data.users->find(rows[0]), .item = data.items->row_of(rows[1]), .label = label.value_or(0)});
    if (!timed) continue;
    std::int64_t time = 0;
    if (const auto refusal = times.read(rows[3], time)) sink.report(rows.problem(3, "time", refusal->what, refusal->repair));
    times.rescale(at);
    at.push_back(time);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i].user >= 0)
      out[i].before = events_before(data, out[i].user, timed ? std::optional(at[i]) : std::nullopt, request.part);
    if (config.model->reads_times()) out[i].asked = timed ? runtime::seconds_of(at[i]) : from.newest;
  }
  return out;
}

/// Scores of pairs, in order.
std::vector<float> scores_of(const LoadedRun& run, const RunData& data, models::Ranker& model,
                             std::span<const LabelledPair> pairs, const PairsRequest& request) {
  std::vector<std::vector<std::int32_t>> histories;
  std::vector<std::int32_t> users;
  std::vector<runtime::HistoryTimes> times;
  std::map<std::array<std::int64_t, 3>, std::int64_t> place;
  std::vector<models::Pair> asked;
  for (const LabelledPair& pair : pairs) {
    const auto [at, is_new] = place.emplace(std::array{std::int64_t{pair.user}, pair.before, pair.asked},
                                            static_cast<std::int64_t>(histories.size()));
    if (is_new) {
      histories.push_back(items_before(*data.interactions, pair, request));
      users.push_back(pair.user);
      if (run.config.model->reads_times()) times.push_back(times_before(*data.interactions, pair, request));
    }
    asked.push_back({at->second, pair.item});
  }
  return models::score_pairs(*run.context, model, {histories, users, times}, asked,
                             run.config.model->history(data.inputs.vocabulary));
}

std::string auc_text(const std::optional<double>& auc) { return auc ? fmt::format("{:.4f}", *auc) : "-"; }

nlohmann::ordered_json auc_json(const std::optional<double>& auc) { return auc ? nlohmann::ordered_json(*auc) : nullptr; }

}  // namespace

std::optional<std::uint8_t> label_of(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower == "true") return 1;
  if (lower == "false") return 0;
  double number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return number == 1 ? std::optional<std::uint8_t>(1) : number == 0 ? std::optional<std::uint8_t>(0) : std::nullopt;
}

PairsResult evaluate_pairs(const LoadedRun& run, const RunData& data, const PairsRequest& request, Waiting& waiting) {
  const runtime::Interactions& interactions = *data.interactions;
  auto pairs = read_pairs(run.config, data, request);
  PairsResult out{.model = {}, .popularity = {}, .pairs = static_cast<std::int64_t>(pairs.size())};
  models::Ranker& model = run.ranker();
  std::erase_if(pairs, [&](const LabelledPair& pair) {
    return pair.user < 0 || pair.item < 0 || !model.knows(pair.user, items_before(interactions, pair, request));
  });
  out.left_out = out.pairs - static_cast<std::int64_t>(pairs.size());
  if (pairs.empty())
    throw DataError(
        fmt::format("--pairs {}: none of its {} pairs has a user with a history in {} and an item that the run knows; are "
                    "the columns {} and {} those of the ids?",
                    request.file, out.pairs, data.source, run.config.interactions.user_key, run.config.interactions.item_key));
  // One after the other in memory: of a user's many pairs most share their history.
  std::ranges::stable_sort(pairs, {}, [](const LabelledPair& pair) { return std::tuple{pair.user, pair.before, pair.asked}; });
  models::Popularity popularity(interactions.items->size());
  popularity.fit(*run.context, interactions);
  const models::Scoring scoring(*run.context, model);
  runtime::ClassificationMetrics of_model, of_popularity;
  constexpr std::size_t kAtOnce = 4096;
  for (std::size_t begin = 0; begin < pairs.size(); begin += kAtOnce) {
    const auto some = std::span(pairs).subspan(begin, std::min(kAtOnce, pairs.size() - begin));
    const auto scores = scores_of(run, data, model, some, request);
    const auto popular = scores_of(run, data, popularity, some, request);
    for (std::size_t i = 0; i < some.size(); ++i) {
      of_model.add(some[i].user, scores[i], some[i].label);
      of_popularity.add(some[i].user, popular[i], some[i].label);
    }
    waiting.now("scoring pairs", static_cast<std::int64_t>(begin + some.size()), static_cast<std::int64_t>(pairs.size()));
  }
  out.model = of_model.values();
  out.popularity = of_popularity.values();
  return out;
}

void print_pairs(const PairsResult& result, const PairsRequest& request) {
  const auto& [model, popularity, pairs, left_out] = result;
  runtime::say(stdout,
               fmt::format("{}: {} pairs of {} users, of {:.2f} % {} is 1; scored by what each user had {}", request.file,
                           runtime::with_commas(model.rows), runtime::with_commas(model.users),
                           100.0 * static_cast<double>(model.positives) / static_cast<double>(model.rows), request.label_column,
                           request.time_column.empty() ? fmt::format("before the {} part", name_of(request.part))
                                                       : "before the pair's " + request.time_column));
  if (left_out > 0)
    runtime::say(stdout,
                 fmt::format("{} of {} pairs are left out: the user had nothing before, or the run does not know the item",
                             runtime::with_commas(left_out), runtime::with_commas(pairs)));
  std::printf("%-14s %-9s popularity\n", "", "model");
  std::printf("%-14s %-9s %s\n", "auc", auc_text(model.auc).c_str(), auc_text(popularity.auc).c_str());
  std::printf("%-14s %-9s %s  of the %lld users with both labels, by their pairs\n", "gauc", auc_text(model.gauc).c_str(),
              auc_text(popularity.gauc).c_str(), static_cast<long long>(model.users_with_both));
  std::printf("%-14s %-9.4f %.4f  nats, of 1 / (1 + exp(-score)); %.4f of the share of labels alone\n", "log loss",
              model.log_loss, popularity.log_loss, model.base_log_loss);
}

void add_pairs(nlohmann::ordered_json& to, const PairsResult& result, const PairsRequest& request) {
  const auto& [model, popularity, pairs, left_out] = result;
  to["pairs"] = request.file;
  to["label"] = request.label_column;
  to["history"] =
      request.time_column.empty() ? fmt::format("before the {} part", name_of(request.part)) : "before " + request.time_column;
  to["rows"] = model.rows;
  to["left_out"] = left_out;
  to["positives"] = model.positives;
  to["users"] = model.users;
  to["users_with_both_labels"] = model.users_with_both;
  to["auc"] = auc_json(model.auc);
  to["gauc"] = auc_json(model.gauc);
  to["log_loss"] = model.log_loss;
  to["base_log_loss"] = model.base_log_loss;
  to["popularity"] = {
      {"auc", auc_json(popularity.auc)}, {"gauc", auc_json(popularity.gauc)}, {"log_loss", popularity.log_loss}};
}

}  // namespace tradewind::launcher
