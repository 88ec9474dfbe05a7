#include "launcher/ranking_slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <unordered_map>

#include "kernels/base/error.h"
#include "runtime/config/config.h"
#include "runtime/data/event_log.h"
#include "runtime/data/table_stream.h"

namespace tradewind::launcher {
namespace {

using models::TargetSlice;
using runtime::Interactions;
using runtime::Part;
using Column = std::vector<std::optional<std::string>>;

constexpr std::size_t kMostValues = 20;
constexpr const char *kNone = "(none)", *kOther = "(other)", *kOption = "--slice";

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::optional<double> number_of(const std::string& text) {
  double out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(out) ? std::optional(out) : std::nullopt;
}

/// The place in groups 0, 1 to few - 1, few and more of events.
std::int32_t few_or_many(std::int64_t events, std::int64_t few) { return events == 0 ? 0 : events < few ? 1 : 2; }

std::vector<std::string> few_or_many_names(std::int64_t few, const std::string& what) {
  return {"no " + what, fmt::format("1 to {} {}", few - 1, what), fmt::format("{} or more {}", few, what)};
}

TargetSlice cold_items(const RunConfig& config, const Interactions& interactions) {
  const auto events = std::make_shared<std::vector<std::int64_t>>(index(interactions.items->size()));
  for (std::size_t e = 0; e < interactions.item.size(); ++e)
    if (interactions.part[e] == Part::kTrain) ++(*events)[index(interactions.item[e])];
  const std::int64_t few = config.evaluate.cold_items;
  return {.name = "cold-items",
          .values = few_or_many_names(few, "training events"),
          .value_of = [=](std::int32_t, std::int32_t item) { return few_or_many((*events)[index(item)], few); }};
}

TargetSlice history(const RunConfig& config, const Interactions& interactions, Part part) {
  const std::int64_t few = config.evaluate.short_history;
  return {.name = "history",
          .values = few_or_many_names(few, "events before"),
          .value_of = [=, &interactions](std::int32_t user, std::int32_t) {
            std::int64_t before = 0;
            for (std::int64_t e = interactions.offsets[index(user)]; e < interactions.offsets[index(user) + 1]; ++e)
              before += interactions.part[index(e)] < part ? 1 : 0;
            return few_or_many(before, few);
          }};
}

/// Held-out events by user and item, and what a column says of each.
class EventColumn {
 public:
  EventColumn(const RunConfig& config, const Interactions& interactions, Part part, const std::string& column)
      : config_(config.interactions), interactions_(interactions) {
    for (std::int32_t user = 0; user < interactions.users->size(); ++user)
      for (std::int64_t e = interactions.offsets[index(user)]; e < interactions.offsets[index(user) + 1]; ++e)
        if (interactions.part[index(e)] == part)
          wanted_.emplace(key(user, interactions.item[index(e)]),
                          Wanted{.time = interactions.time.empty() ? 0 : interactions.time[index(e)]});
    find_lines();
    read(config_.path, "data.path", Part::kTrain, column);
    if (!config_.validation_path.empty()) read(config_.validation_path, "data.validation_path", Part::kValidation, column);
    if (!config_.test_path.empty()) read(config_.test_path, "data.test_path", Part::kTest, column);
  }

  TargetSlice slice(const std::string& name) const {
    Column rows;
    for (const auto& [at, wanted] : wanted_) rows.push_back(wanted.value);
    auto groups = grouped(rows);
    const auto of = std::make_shared<std::unordered_map<std::uint64_t, std::int32_t>>();
    std::size_t i = 0;
    for (const auto& [at, wanted] : wanted_) of->emplace(at, groups.of[i++]);
    return {.name = name, .values = std::move(groups.values), .value_of = [of](std::int32_t user, std::int32_t item) {
              return of->at(key(user, item));
            }};
  }

 private:
  struct Wanted {
    std::int64_t time = 0;
    Part source = Part::kTrain;  // the file, where there are several
    std::int64_t line = 0;       // 0: not found
    std::optional<std::string> value = {};
  };
  static std::uint64_t key(std::int32_t user, std::int32_t item) {
    return std::uint64_t{static_cast<std::uint32_t>(user)} << 32 | static_cast<std::uint32_t>(item);
  }

  /// The row of a held-out event: the first of its user, item and time; without times the last of its user and item.
  void find_lines() {
    runtime::ThrowProblems sink;
    const auto log = runtime::read_events(config_, sink, true);
    const auto numbers = [](const runtime::Vocabulary& from, const runtime::Vocabulary& to) {
      std::vector<std::int32_t> out;
      out.reserve(static_cast<std::size_t>(from.size()));
      for (std::int32_t i = 0; i < from.size(); ++i) out.push_back(to.row_of(from.name(i)));
      return out;
    };
    const auto users = numbers(log.users, *interactions_.users), items = numbers(log.items, *interactions_.items);
    for (std::size_t e = 0; e < log.item.size(); ++e) {
      const std::int32_t user = users[index(log.user[e])], item = items[index(log.item[e])];
      if (user < 0 || item < 0) continue;
      const auto found = wanted_.find(key(user, item));
      if (found == wanted_.end()) continue;
      Wanted& wanted = found->second;
      if (!log.time.empty() && (log.time[e] != wanted.time || wanted.line > 0)) continue;
      wanted.source = log.source.empty() ? Part::kTrain : log.source[e];
      wanted.line = log.line[e];
    }
  }

  void read(const std::string& path, const char* path_key, Part source, const std::string& column) {
    const auto options = runtime::table_options(config_, path, path_key);
    if (options.format == runtime::TableFormat::kSequences)
      throw ConfigError(
          fmt::format("--slice event:{}: {} has users and items alone (data.format = \"sequences\")", column, path));
    std::multimap<std::int64_t, Wanted*> of_line;
    for (auto& [at, wanted] : wanted_)
      if (wanted.line > 0 && wanted.source == source) of_line.emplace(wanted.line, &wanted);
    runtime::TableStream rows(path, options, {{column, kOption}});
    runtime::ThrowProblems sink;
    while (rows.next(sink)) {
      const auto [begin, end] = of_line.equal_range(rows.line());
      for (auto it = begin; it != end; ++it) it->second->value = std::string(rows[0]);
    }
  }

  const runtime::InteractionsConfig& config_;
  const Interactions& interactions_;
  std::map<std::uint64_t, Wanted> wanted_;
};

/// "item:items.csv:category" without its kind: the column is behind the last colon.
struct FileColumn {
  std::string file, column;
};

FileColumn file_column(const std::string& wanted) {
  const std::size_t first = wanted.find(':'), last = wanted.rfind(':');
  if (last == first || last == first + 1 || last + 1 == wanted.size())
    throw ConfigError(fmt::format("--slice {0}: the table and its column are missing, as in --slice {1}:{1}s.csv:category",
                                  wanted, wanted.substr(0, first)));
  return {wanted.substr(first + 1, last - first - 1), wanted.substr(last + 1)};
}

TargetSlice by_file(const std::string& wanted, const RunConfig& config, const Interactions& interactions, bool items) {
  const auto [file, column] = file_column(wanted);
  const auto& keys = config.interactions;
  const auto groups = std::make_shared<GroupedColumn>(grouped(column_by_id(
      file, items ? keys.item_key : keys.user_key, column, items ? *interactions.items : *interactions.users, kOption)));
  return {.name = wanted, .values = groups->values, .value_of = [groups, items](std::int32_t user, std::int32_t item) {
            return groups->of[index(items ? item : user)];
          }};
}

TargetSlice slice_of(const std::string& wanted, const RunConfig& config, const Interactions& interactions, Part part) {
  if (wanted == "cold-items") return cold_items(config, interactions);
  if (wanted == "history") return history(config, interactions, part);
  const std::string kind = wanted.substr(0, wanted.find(':') + 1);
  if (kind == "item:" || kind == "user:") return by_file(wanted, config, interactions, kind == "item:");
  if (kind == "event:" && wanted.size() > kind.size())
    return EventColumn(config, interactions, part, wanted.substr(kind.size())).slice(wanted);
  throw ConfigError(fmt::format("--slice {}: give cold-items, history, item:FILE:COLUMN, user:FILE:COLUMN or event:COLUMN{}",
                                wanted,
                                runtime::suggestion_text(runtime::did_you_mean(
                                    kind.empty() ? wanted : kind, {"cold-items", "history", "item:", "user:", "event:"}))));
}

/// Four parts of equally many of the numbers.
void group_numbers(GroupedColumn& out, const std::vector<std::optional<double>>& numbers) {
  std::vector<double> sorted;
  for (const auto& x : numbers)
    if (x) sorted.push_back(*x);
  std::ranges::sort(sorted);
  std::array<double, 3> ends{};
  for (std::size_t q = 0; q < ends.size(); ++q) ends.at(q) = sorted[(q + 1) * (sorted.size() - 1) / 4];
  out.values = {fmt::format("up to {:g}", ends[0]), fmt::format("above {:g} to {:g}", ends[0], ends[1]),
                fmt::format("above {:g} to {:g}", ends[1], ends[2]), fmt::format("above {:g}", ends[2]), kNone};
  for (const auto& x : numbers)
    out.of.push_back(x ? static_cast<std::int32_t>(std::ranges::lower_bound(ends, *x) - ends.begin()) : 4);
}

}  // namespace

GroupedColumn grouped(const std::vector<std::optional<std::string>>& rows) {
  GroupedColumn out;
  std::map<std::string, std::int64_t> counts;
  for (const auto& row : rows)
    if (row && !row->empty()) ++counts[*row];
  if (counts.size() > kMostValues &&
      std::ranges::all_of(counts, [](const auto& c) { return number_of(c.first).has_value(); })) {
    std::vector<std::optional<double>> numbers;
    numbers.reserve(rows.size());
    for (const auto& row : rows) numbers.push_back(row && !row->empty() ? number_of(*row) : std::nullopt);
    group_numbers(out, numbers);
    return out;
  }
  std::vector<std::pair<std::string, std::int64_t>> order(counts.begin(), counts.end());
  std::ranges::stable_sort(order, [](const auto& a, const auto& b) { return a.second > b.second; });
  if (order.size() > kMostValues) order.resize(kMostValues - 1);
  std::map<std::string, std::int32_t> place;
  for (const auto& [value, n] : order) {
    place.emplace(value, static_cast<std::int32_t>(out.values.size()));
    out.values.push_back(value);
  }
  const auto other = static_cast<std::int32_t>(out.values.size());
  out.values.insert(out.values.end(), {kOther, kNone});
  for (const auto& row : rows) {
    const auto found = row ? place.find(*row) : place.end();
    out.of.push_back(!row || row->empty() ? other + 1 : found == place.end() ? other : found->second);
  }
  return out;
}

std::vector<std::optional<std::string>> column_by_id(const std::string& file, const std::string& id_column,
                                                     const std::string& column, const runtime::Vocabulary& names,
                                                     const std::string& option) {
  const runtime::TableOptions options{.format = runtime::table_format_of_name(file, option), .path_key = option};
  runtime::TableStream rows(file, options, {{id_column, option, true}, {column, option}});
  runtime::ThrowProblems sink;
  Column out(index(names.size()));
  while (rows.next(sink)) {
    if (rows[0].empty()) sink.report(rows.problem(0, "empty_id", "the id is empty", "Give one, or leave the row out"));
    const std::int32_t id = names.find(rows[0]);
    if (id < 0) continue;
    auto& value = out[index(id)];
    if (value && *value != rows[1])
      sink.report(rows.problem(1, "two_values",
                               fmt::format("\"{}\" had \"{}\" here before, and now \"{}\"", rows[0], *value, rows[1]),
                               "Leave one row of each id"));
    value = std::string(rows[1]);
  }
  return out;
}

std::vector<TargetSlice> ranking_slices(const std::vector<std::string>& wanted, const RunConfig& config,
                                        const Interactions& interactions, Part part) {
  std::vector<TargetSlice> out;
  out.reserve(wanted.size());
  for (const std::string& one : wanted) out.push_back(slice_of(one, config, interactions, part));
  return out;
}

}  // namespace tradewind::launcher
