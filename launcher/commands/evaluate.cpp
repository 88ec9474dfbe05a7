#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/session.h"

namespace tradewind::launcher {

int evaluate(const EvaluateOptions& options, const models::Registry& registry) {
  const LoadedRun run = load_run(options.run, options.checkpoint, options.overrides, registry);
  const auto corpus = runtime::load_text_corpus(run.config.data, run.config.model->context(),
                                                static_cast<std::uint64_t>(run.config.run.seed), run.tokenizer.get());
  if (corpus.validation == nullptr)
    throw ConfigError("evaluating: the run has no validation part; give one with --set data.validation_path=FILE");
  const auto& train = run.config.train;
  const std::int64_t micro = train.micro_batch > 0 ? train.micro_batch : train.batch;
  const auto result = runtime::evaluate(*run.context, *run.task, *corpus.validation,
                                        run.config.evaluate.batch > 0 ? run.config.evaluate.batch : micro, 0);
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

}  // namespace tradewind::launcher
