// x = dropout(token + position); a block: x += dropout(out(attention(qkv(norm1(x))))), x += dropout(mlp(norm2(x)));
// loss = cross-entropy(norm(x) head^T). Each "x += ..., norm" is one fused op, so a block's norm1 runs at the end of the block
// before it. GPT-2's initialisation (Radford et al. 2019, section 2.3): N(0, 0.02), projections into the residual stream
// scaled by 1 / sqrt(2 layers), biases 0, norms 1.
#include "models/language/gpt.h"

#include <cmath>

#include "kernels/convert.h"
#include "kernels/linear.h"
#include "runtime/core/transfer.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/rope.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

namespace {

kernels::Activation activation_of(const std::string& name) {
  if (name == "gelu_tanh") return kernels::Activation::kGeluTanh;
  if (name == "gelu_exact") return kernels::Activation::kGeluExact;
  if (name == "relu") return kernels::Activation::kRelu;
  return kernels::Activation::kSilu;  // "silu", and inside "swiglu"
}

}  // namespace

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

kernels::Dropout Gpt::site(const std::string& name) const {
  return {.p = static_cast<float>(config_.dropout), .purpose = purpose_of("dropout." + name)};
}

Gpt::Gpt(const GptConfig& config, std::int64_t vocabulary)
    : config_(config),
      vocabulary_(vocabulary),
      heads_{.query = config.heads, .key_value = config.key_value_heads(), .size = config.channels / config.heads} {
  const std::int64_t C = config.channels;
  const auto deviation = static_cast<float>(config.init_deviation);
  const auto residual = static_cast<float>(config.init_deviation / std::sqrt(2.0 * static_cast<double>(config.layers)));
  const kernels::NormOptions norm{
      .kind = config.norm == "rms_norm" ? kernels::NormKind::kRmsNorm : kernels::NormKind::kLayerNorm,
      .epsilon = static_cast<float>(config.norm_epsilon)};
  tokens_ = &store_.add("token_embedding.weight", {vocabulary, C}, Init::normal(deviation), true);
  if (config.position == "learned")
    positions_ = &store_.add("position_embedding.weight", {config.context_length, C}, Init::normal(deviation), true);
  embedding_dropout_ = site("embedding");
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    store_.begin_block();
    Block block;
    block.norm1 = NormLayer::make(store_, name + "norm1", C, norm, config.bias);
    block.qkv = LinearLayer::make(store_, name + "attention.qkv", C, heads_.width(), config.bias, deviation);
    block.out = LinearLayer::make(store_, name + "attention.out", C, C, config.bias, residual);
    block.norm2 = NormLayer::make(store_, name + "norm2", C, norm, config.bias);
    block.mlp = MlpLayer::make(store_, name + "mlp", C, config.hidden_size(), config.bias, activation_of(config.activation),
                               config.gated(), deviation, residual);
    block.attention_dropout = site(name + "attention");
    block.out_dropout = site(name + "attention.out");
    block.mlp_dropout = site(name + "mlp");
    blocks_.push_back(block);
  }
  store_.begin_block();
  norm_ = NormLayer::make(store_, "norm", C, norm, config.bias);
  head_ = config.tied_head ? tokens_ : &store_.add("head.weight", {vocabulary, C}, Init::normal(deviation), true);
}

Variable Gpt::attention(Tape& tape, std::size_t layer, const Variable& x, const Sequences& rows, KvCache* cache) {
  const Block& block = blocks_[layer];
  Variable qkv = block.qkv(tape, x);
  if (positions_ == nullptr)
    qkv = rope(tape, qkv, rows.positions, heads_.query + heads_.key_value, heads_.size, {.theta = config_.rope_theta});
  kernels::AttentionOptions options{.scale = 1.0F / std::sqrt(static_cast<float>(heads_.size))};
  if (tape.recording()) options.dropout = block.attention_dropout;
  const Variable seen = cache != nullptr ? cache->attend(tape, static_cast<std::int64_t>(layer), qkv, rows, options)
                                         : self_attention(tape, qkv, heads_, rows, options);
  return block.out(tape, seen);
}

Variable Gpt::hidden(Tape& tape, const Batch& batch, KvCache* cache) {
  const auto rows = Sequences::of(batch);
  const auto when_training = [&](const kernels::Dropout& d) { return tape.recording() ? d : kernels::Dropout{}; };
  Variable x = positions_ != nullptr ? embedding_sum(tape, *tokens_, batch["ids"], *positions_, rows.positions)
                                     : embedding(tape, *tokens_, batch["ids"]);
  x = dropout(tape, x, when_training(embedding_dropout_), rows);
  Variable y = blocks_.front().norm1(tape, x);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const NormLayer& next = i + 1 < blocks_.size() ? blocks_[i + 1].norm1 : norm_;
    const Residual middle = residual_norm(tape, x, attention(tape, i, y, rows, cache), block.norm2.parameters,
                                          when_training(block.out_dropout), rows);
    const Residual end = residual_norm(tape, middle.sum, block.mlp(tape, middle.normalised), next.parameters,
                                       when_training(block.mlp_dropout), rows);
    x = end.sum;
    y = end.normalised;
  }
  if (cache != nullptr) cache->advance(rows);
  return y;
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
  return std::make_unique<KvCache>(context, config_.layers, sequences, config_.context_length, heads_);
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
  const auto T = static_cast<double>(config_.context_length), C = static_cast<double>(config_.channels);
  double weights = static_cast<double>(vocabulary_) * C;  // the head
  for (const auto& p : store_.parameters())
    if (p->shape().rank() == 2 && p->name().starts_with("blocks.")) weights += static_cast<double>(p->shape().elements());
  const double attention = 2 * static_cast<double>(config_.layers) * C * T * (T + 1);  // causal: half of 4 C T^2
  const double hidden = static_cast<double>(config_.hidden_size()) * (config_.gated() ? 2 : 1);
  const double kept = static_cast<double>(config_.layers) * (5 * C + static_cast<double>(heads_.width()) + hidden) + 4 * C;
  return {.forward_flops_per_sample = 2 * weights * T + attention,
          .activation_bytes_per_sample = static_cast<std::int64_t>(4 * kept * T)};
}

}  // namespace tradewind::models
