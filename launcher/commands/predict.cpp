#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/id_file.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "models/recommend/serve.h"
#include "runtime/data/csv.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(A recommender's scores of given pairs of a user and an item, by the user's whole
history in the run's data: higher is likelier to come next.

usage: tradewind predict RUN --pairs FILE [--checkpoint best|last|STEP]
                         [--set KEY=VALUE]...

  RUN             a run of a recommender
  --pairs FILE    CSV or JSON lines with columns named as in data.user_key and
                  data.item_key
  --checkpoint C  best (default where the run was evaluated), last, or a step
  --set KEY=V     override a key of the run's config, as in
                  data.path=today.csv

A CSV: user,item,score, in the order of the pairs. The score is empty where the
user has no history, the item is unknown to the run, or the model learns a
vector a user and has not met this one; how many is said.

example:
  tradewind predict runs/sasrec-shop --pairs pairs.csv > scores.csv
)";

struct PredictOptions {
  std::filesystem::path run;
  std::vector<std::string> overrides;
  std::string pairs, checkpoint;
};

int predict(const PredictOptions& options, const models::Registry& registry) {
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  const std::string which = options.checkpoint.empty() ? best_or_last(options.run) : options.checkpoint;
  const LoadedRun run = load_run(options.run, which, options.overrides, registry);
  models::Ranker& model = run.ranker();
  waiting->now("reading data");
  const RunData data = load_run_data(run.config, run.checkpoint.get());
  const auto& keys = run.config.interactions;
  const auto rows = read_columns(options.pairs, {keys.user_key, keys.item_key}, "--pairs", 2);
  waiting.reset();

  run.context->set_stable_rows(true);  // a score does not depend on what else is asked for
  constexpr std::size_t kAtOnce = 4096;
  std::int64_t unscored = 0;
  std::printf("user,item,score\n");
  for (std::size_t begin = 0; begin < rows.size(); begin += kAtOnce) {
    const auto some = std::span(rows).subspan(begin, std::min(kAtOnce, rows.size() - begin));
    std::vector<std::vector<std::int32_t>> histories;
    std::vector<std::int32_t> users;
    std::vector<runtime::HistoryTimes> times;
    std::map<std::int32_t, std::int64_t> at;  // of a user in histories
    std::vector<models::Pair> pairs;
    std::vector<bool> scored;  // the rows that are pairs
    for (const auto& row : some) {
      const std::int32_t user = data.interactions->users->find(row[0]), item = data.interactions->items->row_of(row[1]);
      scored.push_back(user >= 0 && item >= 0 && model.knows(user, data.interactions->items_of(user)));
      if (!scored.back()) continue;
      const auto [place, is_new] = at.emplace(user, static_cast<std::int64_t>(histories.size()));
      if (is_new) {
        auto history = history_of(run.config, data, user);
        histories.push_back(std::move(history.items));
        times.push_back(std::move(history.times));
        users.push_back(user);
      }
      pairs.push_back({place->second, item});
    }
    const auto scores = models::score_pairs(*run.context, model, {histories, users, times}, pairs,
                                            run.config.model->history(data.inputs.vocabulary));
    std::size_t next = 0;
    for (std::size_t i = 0; i < some.size(); ++i)
      std::printf("%s,%s,%s\n", runtime::csv_field(some[i][0]).c_str(), runtime::csv_field(some[i][1]).c_str(),
                  scored[i] ? fmt::format("{:.6g}", scores[next++]).c_str() : "");
    unscored += std::ranges::count(scored, false);
  }
  if (unscored > 0)
    warn(
        fmt::format("{} of {} pairs have no score: the user has no history in {} that the run could go by, or the run does not "
                    "know the item",
                    unscored, rows.size(), data.source));
  return 0;
}

}  // namespace

int run_predict(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("predict", kHelp);
  PredictOptions options;
  std::string run;
  line.positional("RUN", run);
  line.option("--pairs", options.pairs);
  line.option("--checkpoint", options.checkpoint);
  line.option("--set", options.overrides);
  line.parse(arguments, 1);
  if (options.pairs.empty()) line.complain("--pairs is missing: which users and items?");
  options.run = run;
  return predict(options, registry);
}

}  // namespace tradewind::launcher
