// HSTU's pointwise attention over packed causal sequences (Zhai et al. 2024, "Actions Speak Louder than Words", eq. 2 and 3).
//
//   out[t] = scale sum_{s <= t} silu(z_ts) v_s,   z_ts = q_t . k_s + position_bias + time_bias,   scale usually 1 / N
//
// No softmax: what a query gets grows with how many keys it sees, so counts are not normalised away; N is a constant (the
// longest sequence there may be), not the length at hand. Neither is q . k divided by sqrt(D).
//
// position_bias [positions]: the pair (t, s) has element positions - 1 - (t - s), so the last one is that of a row with itself.
//   It is the half of the paper's table of 2 N - 1 that causal queries read. No sequence may be longer than `positions`.
// time_bias [time_buckets]: the pair has element min(floor(ln(max(|query_times[t] - key_times[s]|, 1)) / 0.301), last): times
//   in whole seconds, buckets as in the authors' code, where dt is that of the *next* row's time; which times a query has is
//   the caller's affair. TimeBuckets has the bounds, so that every arm puts a pair into the same bucket.
// Both are shared by the heads; either may be absent.
//
// Sequences are packed: sequence b owns the rows offsets[b] .. offsets[b + 1]. Row n of q starts at q + n * q_stride, head h at
// + h * D; v, out and their gradients have heads of Dv. So q, k and v may be slices of one fused projection.
//
// FLOPs: 2 (D + Dv) a visible pair and head forward, 6 D + 4 Dv backward. Nothing is saved, backward computes z again.
// Deterministic: every output has one writer. On a CPU the bits do not depend on the number of threads either.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

struct HstuAttentionShape {
  std::int64_t B;               // sequences
  const std::int64_t* offsets;  // [B + 1]
  std::int64_t max_length;      // of a sequence
  std::int64_t H, D, Dv;
  std::int64_t q_stride, k_stride, v_stride, out_stride;  // elements a row; gradients have the strides of their values
};

struct HstuAttentionOptions {
  float scale;
  const float* position_bias = nullptr;  // [positions]
  std::int64_t positions = 0;
  const float* time_bias = nullptr;           // [time_buckets]
  std::int64_t time_buckets = 0;              // up to TimeBuckets::kMost
  const std::int64_t* query_times = nullptr;  // [N] seconds; with time_bias
  const std::int64_t* key_times = nullptr;    // [N]
  DType dtype = DType::kFloat32;
};

/// Where the gradients of the tables go; null: not wanted.
struct HstuBiasGradients {
  float* position = nullptr;  // [positions] float32
  float* time = nullptr;      // [time_buckets] float32
  Write write_position = Write::kAssign, write_time = Write::kAssign;
};

/// first[b]: the least number of seconds in bucket b (0 in bucket 0); beyond the last bucket the largest there is.
struct TimeBuckets {
  static constexpr std::int64_t kMost = 129;  // the paper's 128 and the one that all longer times share
  std::array<std::int64_t, kMost + 3> first;
  explicit TimeBuckets(std::int64_t buckets);
};

/// out [N, H, Dv] by out_stride.
void hstu_attention_forward(void* out, const void* q, const void* k, const void* v, const HstuAttentionShape& shape,
                            const HstuAttentionOptions& options, const Launch& launch);

/// dq, dk, dv are assigned, the tables' gradients as they say.
void hstu_attention_backward(void* dq, void* dk, void* dv, const HstuBiasGradients& dbias, const void* dout, const void* q,
                             const void* k, const void* v, const HstuAttentionShape& shape, const HstuAttentionOptions& options,
                             const Launch& launch);

}  // namespace tradewind::kernels
