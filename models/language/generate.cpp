#include "models/language/generate.h"

#include <algorithm>

#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

namespace {

template <class T>
Tensor tensor_of(const std::vector<T>& values) {
  Tensor out(host_allocator(), {static_cast<std::int64_t>(values.size())}, kernels::dtype_of<T>);
  std::ranges::copy(values, out.data<T>());
  return out;
}

/// Products whose rows do not depend on each other, while this lives.
class StableRows {
 public:
  explicit StableRows(Context& context) : context_(context) { context_.set_stable_rows(true); }
  ~StableRows() { context_.set_stable_rows(false); }
  StableRows(const StableRows&) = delete;
  StableRows& operator=(const StableRows&) = delete;

 private:
  Context& context_;
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

std::uint64_t draw_key(std::span<const std::int32_t> tokens, std::uint64_t sample) {
  std::uint64_t hash = purpose_of("generate.draw") ^ sample * 0x9E3779B97F4A7C15ULL;
  for (const std::int32_t token : tokens) {  // FNV-1a over the ids, with a shift that carries high bits down
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x100000001B3ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

std::vector<Prompt> samples_of(const std::vector<std::int32_t>& tokens, std::int64_t count) {
  std::vector<Prompt> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back({tokens, draw_key(tokens, static_cast<std::uint64_t>(i))});
  return out;
}

Generator::Generator(Context& context, LanguageModel& model, std::int64_t slots)
    : context_(context), model_(model), slots_(static_cast<std::size_t>(slots)), cache_(model.make_cache(context, slots)) {}

std::int64_t Generator::keep() const { return std::max<std::int64_t>(1, model_.context() / 2); }

void Generator::add(std::int64_t id, Prompt prompt, const GenerateOptions& options) {
  require(!full(), "generate", "no room for another sequence");
  require(!prompt.tokens.empty(), "generate", "an empty prompt");
  for (std::size_t s = 0; s < slots_.size(); ++s) {
    Slot& slot = slots_[s];
    if (slot.busy) continue;
    slot = {.busy = true,
            .id = id,
            .made = 0,
            .key = prompt.key,
            .options = options,
            .tokens = std::move(prompt.tokens),
            .unread = {}};
    if (static_cast<std::int64_t>(slot.tokens.size()) > model_.context())
      slot.tokens.erase(slot.tokens.begin(), slot.tokens.end() - keep());
    slot.unread = slot.tokens;
    cache_->clear(static_cast<std::int64_t>(s));
    ++busy_;
    return;
  }
}

std::int32_t Generator::draw(const Slot& slot, const float* logits) {
  const kernels::SamplingOptions sampling{.temperature = slot.options.temperature,
                                          .top_k = slot.options.top_k,
                                          .top_p = slot.options.top_p,
                                          .purpose = purpose_of("generate")};
  const auto position = static_cast<std::int32_t>(slot.made);
  std::int32_t token = 0;
  kernels::sample(&token, logits, 1, model_.vocabulary(), {.sample = &slot.key, .position = &position}, sampling,
                  context_.host_launch());
  return token;
}

void Generator::step(const OnToken& on_token, const OnEnd& on_end) {
  if (empty()) return;
  std::vector<std::vector<std::int32_t>> rows(slots_.size());
  std::vector<std::int64_t> first(slots_.size(), 0);
  for (std::size_t s = 0; s < slots_.size(); ++s) {
    Slot& slot = slots_[s];
    if (!slot.busy) continue;
    const auto index = static_cast<std::int64_t>(s);
    if (cache_->length(index) + static_cast<std::int64_t>(slot.unread.size()) > model_.context()) {
      slot.tokens.erase(slot.tokens.begin(), slot.tokens.end() - keep());
      slot.unread = slot.tokens;
      cache_->clear(index);
    }
    rows[s] = slot.unread;
    first[s] = cache_->length(index);
  }
  Tensor logits;
  {
    const StableRows stable(context_);
    logits = on_host(model_.next_logits(context_, on_device(context_, token_rows(rows, first)), *cache_));
  }
  for (std::size_t s = 0; s < slots_.size(); ++s) {
    Slot& slot = slots_[s];
    if (!slot.busy) continue;
    const std::int32_t token = draw(slot, logits.data<float>() + static_cast<std::int64_t>(s) * model_.vocabulary());
    const bool stopped = slot.options.stop == token;
    if (!stopped) {
      on_token(slot.id, token);
      slot.tokens.push_back(token);
      slot.unread = {token};
      if (++slot.made < slot.options.tokens) continue;
    }
    slot.busy = false;
    --busy_;
    if (on_end) on_end(slot.id, stopped ? End::kStopped : End::kLength);
  }
}

void generate(Context& context, LanguageModel& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
              const Generator::OnToken& on_token) {
  Generator generator(context, model, 1);
  for (std::size_t s = 0; s < prompts.size(); ++s) {
    generator.add(static_cast<std::int64_t>(s), prompts[s], options);
    while (!generator.empty()) generator.step(on_token, nullptr);
  }
}

}  // namespace tradewind::models
