// The blocks of a causal transformer with pre-normalisation, which language models and sequence recommenders share.
//
// A block: x += dropout(out(attention(qkv(norm1(x))))), x += dropout(mlp(norm2(x))); behind the last one y = norm(x). Each
// "x += ..., norm" is one fused op, so a block's norm1 runs at the end of the block before it. Initialisation of Radford et al.
// 2019, section 2.3: N(0, deviation), projections into the residual stream scaled by 1 / sqrt(2 layers), biases 0, norms 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/nn/kv_cache.h"
#include "runtime/nn/layers.h"

namespace tradewind::runtime {

struct TransformerOptions {
  std::int64_t layers = 1;
  std::int64_t channels = 1;
  std::int64_t hidden = 1;  // of the feed-forward layer
  AttentionHeads heads{.query = 1, .key_value = 1, .size = 1};
  kernels::NormOptions norm{};
  kernels::Activation activation = kernels::Activation::kGeluTanh;
  bool gated = false;  // SwiGLU; `activation` is not looked at
  bool bias = true;
  double rope_theta = 0;  // base of the rotary angles; 0: positions are not told apart here
  double dropout = 0;     // of attention and both branches, where the tape records
  double deviation = 0.02;
};

/// Dropout of the place `name` (keys its mask).
kernels::Dropout dropout_site(double p, const std::string& name);

class Transformer {
 public:
  Transformer() = default;
  /// Registers blocks.N.{norm1, attention.qkv, attention.out, norm2, mlp.up, mlp.down} and norm.
  Transformer(ParameterStore& store, const TransformerOptions& options);

  /// x [N, C] to y [N, C]. With a cache, rows continue where it ends, and it advances.
  Variable operator()(Tape& tape, const Variable& x, const Sequences& rows, KvCache* cache = nullptr) const;

  /// FLOPs of one causal sequence of T rows, forward.
  double forward_flops(std::int64_t T) const;
  /// Floats that backward keeps of a row.
  double kept_floats() const;
  const TransformerOptions& options() const { return options_; }

 private:
  struct Block {
    NormLayer norm1, norm2;
    LinearLayer qkv, out;
    MlpLayer mlp;
    kernels::Dropout attention_dropout, out_dropout, mlp_dropout;
  };

  Variable attention(Tape& tape, std::size_t layer, const Variable& x, const Sequences& rows, KvCache* cache) const;

  TransformerOptions options_;
  std::vector<Block> blocks_;
  NormLayer norm_;
};

}  // namespace tradewind::runtime
