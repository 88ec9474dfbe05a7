#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/session.h"
#include "launcher/waiting.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Loss, perplexity and bits per byte of a run's validation part.

usage: tradewind evaluate RUN [--checkpoint last|best|STEP] [--json]
                              [--set KEY=VALUE]...

  RUN              a run directory
  --checkpoint C   last (default), best, or the step of one
  --set KEY=VALUE  override a key of the run's config
  --json           print one JSON object

examples:
  tradewind evaluate runs/gpt-shakespeare
  tradewind evaluate runs/gpt-shakespeare --checkpoint best --json
  tradewind evaluate runs/shop --set data.validation_path=reviews.txt
)";

struct EvaluateOptions {
  std::filesystem::path run;
  std::vector<std::string> overrides;
  std::string checkpoint = "last";  // "last", "best" or a step
  bool json = false;
};

int evaluate(const EvaluateOptions& options, const models::Registry& registry) {
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  const LoadedRun run = load_run(options.run, options.checkpoint, options.overrides, registry);
  waiting->now("reading data");
  const auto corpus = runtime::load_text_corpus(run.config.data, run.config.model->context(),
                                                static_cast<std::uint64_t>(run.config.run.seed), run.tokenizer.get());
  if (corpus.validation == nullptr)
    throw ConfigError("evaluating: the run has no validation part; give one with --set data.validation_path=FILE");
  const auto& train = run.config.train;
  const std::int64_t micro = train.micro_batch > 0 ? train.micro_batch : train.batch;
  const auto result = runtime::evaluate(
      *run.context, *run.task, *corpus.validation, run.config.evaluate.batch > 0 ? run.config.evaluate.batch : micro, 0,
      [&](std::int64_t done, std::int64_t total) { waiting->now("evaluating", done, total); });
  waiting.reset();
  if (options.json) {
    const nlohmann::json out = {
        {"run", options.run.string()},     {"step", run.checkpoint->step()},        {"loss", result.loss},
        {"perplexity", result.perplexity}, {"bits_per_byte", result.bits_per_byte}, {"targets", result.targets},
        {"seconds", result.seconds}};
    std::printf("%s\n", out.dump().c_str());
  } else {
    std::printf("%s, step %lld\n", options.run.c_str(), static_cast<long long>(run.checkpoint->step()));
    std::printf("loss           %.4f nats, mean of %lld targets of the validation part\n", result.loss,
                static_cast<long long>(result.targets));
    std::printf("perplexity     %.3f\n", result.perplexity);
    std::printf("bits per byte  %.4f\n", result.bits_per_byte);
    std::printf("time           %.2f s\n", result.seconds);
  }
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
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  options.run = run;
  return evaluate(options, registry);
}

}  // namespace tradewind::launcher
