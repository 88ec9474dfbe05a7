#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "models/recommend/popularity.h"
#include "runtime/checkpoint/files.h"
#include "runtime/core/terminal.h"
#include "runtime/data/csv.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/train/run_record.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(How good a run's model is on data held out: loss, perplexity and bits per byte
of a language model; of a recommender, how high it ranks what users did next
among the whole catalogue.

usage: tradewind evaluate RUN [--checkpoint last|best|STEP]
                              [--part validation|test] [--per-user FILE]
                              [--json] [--set KEY=VALUE]...

  RUN              a run directory
  --checkpoint C   last (default for language models), best (default for
                   recommenders), or the step of one
  --part P         which held-out events: test (default for recommenders) or
                   validation (default, and all there is, for text)
  --per-user FILE  recommenders: a CSV of every user's metrics
  --set KEY=VALUE  override a key of the run's config
  --json           print one JSON object

Recommenders: every item that evaluate.seen_items allows is a candidate; ties
count at each of their places alike, so that equal scores earn nothing. Beside
the model's stand the metrics of popularity: the same items for everybody.

examples:
  tradewind evaluate runs/gpt-shakespeare
  tradewind evaluate runs/gpt-shakespeare --checkpoint best --json
  tradewind evaluate runs/shop --set data.validation_path=reviews.txt
  tradewind evaluate runs/sasrec-ml1m --set evaluate.cutoff=20
)";

struct EvaluateOptions {
  std::filesystem::path run;
  std::vector<std::string> overrides;
  std::string checkpoint;  // "last", "best" or a step; "": by the kind of model
  std::string part;        // "validation", "test"; "": by the kind of model
  std::string per_user;
  bool json = false;
};

/// A CSV of a user a line, in the order in which they are ranked.
class PerUser {
 public:
  PerUser(const std::string& file, const runtime::Vocabulary& users, std::int64_t cutoff) : users_(users) {
    if (file.empty()) return;
    to_ = file;
    unfinished_ = runtime::leftover_name(to_);
    file_ = std::make_unique<runtime::DurableFile>(unfinished_);
    std::string line = "user";
    const runtime::RankingMetrics metrics({cutoff});
    for (const auto& name : metrics.names()) line += "," + name;
    write(line + "\n");
  }
  void add(std::int32_t user, const std::vector<double>& values) {
    if (!file_) return;
    std::string line = runtime::csv_field(users_.name(user));
    for (const double value : values) line += fmt::format(",{:.9g}", value);
    write(line + "\n");
  }
  void finish() {
    if (!file_) return;
    file_->finish();
    std::filesystem::rename(unfinished_, to_);
  }

 private:
  void write(const std::string& line) { file_->write(line.data(), line.size()); }
  const runtime::Vocabulary& users_;
  std::unique_ptr<runtime::DurableFile> file_;
  std::filesystem::path to_, unfinished_;
};

struct Measured {
  runtime::Evaluation model;
  std::optional<runtime::Evaluation> popularity;  // of recommenders
};

Measured measure(const LoadedRun& run, const RunData& data, const EvaluateOptions& options, Waiting& waiting) {
  const runtime::EvaluationPlan plan{
      .batch = run.config.evaluation_batch(),
      .progress = [&](std::int64_t done, std::int64_t total) { waiting.now("evaluating", done, total); }};
  if (data.interactions == nullptr) {
    if (data.validation == nullptr)
      throw ConfigError("evaluating: the run has no validation part; give one with --set data.validation_path=FILE");
    return {data.validation->run(*run.context, *run.task, plan), {}};
  }
  const auto part = options.part == "validation" ? runtime::Part::kValidation : runtime::Part::kTest;
  const auto users =
      std::make_shared<runtime::HeldOut>(data.interactions, part, run.config.model->history(data.inputs.vocabulary));
  if (users->size() == 0)
    throw ConfigError(fmt::format("evaluating: {} holds no event of the {} part; see data.split", data.source,
                                  options.part.empty() ? "test" : options.part));
  PerUser per_user(options.per_user, *data.interactions->users, run.config.evaluate.cutoff);
  auto ranking = ranking_options(run.config);
  ranking.each_user = [&](std::int32_t user, const std::vector<double>& values) { per_user.add(user, values); };
  Measured out{models::RankingValidation(users, ranking).run(*run.context, *run.task, plan), {}};
  per_user.finish();
  models::Popularity popularity(data.interactions->items->size());
  popularity.fit(*run.context, *data.interactions);
  out.popularity = models::RankingValidation(users, ranking_options(run.config)).run(*run.context, popularity, plan);
  return out;
}

void print_text(const runtime::Evaluation& result) {
  std::printf("loss           %.4f nats, mean of %lld targets of the validation part\n", result.loss,
              static_cast<long long>(result.targets));
  std::printf("perplexity     %.3f\n", result.perplexity);
  std::printf("bits per byte  %.4f\n", result.bits_per_byte);
}

void print_ranking(const Measured& measured, const RunData& data, const RunConfig& config, const std::string& part) {
  const runtime::Evaluation& result = measured.model;
  runtime::say(stdout, fmt::format("{} events of the {} part, each ranked among {} items{}", result.targets,
                                   part.empty() ? "test" : part, data.inputs.vocabulary,
                                   config.evaluate.seen_items == "leave_out" ? " less those that the user had before"
                                                                             : ", those that the user had before too"));
  std::printf("%-14s %-9s popularity\n", "", "model");
  for (std::size_t i = 0; i < result.metrics.size(); ++i)
    std::printf("%-14s %-9.4f %.4f\n", result.metrics[i].first.c_str(), result.metrics[i].second,
                measured.popularity->metrics[i].second);
  std::printf("%-14s %-9.4f %.4f  nats, of a softmax over all items\n", "loss", result.loss, measured.popularity->loss);
}

int evaluate(EvaluateOptions options, const models::Registry& registry) {
  runtime::require_run(options.run);
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  const bool ranks = read_run_config(options.run / "config.toml", options.overrides, registry).model->data_kind() ==
                     models::DataKind::kInteractions;
  if (options.checkpoint.empty()) options.checkpoint = ranks ? best_or_last(options.run) : "last";
  if (!ranks && (options.part == "test" || !options.per_user.empty()))
    throw ConfigError("evaluating: a text has no test part and no users; --part test and --per-user are for recommenders");
  const LoadedRun run = load_run(options.run, options.checkpoint, options.overrides, registry);
  waiting->now("reading data");
  const RunData data = load_run_data(run.config, run.checkpoint.get());
  const Measured measured = measure(run, data, options, *waiting);
  const runtime::Evaluation& result = measured.model;
  waiting.reset();
  if (options.json) {
    nlohmann::ordered_json out = {{"run", options.run.string()}, {"step", run.checkpoint->step()}, {"loss", result.loss}};
    if (!ranks) {
      out["perplexity"] = result.perplexity;
      out["bits_per_byte"] = result.bits_per_byte;
    }
    for (const auto& [name, value] : result.metrics) out[name] = value;
    if (measured.popularity) {
      auto& baseline = out["popularity"] = {{"loss", measured.popularity->loss}};
      for (const auto& [name, value] : measured.popularity->metrics) baseline[name] = value;
    }
    out["targets"] = result.targets;
    out["seconds"] = result.seconds;
    print_json(out);
    return 0;
  }
  std::printf("%s, step %lld\n", options.run.c_str(), static_cast<long long>(run.checkpoint->step()));
  if (ranks)
    print_ranking(measured, data, run.config, options.part);
  else
    print_text(result);
  std::printf("time           %.2f s\n", result.seconds);
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
  line.option("--per-user", options.per_user);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  if (!options.part.empty() && options.part != "validation" && options.part != "test")
    line.complain("--part " + options.part + ": give validation or test");
  options.run = run;
  return evaluate(options, registry);
}

}  // namespace tradewind::launcher
