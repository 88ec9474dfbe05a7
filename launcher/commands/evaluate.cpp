#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/evaluate_pairs.h"
#include "launcher/evaluate_ranking.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "runtime/train/run_directory.h"
#include "runtime/train/run_record.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(How good a run's model is on data held out: loss, perplexity and bits per byte
of a language model; of a recommender, how high it ranks what users did next
among the whole catalogue, and what its lists are like; or how well its scores
tell labelled pairs apart.

usage: tradewind evaluate RUN [--checkpoint last|best|STEP]
                              [--part validation|test] [--json]
                              [--set KEY=VALUE]...
                              [--seen-items leave_out|keep|both]
                              [--per-user FILE] [--slice BY]...
                              [--category FILE:COLUMN]
                              [--pairs FILE --label COLUMN [--time COLUMN]]

  RUN              a run directory
  --checkpoint C   last (default for language models), best (default for
                   recommenders), or the step of one
  --part P         which held-out events: test (default for recommenders) or
                   validation (default, and all there is, for text)
  --json           print one JSON object
  --set KEY=VALUE  override a key of the run's config
  --seen-items S   recommenders: leave_out or keep, as evaluate.seen_items; or
                   both: as that says, and beside it under the other rule;
                   --slice and --per-user are under the first
  --per-user FILE  recommenders: a CSV of every user's metrics and slices
  --slice BY       recommenders: metrics by cold-items, history,
                   item:FILE:COLUMN, user:FILE:COLUMN or event:COLUMN as well
  --category F:C   recommenders: a column of a table of items by which lists
                   are diverse
  --pairs FILE     recommenders: instead, AUC, GAUC and log loss of the scores
                   of pairs of a user and an item
  --label COLUMN   of the pairs: 1 or 0
  --time COLUMN    of the pairs: a user's history is what came before it;
                   without, what came before the part

Recommenders: every item that evaluate.seen_items allows is a candidate (with
--seen-items both --json, by_seen_items has all metrics under each rule); ties
count at each of their places alike, so that equal scores earn nothing. Beside
the model's stand the metrics of popularity: the same items for everybody.
With evaluate.candidates = N each is ranked among N sampled items, as older
papers do, which is said: such metrics do not compare with the others.

Of the lists of the best evaluate.cutoff items: coverage (share of the
catalogue that is shown), gini and entropy of how often each item is shown,
novelty (bits, of the share of users that had an item), and diversity within a
list by the cosine of the model's item vectors and by --category.

Tables of items and users have their ids in columns named as in data.item_key
and data.user_key. A column of many values becomes four parts of equally many
numbers, or the most frequent texts and the others. evaluate.cold_items and
evaluate.short_history say what is cold and short. The result of a ranking is
kept as evaluation-test.json or evaluation-validation.json in RUN, from where
tradewind report takes it.

examples:
  tradewind evaluate runs/gpt-shakespeare
  tradewind evaluate runs/gpt-shakespeare --checkpoint best --json
  tradewind evaluate runs/shop --set data.validation_path=reviews.txt
  tradewind evaluate runs/sasrec-ml1m --set evaluate.cutoff=20
  tradewind evaluate runs/sasrec-ml1m --set evaluate.candidates=100
  tradewind evaluate runs/sasrec-beauty-5core --seen-items both
  tradewind evaluate runs/sasrec-shop --slice cold-items \
    --slice item:items.csv:category --category items.csv:category
  tradewind evaluate runs/sasrec-shop --pairs impressions.csv --label clicked
)";

struct EvaluateOptions {
  std::filesystem::path run;
  std::vector<std::string> overrides;
  std::string checkpoint;  // "last", "best" or a step; "": by the kind of model
  std::string part;        // "validation", "test"; "": by the kind of model
  std::string seen_items;  // "leave_out", "keep", "both"; "": as the config says
  RankingRequest ranking;  // its part is not set
  PairsRequest pairs;      // the same
  bool json = false;

  bool for_recommenders() const {
    return part == "test" || !seen_items.empty() || !ranking.per_user.empty() || !ranking.slices.empty() ||
           !ranking.category.empty() || !pairs.file.empty();
  }
};

void print_text(const runtime::Evaluation& result) {
  std::printf("loss           %.4f nats, mean of %lld targets of the validation part\n", result.loss,
              static_cast<long long>(result.targets));
  std::printf("perplexity     %.3f\n", result.perplexity);
  std::printf("bits per byte  %.4f\n", result.bits_per_byte);
}

/// What is measured is kept in the run, for its report.
void keep(const std::filesystem::path& file, const nlohmann::ordered_json& result) {
  try {
    runtime::write_file_whole(file, result.dump(2) + "\n");
  } catch (const CheckpointError& e) {
    warn(fmt::format("the result is not kept for tradewind report: {}", e.what()));
  }
}

runtime::EvaluationPlan plan_of(const RunConfig& config, Waiting& waiting) {
  return {.batch = config.evaluation_batch(),
          .progress = [&waiting](std::int64_t done, std::int64_t total) { waiting.now("evaluating", done, total); }};
}

/// The first line of what is printed.
void print_step(const EvaluateOptions& options, const LoadedRun& run) {
  std::printf("%s, step %lld\n", options.run.c_str(), static_cast<long long>(run.checkpoint->step()));
}

void evaluate_text(const EvaluateOptions& options, const LoadedRun& run, const RunData& data, nlohmann::ordered_json& out,
                   std::unique_ptr<Waiting>& waiting) {
  if (data.validation == nullptr)
    throw ConfigError("evaluating: the run has no validation part; give one with --set data.validation_path=FILE");
  const auto result = data.validation->run(*run.context, *run.task, plan_of(run.config, *waiting));
  waiting.reset();
  out["loss"] = result.loss;
  out["perplexity"] = result.perplexity;
  out["bits_per_byte"] = result.bits_per_byte;
  out["targets"] = result.targets;
  out["seconds"] = result.seconds;
  if (options.json) return;
  print_step(options, run);
  print_text(result);
}

void evaluate_recommender(const EvaluateOptions& options, const LoadedRun& run, const RunData& data,
                          nlohmann::ordered_json& out, std::unique_ptr<Waiting>& waiting) {
  const auto part = options.part == "validation" ? runtime::Part::kValidation : runtime::Part::kTest;
  if (!options.pairs.file.empty()) {
    PairsRequest request = options.pairs;
    request.part = part;
    run.context->set_stable_rows(true);  // a score does not depend on what else is asked for
    const auto result = evaluate_pairs(run, data, request, *waiting);
    waiting.reset();
    add_pairs(out, result, request);
    if (options.json) return;
    print_step(options, run);
    print_pairs(result, request);
    return;
  }
  RankingRequest request = options.ranking;
  request.part = part;
  const auto result = evaluate_ranking(run, data, request, plan_of(run.config, *waiting));
  waiting.reset();
  out["loss"] = result.model.loss;
  add_ranking(out, result, run, request);
  out["targets"] = result.model.targets;
  out["seconds"] = result.model.seconds;
  keep(options.run / (std::string("evaluation-") + name_of(part) + ".json"), out);
  if (options.json) return;
  print_step(options, run);
  print_ranking(result, run, data, request);
}

int evaluate(EvaluateOptions options, const models::Registry& registry) {
  runtime::require_run(options.run);
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  RunConfig config = read_run_config(options.run / "config.toml", options.overrides, registry);
  const bool ranks = config.model->data_kind() == models::DataKind::kInteractions;
  if (options.checkpoint.empty()) options.checkpoint = ranks ? best_or_last(options.run) : "last";
  if (!ranks && options.for_recommenders())
    throw ConfigError(
        "evaluating: a text has no test part, no users and no items; --part test, --seen-items, --per-user, --slice, "
        "--category "
        "and --pairs are for recommenders");
  const LoadedRun run = load_run(options.run, options.checkpoint, std::move(config), options.overrides);
  waiting->now("reading data");
  const RunData data = load_run_data(run.config, run.checkpoint.get());
  nlohmann::ordered_json out = {{"run", options.run.string()}, {"step", run.checkpoint->step()}};
  if (ranks)
    evaluate_recommender(options, run, data, out, waiting);
  else
    evaluate_text(options, run, data, out, waiting);
  if (options.json)
    print_json(out);
  else if (out.contains("seconds"))
    std::printf("time           %.2f s\n", out["seconds"].get<double>());
  return 0;
}

}  // namespace

int run_evaluate(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("evaluate", kHelp);
  EvaluateOptions options;
  std::string run;
  line.positional("RUN", run);
  line.option("--set", options.overrides);
  line.option("--checkpoint", options.checkpoint);
  line.option("--part", options.part);
  line.option("--seen-items", options.seen_items);
  line.option("--per-user", options.ranking.per_user);
  line.option("--slice", options.ranking.slices);
  line.option("--category", options.ranking.category);
  line.option("--pairs", options.pairs.file);
  line.option("--label", options.pairs.label_column);
  line.option("--time", options.pairs.time_column);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  const bool pairs = !options.pairs.file.empty();
  if (pairs && options.pairs.label_column.empty()) line.complain("--label is missing: which column says 1 or 0?");
  if (!pairs && !(options.pairs.label_column + options.pairs.time_column).empty())
    line.complain("--label and --time go with --pairs");
  const RankingRequest& ranking = options.ranking;
  if (pairs && (!ranking.per_user.empty() || !ranking.category.empty() || !ranking.slices.empty()))
    line.complain("--per-user, --slice and --category are of rankings and do not go with --pairs");
  for (auto one = ranking.slices.begin(); one != ranking.slices.end(); ++one)
    if (std::find(ranking.slices.begin(), one, *one) != one) line.complain("--slice " + *one + " is given twice");
  if (pairs && !options.seen_items.empty()) line.complain("--seen-items is of rankings and does not go with --pairs");
  if (options.seen_items == "keep" || options.seen_items == "leave_out")
    options.overrides.push_back("evaluate.seen_items=" + options.seen_items);
  else if (!options.seen_items.empty() && options.seen_items != "both")
    line.complain("--seen-items " + options.seen_items + ": give leave_out, keep or both");
  options.ranking.both_rules = options.seen_items == "both";
  if (!options.part.empty() && options.part != "validation" && options.part != "test")
    line.complain("--part " + options.part + ": give validation or test");
  options.run = run;
  return evaluate(options, registry);
}

}  // namespace tradewind::launcher
