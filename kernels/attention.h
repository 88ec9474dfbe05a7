// Scaled dot-product attention over packed rows: one op for training, packing and generation.
//
//   out[i] = sum_j p_ij v_j,  p_i = softmax_j(scale q_i . k_j + bias_ij) over the visible j   (Vaswani et al. 2017, eq. 1)
// computed with the online softmax of FlashAttention (Dao et al. 2022, algorithm 1; Dao 2023 for the work split): nothing of
// size T x T is kept. Saved for backward: out and lse[n, h] = log sum_j exp(score_ij).
//
// Sequences are packed without padding: sequence b owns query rows q_offsets[b] .. q_offsets[b+1] and key rows
// k_offsets[b] .. k_offsets[b+1], of which the first k_lengths[b] count (null: all). Row n of q starts at q + n * q_stride,
// head h at + h * D; so q, k and v may be slices of one fused projection. Query head h reads key head h / (H / H_kv).
// With tq queries and tk keys (those that count: a cache has room for more), query i of a sequence stands at key position
// i + tk - tq (bottom-right alignment):
//   causal: j <= i + tk - tq;  window w > 0: also j > i + tk - tq - w (itself and the w - 1 before);
//   without causal, a window limits only the past.
// A query that sees no key gives out = 0, lse = -infinity and no gradient.
//
// bias: element (b, h, i, j) at bias[b * bias_stride_b + h * bias_stride_h + i * bias_stride_q + j]; strides of 0 share it.
// Dropout acts on p: the mask of (query row n, head h, key j) has key philox_key(seed, purpose + ((h + 1) << 32)), sample
// keys.sample[n], position keys.position[n], column j (index of the key in its sequence). Needs launch.step->seed.
//
// FLOPs: 4 D a visible pair and head forward, 10 D backward. Deterministic: every output has one writer, sums in key order
// (dq) and query order (dk, dv); query heads of a group are added to dk, dv in ascending order.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"
#include "kernels/base/philox.h"

namespace tradewind::kernels {

struct AttentionShape {
  std::int64_t B;                                         // sequences
  const std::int64_t* q_offsets;                          // [B + 1]
  const std::int64_t* k_offsets;                          // [B + 1]
  const std::int64_t* k_lengths = nullptr;                // [B]
  std::int64_t max_q, max_k;                              // longest of each
  std::int64_t H, H_kv, D;                                // H a multiple of H_kv
  std::int64_t q_stride, k_stride, v_stride, out_stride;  // elements a row; gradients have the strides of their values
};

struct AttentionOptions {
  float scale;  // usually 1 / sqrt(D)
  bool causal = true;
  std::int64_t window = 0;  // 0: no limit
  const float* bias = nullptr;
  std::int64_t bias_stride_b = 0, bias_stride_h = 0, bias_stride_q = 0;
  Dropout dropout{};
  RowKeys keys{};  // of the query rows; looked at where dropout.p > 0
  DType dtype = DType::kFloat32;
};

/// out [Nq, H, D] by out_stride, lse [Nq, H] float32 (null: not wanted).
void attention_forward(void* out, float* lse, const void* q, const void* k, const void* v, const AttentionShape& shape,
                       const AttentionOptions& options, const Launch& launch);

/// dq, dk, dv are assigned (rows of k beyond k_lengths get zero). dbias (float32, layout of bias; null: not wanted) is
/// accumulated; the caller zeroes it first where it must be.
void attention_backward(void* dq, void* dk, void* dv, float* dbias, const void* dout, const void* out, const float* lse,
                        const void* q, const void* k, const void* v, const AttentionShape& shape,
                        const AttentionOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
