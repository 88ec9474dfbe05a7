#include "runtime/nn/transformer.h"

#include <cmath>

#include "runtime/ops/dropout.h"
#include "runtime/ops/rope.h"

namespace tradewind::runtime {

kernels::Dropout dropout_site(double p, const std::string& name) {
  return {.p = static_cast<float>(p), .purpose = purpose_of("dropout." + name)};
}

Transformer::Transformer(ParameterStore& store, const TransformerOptions& options) : options_(options) {
  const bool post = options.block == BlockKind::kPostNorm;
  embedding_dropout_ = dropout_site(options.dropout, "embedding");
  if (post) norm_ = NormLayer::make(store, "embedding_norm", options.channels, options.norm, options.bias);
  for (std::int64_t i = 0; i < options.layers; ++i) register_block(store, i);
  if (post) return;
  store.begin_block();
  norm_ = NormLayer::make(store, "norm", options.channels, options.norm, options.bias);
}

void Transformer::register_block(ParameterStore& store, std::int64_t layer) {
  const TransformerOptions& o = options_;
  const std::int64_t C = o.channels, width = o.heads.width();
  const auto deviation = static_cast<float>(o.deviation);
  const float into_residual = o.init == TransformerInit::kScaledResidual
                                  ? static_cast<float>(o.deviation / std::sqrt(2.0 * static_cast<double>(o.layers)))
                                  : deviation;
  const Init qkv = o.init == TransformerInit::kXavierQkv ? Init::xavier_uniform(width, C) : Init::normal(deviation);
  const std::string name = "blocks." + std::to_string(layer) + ".";
  store.begin_block();
  Block block;
  block.norm1 = NormLayer::make(store, name + "norm1", C, o.norm, o.bias);
  block.qkv = LinearLayer::make(store, name + "attention.qkv", C, width, o.bias, qkv);
  block.out = LinearLayer::make(store, name + "attention.out", C, C, o.bias, Init::normal(into_residual));
  block.norm2 = NormLayer::make(store, name + "norm2", C, o.norm, o.bias);
  block.mlp = MlpLayer::make(store, name + "mlp", C, o.hidden, o.bias, o.activation, o.gated, deviation, into_residual);
  block.attention_dropout = dropout_site(o.dropout, name + "attention");
  const bool inner = o.block == BlockKind::kNormalisedResidual;
  block.out_dropout = dropout_site(inner ? 0 : o.dropout, name + "attention.out");
  block.inner_dropout = dropout_site(inner ? o.dropout : 0, name + "mlp.inner");
  block.mlp_dropout = dropout_site(o.dropout, name + "mlp");
  blocks_.push_back(block);
}

struct Transformer::Pass {
  const Transformer& net;
  Tape& tape;
  const Sequences& rows;
  KvCache* cache;

  kernels::Dropout when_training(const kernels::Dropout& d) const { return tape.recording() ? d : kernels::Dropout{}; }

  /// Queries from q, keys and values from x.
  Variable attention(std::size_t layer, const Variable& q, const Variable& x) const {
    const Block& block = net.blocks_[layer];
    const AttentionHeads& heads = net.options_.heads;
    Variable qkv = net.options_.block == BlockKind::kNormalisedResidual
                       ? linear_of_two(tape, q, x, heads.query * heads.size, *block.qkv.weight, block.qkv.bias)
                       : block.qkv(tape, x);
    if (net.options_.rope_theta > 0)
      qkv = rope(tape, qkv, rows.positions, heads.query + heads.key_value, heads.size, {.theta = net.options_.rope_theta});
    const kernels::AttentionOptions options{.scale = 1.0F / std::sqrt(static_cast<float>(heads.size)),
                                            .causal = net.options_.causal,
                                            .dropout = when_training(block.attention_dropout)};
    const Variable seen = cache != nullptr ? cache->attend(tape, static_cast<std::int64_t>(layer), qkv, rows, options)
                                           : self_attention(tape, qkv, heads, rows, options);
    return block.out(tape, seen);
  }
  Variable feed_forward(const Block& block, const Variable& x) const {
    return block.mlp(tape, x, when_training(block.inner_dropout), rows);
  }
  Residual add(const Variable& residual, const Variable& branch, const kernels::Dropout& d, const NormLayer& norm) const {
    return residual_norm(tape, residual, branch, norm.parameters, when_training(d), rows);
  }

  Variable post_norm(const Variable& embeddings) const {
    Variable x = dropout(tape, net.norm_(tape, embeddings), when_training(net.embedding_dropout_), rows);
    for (std::size_t i = 0; i < net.blocks_.size(); ++i) {
      const Block& block = net.blocks_[i];
      x = add(x, attention(i, x, x), block.out_dropout, block.norm1).normalised;
      x = add(x, feed_forward(block, x), block.mlp_dropout, block.norm2).normalised;
    }
    return x;
  }
  /// pre_norm and normalised_residual: they differ in what a branch is added to, and in what keys and values are made of.
  Variable norm_first(const Variable& embeddings) const {
    const bool normalised = net.options_.block == BlockKind::kNormalisedResidual;
    Variable x = dropout(tape, embeddings, when_training(net.embedding_dropout_), rows);
    Variable y = net.blocks_.front().norm1(tape, x);
    for (std::size_t i = 0; i < net.blocks_.size(); ++i) {
      const Block& block = net.blocks_[i];
      const NormLayer& next = i + 1 < net.blocks_.size() ? net.blocks_[i + 1].norm1 : net.norm_;
      const Residual middle = add(normalised ? y : x, attention(i, y, normalised ? x : y), block.out_dropout, block.norm2);
      const Residual end =
          add(normalised ? middle.normalised : middle.sum, feed_forward(block, middle.normalised), block.mlp_dropout, next);
      x = end.sum;
      y = end.normalised;
    }
    return y;
  }
};

Variable Transformer::operator()(Tape& tape, const Variable& embeddings, const Sequences& rows, KvCache* cache) const {
  const Pass pass{.net = *this, .tape = tape, .rows = rows, .cache = cache};
  Variable y = options_.block == BlockKind::kPostNorm ? pass.post_norm(embeddings) : pass.norm_first(embeddings);
  if (cache != nullptr) cache->advance(rows);
  return y;
}

double Transformer::flops_per_row() const {
  const auto C = static_cast<double>(options_.channels);
  const auto layers = static_cast<double>(options_.layers), hidden = static_cast<double>(options_.hidden);
  const double weights = C * static_cast<double>(options_.heads.width()) + C * C + C * hidden * (options_.gated ? 3 : 2);
  return layers * 2 * weights + (options_.causal ? flops_per_pair() : 0);  // a row sees (n + 1) / 2 of its n
}

double Transformer::flops_per_pair() const {
  return static_cast<double>(options_.layers * options_.channels) * (options_.causal ? 2 : 4);
}

double Transformer::kept_floats() const {
  const auto C = static_cast<double>(options_.channels);
  const double hidden = static_cast<double>(options_.hidden) * (options_.gated ? 2 : 1);
  return static_cast<double>(options_.layers) * (5 * C + static_cast<double>(options_.heads.width()) + hidden) + 4 * C;
}

}  // namespace tradewind::runtime
