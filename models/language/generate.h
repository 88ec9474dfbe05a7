// Text generation with a key/value cache.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "kernels/sampling.h"
#include "models/language/language_model.h"

namespace tradewind::models {

struct GenerateOptions {
  std::int64_t tokens = 200;  // new ones, a sequence
  float temperature = 1.0F;
  std::int64_t top_k = 0;
  float top_p = 1.0F;
  std::optional<std::int32_t> stop = {};  // a sequence ends when it draws this token
};

/// Continues every prompt (none empty). Draws depend on the context's seed, the index of the prompt and the number of the token
/// alone, not on the prompts beside it. `on_token(sequence, token)` is called in order of generation, the stop token left out.
///
/// A sequence that fills the model's context goes on from its last half, read anew: what it can look back on is then between
/// half and all of the context.
void generate(runtime::Context& context, LanguageModel& model, const std::vector<std::vector<std::int32_t>>& prompts,
              const GenerateOptions& options, const std::function<void(std::int64_t, std::int32_t)>& on_token);

/// The Batch of token rows without targets: row i of sequence s stands at position first[s] + i.
runtime::Batch token_rows(const std::vector<std::vector<std::int32_t>>& tokens, const std::vector<std::int64_t>& first);

}  // namespace tradewind::models
