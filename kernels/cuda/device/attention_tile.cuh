// What the attention kernels share: the problem as they take it, who sees whom, and the dropout mask of the op's contract.
#pragma once

#include "kernels/base/launch.h"
#include "kernels/cuda/device/dropout_mask.cuh"
#include "kernels/cuda/device/mma_tile.cuh"

namespace tradewind::kernels::detail {

inline constexpr int kAttentionThreads = 128;  // four warps, each with 16 rows of a tile of rows (or 32)
inline constexpr float kLog2E = 1.44269504088896341F, kLn2 = 0.69314718055994531F;

/// A kernel's parameter: shapes and options (kernels/attention.h) with device pointers.
struct AttentionView {
  const std::int64_t *q_offsets, *k_offsets, *k_lengths;
  std::int64_t q_stride, k_stride, v_stride, out_stride;
  std::int64_t bias_stride_b, bias_stride_h, bias_stride_q;
  const float* bias;
  const std::uint64_t* sample;
  const std::int32_t* position;
  const StepState* step;
  std::uint64_t purpose;
  std::int64_t window;
  float scale;
  std::uint32_t threshold;  // of dropout
  int B, H, H_kv, D, max_q, max_k;
  int causal, aligned;  // aligned: rows of q, k, v, out and their gradients begin at multiples of 16 bytes and end at one
};

/// One sequence and head.
struct AttentionSequence {
  std::int64_t q_begin, k_begin;
  int tq, tk, k_rows;  // queries; keys that count; rows of k
  int shift;           // query i stands at key i + shift
  std::int64_t window;
  int causal;

  TRADEWIND_DEVICE bool sees(int i, int j) const {
    const int at = i + shift;
    return i < tq && j < tk && (causal == 0 || j <= at) && (window == 0 || j > at - window);
  }
  /// True where each of the queries [i, i + m) sees each of the keys [j, j + n).
  TRADEWIND_DEVICE bool all_see(int i, int m, int j, int n) const {
    return i + m <= tq && j + n <= tk && (causal == 0 || j + n - 1 <= i + shift) &&
           (window == 0 || j > i + m - 1 + shift - window);
  }
  /// The keys that any of the queries [i, i + m) sees: [first_key, end_key).
  TRADEWIND_DEVICE int first_key(int i) const {
    const std::int64_t first = window == 0 ? 0 : i + shift - window + 1;
    return first < 0 ? 0 : static_cast<int>(first < tk ? first : tk);
  }
  TRADEWIND_DEVICE int end_key(int i, int m) const {
    const int last = (i + m < tq ? i + m : tq) - 1 + shift;
    const int end = causal == 0 || last + 1 > tk ? tk : last + 1;
    return end < 0 ? 0 : end;
  }
  /// The queries that see any of the keys [j, j + n).
  TRADEWIND_DEVICE int first_query(int j) const {
    const int first = causal == 0 ? 0 : j - shift;
    return first < 0 ? 0 : first < tq ? first : tq;
  }
  TRADEWIND_DEVICE int end_query(int j, int n) const {
    const std::int64_t end = window == 0 ? tq : std::int64_t{j} + n - 1 - shift + window;
    return end < 0 ? 0 : end < tq ? static_cast<int>(end) : tq;
  }
};

TRADEWIND_DEVICE AttentionSequence sequence_of(const AttentionView& a, int b) {
  AttentionSequence s;
  s.q_begin = load(a.q_offsets + b);
  s.k_begin = load(a.k_offsets + b);
  s.tq = static_cast<int>(load(a.q_offsets + b + 1) - s.q_begin);
  s.k_rows = static_cast<int>(load(a.k_offsets + b + 1) - s.k_begin);
  s.tk = a.k_lengths == nullptr ? s.k_rows : static_cast<int>(load(a.k_lengths + b));
  s.shift = s.tk - s.tq;
  s.window = a.window;
  s.causal = a.causal;
  return s;
}

TRADEWIND_DEVICE const float* bias_of(const AttentionView& a, int b, int h) {
  return a.bias == nullptr ? nullptr : a.bias + b * a.bias_stride_b + h * a.bias_stride_h;
}

/// The score of query i and key j in units of log 2, from the product of their rows; -infinity where i does not see j.
TRADEWIND_DEVICE float score_of(const AttentionView& a, const AttentionSequence& s, const float* bias, int i, int j,
                                bool all_seen, float product) {
  if (!all_seen && !s.sees(i, j)) return -INFINITY;
  const float score = product * a.scale;
  return (bias == nullptr ? score : score + load(bias + i * a.bias_stride_q + j)) * kLog2E;
}

TRADEWIND_DEVICE DropoutRow dropout_row(const AttentionView& a, const AttentionSequence& s, int i) {
  if (i >= s.tq) return {0, 0};
  return {load(a.sample + s.q_begin + i), static_cast<std::uint32_t>(load(a.position + s.q_begin + i))};
}
TRADEWIND_DEVICE PhiloxKey dropout_key(const AttentionView& a, int h) {
  return philox_key(load(&a.step->seed), a.purpose + (static_cast<std::uint64_t>(h + 1) << 32));
}

/// The kept keys of a query among the kN groups of 8 keys from j on (j a multiple of 8 kN, which is 32 or 64), a bit a group:
/// of the columns 2 t and 2 t + 1 of each group, which are this thread's.
template <int kN>
TRADEWIND_DEVICE void kept_columns(std::uint32_t (&kept)[2], PhiloxKey key, DropoutRow row, int j, std::uint32_t threshold) {
  const int t = lane() % 4;
  for (int c = 0; c < 2; ++c) kept[c] = kept_of(key, row, j / 64, 2 * t + c, threshold) >> (j % 64 / 8);
}

/// Writes this thread's part of 16 rows of kD columns, from `first` on: row g + 8 i times factor[i], as far as `limit` and D
/// reach.
template <class T, int kD>
TRADEWIND_DEVICE void store_rows(T* matrix, std::int64_t stride, int first, int limit, int D, bool aligned,
                                 const float (&acc)[kD / 8][4], const float (&factor)[2]) {
  const int g = lane() / 4, t = lane() % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = first + g + 8 * i;
    if (row >= limit) continue;
    T* to = matrix + row * stride + 2 * t;
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) {
      const float x = acc[d][2 * i] * factor[i], y = acc[d][2 * i + 1] * factor[i];
      const int column = 8 * d + 2 * t;
      if (aligned) {
        if (column < D) store_pair(to + 8 * d, x, y);
      } else {
        if (column < D) store_one(to + 8 * d, x);
        if (column + 1 < D) store_one(to + 8 * d + 1, y);
      }
    }
  }
}

}  // namespace tradewind::kernels::detail
