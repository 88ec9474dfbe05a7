// The blocks of a transformer, which language models and sequence recommenders share.
//
// With a attention (a(q, x): queries from q, keys and values from x), f the feed-forward layer, d dropout:
//   pre_norm             x = d(input);                 x += d(a(norm1(x))), x += d(f(norm2(x)));             y = norm(x)
//                        (Radford et al. 2019, section 2.3)
//   post_norm            x = d(embedding_norm(input)); x = norm1(x + d(a(x))), x = norm2(x + d(f(x)));       y = x
//                        (Vaswani et al. 2017, section 3.1; Devlin et al. 2019)
//   normalised_residual  x = d(input);                 q = norm1(x), x = q + a(q, x), z = norm2(x), x = z + d(f(z)), with
//                        dropout inside f too;         y = norm(x)
//                        (Kang & McAuley 2018, as their code has it: the residual is the normalised value)
// Attention weights have dropout in all of them. "sum, norm" is one fused op, so a block's norm1 may run at the end of the
// block before it.
//
// Initialisation: biases 0, norms 1, matrices N(0, deviation); kScaledResidual: projections into the residual stream over
// sqrt(2 layers) (Radford et al. 2019); kXavierQkv: the joint q-k-v matrix Xavier uniform, as PyTorch's multi-head attention.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/nn/kv_cache.h"
#include "runtime/nn/layers.h"

namespace tradewind::runtime {

enum class BlockKind : std::uint8_t { kPreNorm, kPostNorm, kNormalisedResidual };
enum class TransformerInit : std::uint8_t { kScaledResidual, kNormal, kXavierQkv };

struct TransformerOptions {
  std::int64_t layers = 1;
  std::int64_t channels = 1;
  std::int64_t hidden = 1;  // of the feed-forward layer
  AttentionHeads heads{.query = 1, .key_value = 1, .size = 1};
  kernels::NormOptions norm{};
  kernels::Activation activation = kernels::Activation::kGeluTanh;
  bool gated = false;  // SwiGLU; `activation` is not looked at
  bool bias = true;
  bool causal = true;     // false: every row of a sequence sees all of it
  double rope_theta = 0;  // base of the rotary angles; 0: positions are not told apart here
  double dropout = 0;     // where the tape records
  double deviation = 0.02;
  BlockKind block = BlockKind::kPreNorm;
  TransformerInit init = TransformerInit::kScaledResidual;
};

/// Dropout of the place `name` (keys its mask).
kernels::Dropout dropout_site(double p, const std::string& name);

class Transformer {
 public:
  Transformer() = default;
  /// Registers blocks.N.{norm1, attention.qkv, attention.out, norm2, mlp.up, mlp.down}, and norm behind them, or, for
  /// post_norm, embedding_norm before them.
  Transformer(ParameterStore& store, const TransformerOptions& options);

  /// The sum of embeddings [N, C] to y [N, C]. With a cache, rows continue where it ends, and it advances.
  Variable operator()(Tape& tape, const Variable& embeddings, const Sequences& rows, KvCache* cache = nullptr) const;

  /// FLOPs forward: of a row, whatever else is in its sequence, and of an ordered pair of rows of one sequence.
  double flops_per_row() const;
  double flops_per_pair() const;
  /// Floats that backward keeps of a row.
  double kept_floats() const;
  const TransformerOptions& options() const { return options_; }

 private:
  struct Block {
    NormLayer norm1, norm2;
    LinearLayer qkv, out;
    MlpLayer mlp;
    kernels::Dropout attention_dropout, out_dropout, inner_dropout, mlp_dropout;
  };
  struct Pass;  // one call

  void register_block(ParameterStore& store, std::int64_t layer);

  TransformerOptions options_;
  std::vector<Block> blocks_;
  NormLayer norm_;
  kernels::Dropout embedding_dropout_;
};

}  // namespace tradewind::runtime
