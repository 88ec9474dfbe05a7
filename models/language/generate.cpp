#include "models/language/generate.h"

#include <algorithm>

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

namespace {

template <class T>
Tensor tensor_of(const std::vector<T>& values) {
  Tensor out(host_allocator(), {static_cast<std::int64_t>(values.size())}, kernels::dtype_of<T>);
  std::ranges::copy(values, out.data<T>());
  return out;
}

/// One prompt on its way. Each has a cache of its own: a draw then cannot depend on the others.
class Sequence {
 public:
  Sequence(Context& context, LanguageModel& model, std::vector<std::int32_t> prompt)
      : context_(context), model_(model), cache_(model.make_cache(context, 1)), tokens_(std::move(prompt)) {
    if (static_cast<std::int64_t>(tokens_.size()) > model.context()) tokens_.erase(tokens_.begin(), tokens_.end() - keep());
    unread_ = tokens_;
  }

  /// Logits [1, V] of the next token.
  Tensor next() {
    if (cache_->length(0) + static_cast<std::int64_t>(unread_.size()) > model_.context()) {
      tokens_.erase(tokens_.begin(), tokens_.end() - keep());
      unread_ = tokens_;
      cache_->clear();
    }
    const Batch rows = token_rows({unread_}, {cache_->length(0)});
    return model_.next_logits(context_, rows, *cache_);
  }

  void append(std::int32_t token) {
    tokens_.push_back(token);
    unread_ = {token};
  }

 private:
  std::int64_t keep() const { return std::max<std::int64_t>(1, model_.context() / 2); }

  Context& context_;
  LanguageModel& model_;
  std::unique_ptr<KvCache> cache_;
  std::vector<std::int32_t> tokens_, unread_;
};

}  // namespace

Batch token_rows(const std::vector<std::vector<std::int32_t>>& tokens, const std::vector<std::int64_t>& first) {
  std::vector<std::int32_t> ids, positions, slots;
  std::vector<std::uint64_t> samples;
  std::vector<std::int64_t> offsets{0};
  Batch batch;
  for (std::size_t s = 0; s < tokens.size(); ++s) {
    for (std::size_t i = 0; i < tokens[s].size(); ++i) {
      ids.push_back(tokens[s][i]);
      positions.push_back(static_cast<std::int32_t>(first[s]) + static_cast<std::int32_t>(i));
      samples.push_back(s);
    }
    offsets.push_back(static_cast<std::int64_t>(ids.size()));
    batch.max_length = std::max(batch.max_length, static_cast<std::int64_t>(tokens[s].size()));
  }
  slots = positions;
  batch.samples = static_cast<std::int64_t>(tokens.size());
  batch.tokens = static_cast<std::int64_t>(ids.size());
  batch.fields = {{"ids", tensor_of(ids)},
                  {"positions", tensor_of(positions)},
                  {"slots", tensor_of(slots)},
                  {"samples", tensor_of(samples)},
                  {"offsets", tensor_of(offsets)}};
  return batch;
}

void generate(Context& context, LanguageModel& model, const std::vector<std::vector<std::int32_t>>& prompts,
              const GenerateOptions& options, const std::function<void(std::int64_t, std::int32_t)>& on_token) {
  const kernels::SamplingOptions sampling{
      .temperature = options.temperature, .top_k = options.top_k, .top_p = options.top_p, .purpose = purpose_of("generate")};
  for (std::size_t s = 0; s < prompts.size(); ++s) {
    require(!prompts[s].empty(), "generate", "an empty prompt");
    Sequence sequence(context, model, prompts[s]);
    const std::uint64_t sample = s;
    for (std::int64_t i = 0; i < options.tokens; ++i) {
      const auto position = static_cast<std::int32_t>(i);
      const Tensor logits = sequence.next();
      std::int32_t token = 0;
      kernels::sample(&token, logits.data<float>(), 1, model.vocabulary(), {.sample = &sample, .position = &position}, sampling,
                      context.launch());
      if (options.stop == token) break;
      on_token(static_cast<std::int64_t>(s), token);
      sequence.append(token);
    }
  }
}

}  // namespace tradewind::models
