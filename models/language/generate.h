// Text generation with a key/value cache, many sequences at once.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kernels/sampling.h"
#include "models/language/language_model.h"

namespace tradewind::models {

struct GenerateOptions {
  std::int64_t tokens = 200;  // new ones, a sequence; at least 1
  float temperature = 1.0F;
  std::int64_t top_k = 0;
  float top_p = 1.0F;
  std::optional<std::int32_t> stop = {};  // a sequence ends when it draws this token
};

struct Prompt {
  std::vector<std::int32_t> tokens;  // not empty
  std::uint64_t key = 0;             // what tells its draws from those of others: see draw_key
};

/// A key of the prompt's tokens and of which sample of it this is: the same prompt gets the same text wherever it stands.
std::uint64_t draw_key(std::span<const std::int32_t> tokens, std::uint64_t sample);

/// `count` samples of one prompt.
std::vector<Prompt> samples_of(const std::vector<std::int32_t>& tokens, std::int64_t count);

/// Sequences that grow together, a token each a step. What a sequence becomes depends on the model, its prompt, key and options
/// and the context's seed alone, to the bit: not on how many others there are, when they came, or on the threads
/// (kernels::Launch::stable_rows).
///
/// A sequence that fills the model's context goes on from its last half, read anew: what it can look back on is then between
/// half and all of the context.
class Generator {
 public:
  enum class End : std::uint8_t { kStopped, kLength };
  using OnToken = std::function<void(std::int64_t id, std::int32_t token)>;  // the stop token left out
  using OnEnd = std::function<void(std::int64_t id, End end)>;

  /// Room for `slots` sequences; a cache of the whole context is kept for each.
  Generator(runtime::Context& context, LanguageModel& model, std::int64_t slots);

  bool full() const { return busy_ == static_cast<std::int64_t>(slots_.size()); }
  bool empty() const { return busy_ == 0; }
  /// `id` comes back with its tokens. Needs !full() and a prompt that is not empty.
  void add(std::int64_t id, Prompt prompt, const GenerateOptions& options);
  /// The next token of every sequence; those that end make room.
  void step(const OnToken& on_token, const OnEnd& on_end);

 private:
  struct Slot {
    bool busy = false;
    std::int64_t id = 0, made = 0;
    std::uint64_t key = 0;
    GenerateOptions options;
    std::vector<std::int32_t> tokens, unread;
  };
  std::int32_t draw(const Slot& slot, const float* logits);
  std::int64_t keep() const;

  runtime::Context& context_;
  LanguageModel& model_;
  std::vector<Slot> slots_;
  std::int64_t busy_ = 0;
  std::unique_ptr<runtime::KvCache> cache_;
};

/// Continues every prompt, one after the other; on_token(index of the prompt, token).
void generate(runtime::Context& context, LanguageModel& model, const std::vector<Prompt>& prompts,
              const GenerateOptions& options, const Generator::OnToken& on_token);

/// The Batch of token rows without targets: row i of sequence s stands at position first[s] + i. A sequence may be empty.
runtime::Batch token_rows(const std::vector<std::vector<std::int32_t>>& tokens, const std::vector<std::int64_t>& first);

}  // namespace tradewind::models
