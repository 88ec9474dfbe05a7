#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/id_file.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "models/recommend/serve.h"
#include "runtime/core/terminal.h"
#include "runtime/data/csv.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(The best items for users, by their whole history in the run's data.

usage: tradewind recommend RUN --users FILE [--top N]
                           [--format csv|jsonl|text] [--titles FILE]
                           [--allow FILE] [--keep-seen]
                           [--unknown popular|skip|error]
                           [--checkpoint best|last|STEP] [--set KEY=VALUE]...
       tradewind recommend RUN --user ID [--user ID]... [options]

  RUN             a run of a recommender
  --users FILE    the users: CSV or JSON lines with a column named as in
                  data.user_key; the ids are those of the shop. Each user is
                  answered once
  --user ID       a user; may be given many times
  --top N         items for each (default 10)
  --format F      csv (default): user,rank,item,score; jsonl: an object a user;
                  text: for people, with the end of the history that led there
  --titles FILE   text: the items' names for people, from CSV or JSON lines with
                  the columns data.item_key and "title"
  --allow FILE    only these items: CSV or JSON lines with a column named as in
                  data.item_key
  --keep-seen     items that a user already had are candidates too
  --unknown P     a user without history, or whom a model that learns a vector
                  a user has not met, gets the most popular items (default),
                  is passed over, or ends it with exit code 3
  --checkpoint C  best (default where the run was evaluated), last, or a step
  --set KEY=V     override a key of the run's config, as in
                  data.path=today.csv: histories that go on behind the run's

examples:
  tradewind recommend runs/sasrec-shop --users users.csv --top 10
  tradewind recommend runs/sasrec-shop --user C-1007 --format jsonl
  tradewind recommend runs/sasrec-shop --users users.csv --allow in-stock.csv
  tradewind recommend runs/sasrec-shop --user C-1007 --top 5 --format text \
    --titles items.csv
)";

struct RecommendOptions {
  std::filesystem::path run;
  std::vector<std::string> overrides, users;
  std::string users_file, allow, titles, checkpoint, format = "csv", unknown = "popular";
  std::int64_t top = 10;
  bool keep_seen = false;
};

/// Prints users' items in one of the three forms.
class Answers {
 public:
  Answers(const runtime::Vocabulary& items, std::string format, std::map<std::string, std::string> titles)
      : items_(items), format_(std::move(format)), titles_(std::move(titles)) {
    if (format_ == "csv") std::printf("user,rank,item,score\n");
  }
  void print(const std::string& user, std::span<const std::int32_t> history, bool known,
             const std::vector<models::Scored>& best) const {
    if (format_ == "text") {
      constexpr std::size_t kShown = 5;
      const std::size_t hidden = history.size() - std::min(history.size(), kShown);
      std::printf("%s\n", user.c_str());
      if (hidden > 0) std::printf("  had %zu items, then\n", hidden);
      for (const std::int32_t item : history.subspan(hidden)) std::printf("      %s\n", named(item).c_str());
      if (!known) std::printf("  %s; what is most popular\n", history.empty() ? "no history" : "new to the run");
      for (std::size_t r = 0; r < best.size(); ++r) std::printf("  %2zu. %s\n", r + 1, named(best[r].item).c_str());
      if (best.empty()) std::printf("  nothing is left that may be recommended\n");
      return;
    }
    if (format_ == "jsonl") {
      nlohmann::ordered_json out = {{"user", user}, {"known", known}, {"items", nlohmann::ordered_json::array()}};
      for (const auto& [item, score] : best)
        out["items"].push_back({{"item", std::string(items_.name(item))}, {"score", score}});
      print_json(out);
      return;
    }
    for (std::size_t r = 0; r < best.size(); ++r)
      std::printf("%s,%zu,%s,%.6g\n", runtime::csv_field(user).c_str(), r + 1,
                  runtime::csv_field(items_.name(best[r].item)).c_str(), static_cast<double>(best[r].score));
  }

 private:
  std::string named(std::int32_t item) const {
    const std::string id(items_.name(item));
    const auto title = titles_.find(id);
    return title == titles_.end() || title->second.empty() ? id : id + "  " + title->second;
  }
  const runtime::Vocabulary& items_;
  std::string format_;
  std::map<std::string, std::string> titles_;
};

/// All that may be recommended, most events first; the score is the item's share of all events. A vocabulary that grew is not
/// in order of counts.
std::vector<models::Scored> by_popularity(const runtime::Vocabulary& items, const std::vector<std::uint8_t>& allow) {
  std::vector<std::int32_t> order;
  double events = 0;
  for (std::int32_t i = 0; i < items.size(); ++i) {
    events += static_cast<double>(items.count(i));
    if (allow.empty() || allow[static_cast<std::size_t>(i)] != 0) order.push_back(i);
  }
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return items.count(a) > items.count(b); });
  std::vector<models::Scored> out;
  out.reserve(order.size());
  for (const std::int32_t i : order)
    out.push_back({i, static_cast<float>(static_cast<double>(items.count(i)) / std::max(1.0, events))});
  return out;
}

/// The first of `popular` that are not left out.
std::vector<models::Scored> first_of(const std::vector<models::Scored>& popular, std::int64_t top,
                                     std::span<const std::int32_t> left_out) {
  std::vector<models::Scored> out;
  for (const auto& scored : popular) {
    if (static_cast<std::int64_t>(out.size()) == top) break;
    if (std::ranges::find(left_out, scored.item) == left_out.end()) out.push_back(scored);
  }
  return out;
}

/// Those asked for, in that order, each once.
std::vector<std::string> users_of(const RecommendOptions& options, const RunConfig& config) {
  auto given = options.users;
  if (!options.users_file.empty())
    for (auto& id : read_ids(options.users_file, config.interactions.user_key, "--users")) given.push_back(std::move(id));
  std::vector<std::string> out;
  std::unordered_set<std::string> met;
  for (auto& id : given)
    if (met.insert(id).second) out.push_back(std::move(id));
  if (out.size() < given.size())
    warn(fmt::format("{} users are given {} times in all; each is answered once", out.size(), given.size()));
  return out;
}

/// What may be recommended: all of it where that is empty.
std::vector<std::uint8_t> allowed(const RecommendOptions& options, const RunConfig& config, const runtime::Vocabulary& items) {
  if (options.allow.empty()) return items.candidates();
  std::vector<std::uint8_t> out(static_cast<std::size_t>(items.size()), 0);
  const auto ids = read_ids(options.allow, config.interactions.item_key, "--allow");
  std::size_t unknown = 0;
  for (const std::string& id : ids) {
    const std::int32_t item = items.find(id);
    if (item < 0)
      ++unknown;
    else
      out[static_cast<std::size_t>(item)] = 1;
  }
  if (unknown == ids.size())
    throw DataError(fmt::format(
        "--allow {}: {}, so that there is nothing to recommend; is its column {} that of the items' ids?", options.allow,
        ids.empty() ? "it names no item" : fmt::format("the run knows none of its {} items", unknown),
        config.interactions.item_key));
  if (unknown > 0)
    warn(fmt::format("{} items of {} are not known to the run and cannot be recommended", unknown, options.allow));
  return out;
}

int recommend(const RecommendOptions& options, const models::Registry& registry) {
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  const std::string which = options.checkpoint.empty() ? best_or_last(options.run) : options.checkpoint;
  const LoadedRun run = load_run(options.run, which, options.overrides, registry);
  models::Ranker& model = run.ranker();
  waiting->now("reading data");
  const RunData data = load_run_data(run.config, run.checkpoint.get());
  const auto& users = *data.interactions->users;
  const auto& items = *data.interactions->items;
  const auto wanted = users_of(options, run.config);
  const auto allow = allowed(options, run.config, items);
  std::map<std::string, std::string> titles;
  if (!options.titles.empty())
    for (auto& row : read_columns(options.titles, {run.config.interactions.item_key, "title"}, "--titles", 1))
      titles[row[0]] = std::move(row[1]);
  const auto popular = by_popularity(items, allow);
  waiting.reset();

  run.context->set_stable_rows(true);  // an answer does not depend on who else is asked for
  const models::Scoring scoring(*run.context, model);
  const Answers answers(items, options.format, std::move(titles));
  const models::ServeOptions serve{.top = options.top,
                                   .history = run.config.model->history(items.size()),
                                   .leave_out_seen = !options.keep_seen,
                                   .allow = allow};
  constexpr std::size_t kAtOnce = 256;
  std::int64_t unknown = 0, nothing = 0;
  for (std::size_t begin = 0; begin < wanted.size(); begin += kAtOnce) {
    const auto some = std::span(wanted).subspan(begin, std::min(kAtOnce, wanted.size() - begin));
    std::vector<std::vector<std::int32_t>> histories;
    std::vector<std::int32_t> numbers;
    std::vector<runtime::HistoryTimes> times;
    std::vector<bool> known;
    for (const auto& id : some) {
      const std::int32_t user = users.find(id);
      auto history = history_of(run.config, data, user);
      known.push_back(model.knows(user, history.items));
      if (!known.back() && options.unknown == "error")
        throw DataError(
            history.items.empty()
                ? fmt::format("user \"{}\" has no history in {}; see --unknown in tradewind recommend --help", id, data.source)
                : fmt::format("user \"{}\" came after the run, whose model knows users by name; train again, or see --unknown "
                              "in tradewind recommend --help",
                              id));
      numbers.push_back(user);
      histories.push_back(std::move(history.items));
      times.push_back(std::move(history.times));
    }
    const auto best = models::recommend(*run.context, model, {histories, numbers, times}, serve);
    for (std::size_t i = 0; i < some.size(); ++i) {
      unknown += known[i] ? 0 : 1;
      if (!known[i] && options.unknown != "popular") continue;
      const auto answer = known[i] ? best[i]
                                   : first_of(popular, options.top,
                                              options.keep_seen ? std::span<const std::int32_t>() : std::span(histories[i]));
      nothing += answer.empty() ? 1 : 0;
      answers.print(some[i], histories[i], known[i], answer);
    }
  }
  if (nothing > 0)
    warn(fmt::format("{} of {} users have had all that may be recommended and got nothing; --keep-seen gives it again", nothing,
                     wanted.size()));
  if (unknown > 0)
    warn(fmt::format("{} of {} users have no history in {} that the run could go by and {}", unknown, wanted.size(),
                     data.source, options.unknown == "skip" ? "were passed over" : "got the most popular items"));
  return 0;
}

}  // namespace

int run_recommend(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("recommend", kHelp);
  RecommendOptions options;
  std::string run;
  line.positional("RUN", run);
  line.option("--users", options.users_file);
  line.option("--user", options.users);
  line.option("--top", options.top);
  line.option("--format", options.format);
  line.option("--titles", options.titles);
  line.option("--allow", options.allow);
  line.flag("--keep-seen", options.keep_seen);
  line.option("--unknown", options.unknown);
  line.option("--checkpoint", options.checkpoint);
  line.option("--set", options.overrides);
  line.parse(arguments, 1);
  if (options.users.empty() && options.users_file.empty()) line.complain("for whom? give --users FILE or --user ID");
  if (std::ranges::find(options.users, "") != options.users.end()) line.complain("--user is given an empty id");
  if (options.top < 1) line.complain("--top must be at least 1");
  if (options.format != "csv" && options.format != "jsonl" && options.format != "text")
    line.complain("--format " + options.format + ": give csv, jsonl or text");
  if (!options.titles.empty() && options.format != "text") line.complain("--titles goes with --format text");
  if (options.unknown != "popular" && options.unknown != "skip" && options.unknown != "error")
    line.complain("--unknown " + options.unknown + ": give popular, skip or error");
  options.run = run;
  return recommend(options, registry);
}

}  // namespace tradewind::launcher
