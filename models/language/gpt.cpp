// Token + position, the pre-norm blocks of runtime/nn/transformer.h, loss = cross-entropy(y head^T).
#include "models/language/gpt.h"

#include "kernels/convert.h"
#include "kernels/linear.h"
#include "models/activation.h"
#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void GptConfig::describe(Fields& f) {
  f.field("layers", layers, "Transformer blocks.", {.min = 1});
  f.field("heads", heads, "Attention heads.", {.min = 1});
  f.field("kv_heads", kv_heads, "Key and value heads, shared by groups of query heads; 0: as many as heads.", {.min = 0});
  f.field("channels", channels, "Width of the residual stream.", {.min = 1});
  f.field("hidden", hidden, "Width of the feed-forward layer; 0: 4 * channels.", {.min = 0});
  f.field("context", context_length, "Tokens that a prediction can look back on.", {.min = 1});
  f.field("vocabulary", vocabulary, "Rows of the token table; 0: as many as the tokenizer has.", {.min = 0});
  f.field("dropout", dropout, "Of embeddings, attention and both branches, while training.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("position", position, "How positions are told apart.", {"learned", "rope"});
  f.field("norm", norm, "Normalisation of each branch's input.", {"layer_norm", "rms_norm"});
  f.field("activation", activation, "Of the feed-forward layer.", {"gelu_tanh", "gelu_exact", "relu", "silu", "swiglu"});
  f.field("bias", bias, "Linear layers and layer norms have biases.");
  f.field("tied_head", tied_head, "The output layer is the token table.");
  f.field("norm_epsilon", norm_epsilon, "Added to the variance.", {.min = 0, .above_min = true});
  f.field("rope_theta", rope_theta, "Base of the rotary angles.", {.min = 1});
  f.field("init_deviation", init_deviation, "Standard deviation of the initial weights.", {.min = 0});
}

void GptConfig::check() const {
  if (channels % heads != 0)
    throw ConfigError("model.channels = " + std::to_string(channels) +
                      " is not a multiple of model.heads = " + std::to_string(heads));
  if (heads % key_value_heads() != 0)
    throw ConfigError("model.heads = " + std::to_string(heads) +
                      " is not a multiple of model.kv_heads = " + std::to_string(kv_heads));
  if (position == "rope" && channels / heads % 2 != 0)
    throw ConfigError("model.position = \"rope\" needs an even head size; model.channels / model.heads = " +
                      std::to_string(channels / heads));
}

std::unique_ptr<Task> GptConfig::build(const ModelInputs& inputs) const {
  check();
  if (vocabulary > 0 && vocabulary < inputs.vocabulary)
    throw ConfigError("model.vocabulary = " + std::to_string(vocabulary) + " is smaller than the tokenizer's " +
                      std::to_string(inputs.vocabulary) + "; set model.vocabulary = 0");
  return std::make_unique<Gpt>(*this, vocabulary > 0 ? vocabulary : inputs.vocabulary);
}

Gpt::Gpt(const GptConfig& config, std::int64_t vocabulary) : config_(config), vocabulary_(vocabulary) {
  const std::int64_t C = config.channels;
  const auto deviation = static_cast<float>(config.init_deviation);
  tokens_ = &store_.add("token_embedding.weight", {vocabulary, C}, Init::normal(deviation), true);
  if (config.position == "learned")
    positions_ = &store_.add("position_embedding.weight", {config.context_length, C}, Init::normal(deviation), true);
  blocks_ = Transformer(
      store_, {.layers = config.layers,
               .channels = C,
               .hidden = config.hidden_size(),
               .heads = {.query = config.heads, .key_value = config.key_value_heads(), .size = C / config.heads},
               .norm = {.kind = config.norm == "rms_norm" ? kernels::NormKind::kRmsNorm : kernels::NormKind::kLayerNorm,
                        .epsilon = static_cast<float>(config.norm_epsilon)},
               .activation = activation_of(config.activation),
               .gated = config.gated(),
               .bias = config.bias,
               .rope_theta = config.position == "rope" ? config.rope_theta : 0,
               .dropout = config.dropout,
               .deviation = config.init_deviation});
  head_ = config.tied_head ? tokens_ : &store_.add("head.weight", {vocabulary, C}, Init::normal(deviation), true);
}

Variable Gpt::hidden(Tape& tape, const Batch& batch, KvCache* cache) {
  const auto rows = Sequences::of(batch);
  const Variable x = positions_ != nullptr ? embedding_sum(tape, *tokens_, batch["ids"], *positions_, rows.positions)
                                           : embedding(tape, *tokens_, batch["ids"]);
  return blocks_(tape, x, rows, cache);
}

RowLosses Gpt::row_losses(Tape& tape, const Batch& batch) {
  return linear_cross_entropy(tape, hidden(tape, batch, nullptr), *head_, nullptr, batch["targets"], {});
}

RowLosses Gpt::forward(Tape& tape, const Batch& batch) { return row_losses(tape, batch); }

/// Always in float32: a logit of 20 in bfloat16 is off by 0.06.
Tensor Gpt::head_logits(Context& context, const Tensor& x) const {
  Tensor wide = x;
  if (x.dtype() != DType::kFloat32) {
    wide = context.tensor(x.shape());
    kernels::convert(wide.raw(), DType::kFloat32, x.raw(), x.dtype(), x.elements(), context.launch());
  }
  const kernels::LinearShape shape{.M = x.size(0), .N = vocabulary_, .K = config_.channels};
  Tensor out = context.tensor({shape.M, shape.N});
  kernels::linear_forward(out.raw(), nullptr, wide.raw(), head_->value().raw(), nullptr, shape, {}, context.launch());
  return out;
}

Tensor Gpt::logits(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return head_logits(context, hidden(tape, batch, nullptr).value());
}

std::unique_ptr<KvCache> Gpt::make_cache(Context& context, std::int64_t sequences) const {
  return std::make_unique<KvCache>(context, config_.layers, sequences, config_.context_length, blocks_.options().heads);
}

Tensor Gpt::next_logits(Context& context, const Batch& batch, KvCache& cache) {
  Tape tape(context, false);
  const Tensor x = hidden(tape, batch, &cache).value();
  const auto* offsets = batch.on_host("offsets").data<std::int64_t>();
  const std::int64_t S = cache.sequences(), C = config_.channels;
  const Tensor last = context.tensor({S, C}, x.dtype());
  for (std::int64_t s = 0; s < S; ++s) {
    const Tensor row = last.view(s * C, {C});
    if (offsets[s + 1] == offsets[s])
      row.zero();
    else
      copy_rows(row.raw(), row.bytes(), x.at((offsets[s + 1] - 1) * C), row.bytes(), row.bytes(), 1, context);
  }
  return head_logits(context, last);
}

CostEstimate Gpt::cost() const {
  const std::int64_t T = config_.context_length;
  return {.flops_per_row = blocks_.flops_per_row(),
          .flops_per_pair = blocks_.flops_per_pair(),
          .flops_per_target = 2 * static_cast<double>(vocabulary_ * config_.channels),
          .sample = {.rows = T, .pairs = T * T, .targets = T},
          .activation_bytes_per_sample = static_cast<std::int64_t>(4 * blocks_.kept_floats() * static_cast<double>(T)),
          .softmax = {vocabulary_, config_.channels}};
}

}  // namespace tradewind::models
