#include "launcher/samples.h"

namespace tradewind::launcher {
namespace {

/// A line break, or the first token where the tokenizer knows none: something that the model has seen before the start of a
/// text.
std::vector<std::int32_t> any_beginning(const LoadedRun& run) {
  try {
    return run.tokenizer->encode("\n");
  } catch (const DataError&) {
    return {0};
  }
}

}  // namespace

std::vector<std::int32_t> prompt_tokens(const LoadedRun& run, const std::string& prompt) {
  auto tokens = run.tokenizer->encode(prompt);
  const auto end = run.tokenizer->end_of_text();
  const bool documents = end && run.config.data.separates();
  if (documents) tokens.insert(tokens.begin(), *end);
  if (tokens.empty()) throw ConfigError("the prompt is empty, and this model knows no beginning of a document; give some text");
  return tokens;
}

std::vector<std::string> sample_texts(const LoadedRun& run, const std::string& prompt, std::int64_t count, std::uint64_t seed,
                                      models::GenerateOptions options) {
  auto& model = run.language_model();
  run.context->step_state().seed = seed;
  options.stop = run.tokenizer->end_of_text();
  const bool documents = options.stop && run.config.data.separates();
  const auto tokens = prompt.empty() && !documents ? any_beginning(run) : prompt_tokens(run, prompt);
  const auto n = static_cast<std::size_t>(count);
  std::vector<std::string> out(n, prompt);
  std::vector<runtime::StreamDecoder> decoders(n, runtime::StreamDecoder(*run.tokenizer));
  models::generate(*run.context, model, models::samples_of(tokens, count), options,
                   [&](std::int64_t sample, std::int32_t token) {
                     const auto s = static_cast<std::size_t>(sample);
                     out[s] += decoders[s].push(token);
                   });
  for (std::size_t s = 0; s < n; ++s) out[s] += decoders[s].finish();
  return out;
}

}  // namespace tradewind::launcher
