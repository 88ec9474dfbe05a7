#include "runtime/nn/transformer.h"

#include <cmath>

#include "runtime/ops/rope.h"

namespace tradewind::runtime {

kernels::Dropout dropout_site(double p, const std::string& name) {
  return {.p = static_cast<float>(p), .purpose = purpose_of("dropout." + name)};
}

Transformer::Transformer(ParameterStore& store, const TransformerOptions& options) : options_(options) {
  const std::int64_t C = options.channels;
  const auto deviation = static_cast<float>(options.deviation);
  const auto residual = static_cast<float>(options.deviation / std::sqrt(2.0 * static_cast<double>(options.layers)));
  for (std::int64_t i = 0; i < options.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    store.begin_block();
    Block block;
    block.norm1 = NormLayer::make(store, name + "norm1", C, options.norm, options.bias);
    block.qkv = LinearLayer::make(store, name + "attention.qkv", C, options.heads.width(), options.bias, deviation);
    block.out = LinearLayer::make(store, name + "attention.out", C, C, options.bias, residual);
    block.norm2 = NormLayer::make(store, name + "norm2", C, options.norm, options.bias);
    block.mlp = MlpLayer::make(store, name + "mlp", C, options.hidden, options.bias, options.activation, options.gated,
                               deviation, residual);
    block.attention_dropout = dropout_site(options.dropout, name + "attention");
    block.out_dropout = dropout_site(options.dropout, name + "attention.out");
    block.mlp_dropout = dropout_site(options.dropout, name + "mlp");
    blocks_.push_back(block);
  }
  store.begin_block();
  norm_ = NormLayer::make(store, "norm", C, options.norm, options.bias);
}

Variable Transformer::attention(Tape& tape, std::size_t layer, const Variable& x, const Sequences& rows, KvCache* cache) const {
  const Block& block = blocks_[layer];
  const AttentionHeads& heads = options_.heads;
  Variable qkv = block.qkv(tape, x);
  if (options_.rope_theta > 0)
    qkv = rope(tape, qkv, rows.positions, heads.query + heads.key_value, heads.size, {.theta = options_.rope_theta});
  kernels::AttentionOptions options{.scale = 1.0F / std::sqrt(static_cast<float>(heads.size))};
  if (tape.recording()) options.dropout = block.attention_dropout;
  const Variable seen = cache != nullptr ? cache->attend(tape, static_cast<std::int64_t>(layer), qkv, rows, options)
                                         : self_attention(tape, qkv, heads, rows, options);
  return block.out(tape, seen);
}

Variable Transformer::operator()(Tape& tape, const Variable& input, const Sequences& rows, KvCache* cache) const {
  const auto when_training = [&](const kernels::Dropout& d) { return tape.recording() ? d : kernels::Dropout{}; };
  Variable x = input;
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

double Transformer::forward_flops(std::int64_t T) const {
  const auto rows = static_cast<double>(T), C = static_cast<double>(options_.channels);
  const auto layers = static_cast<double>(options_.layers), hidden = static_cast<double>(options_.hidden);
  const double weights = C * static_cast<double>(options_.heads.width()) + C * C + C * hidden * (options_.gated ? 3 : 2);
  return layers * (2 * weights * rows + 2 * C * rows * (rows + 1));  // causal: half of 4 C T^2
}

double Transformer::kept_floats() const {
  const auto C = static_cast<double>(options_.channels);
  const double hidden = static_cast<double>(options_.hidden) * (options_.gated ? 2 : 1);
  return static_cast<double>(options_.layers) * (5 * C + static_cast<double>(options_.heads.width()) + hidden) + 4 * C;
}

}  // namespace tradewind::runtime
