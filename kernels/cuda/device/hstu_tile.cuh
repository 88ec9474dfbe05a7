// What the HSTU attention kernels share: the problem as they take it, the biases, SiLU.
#pragma once

#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/hstu_attention.h"

namespace tradewind::kernels::detail {

inline constexpr int kHstuBounds = TimeBuckets::kMost + 3;

/// A kernel's parameter: shapes and options (kernels/hstu_attention.h) with device pointers.
struct HstuView {
  const std::int64_t* offsets;
  std::int64_t q_stride, k_stride, v_stride, out_stride;
  const float *position_bias, *time_bias;
  const std::int64_t *query_times, *key_times;
  float scale;
  int B, H, D, Dv, max_length, positions, time_buckets;
  int aligned;                      // rows of q, k, v, out and their gradients begin at multiples of 16 bytes and end at one
  std::int64_t first[kHstuBounds];  // seconds of each bucket
};

struct HstuSequence {
  std::int64_t begin;
  int rows;
};
TRADEWIND_DEVICE HstuSequence hstu_sequence(const HstuView& a, int b) {
  const std::int64_t begin = load(a.offsets + b);
  return {begin, static_cast<int>(load(a.offsets + b + 1) - begin)};
}

/// The bounds of the buckets and their biases, in front of the shared memory; threads find them at places of their own.
inline constexpr std::size_t kHstuTableBytes = kHstuBounds * (sizeof(std::int64_t) + sizeof(float));  // a multiple of 16
struct HstuTables {
  std::int64_t* first;
  float* bias;
};
/// All threads call it; a barrier must follow before the tables are read.
TRADEWIND_DEVICE HstuTables load_hstu_tables(const HstuView& a) {
  const HstuTables tables{static_cast<std::int64_t*>(static_cast<void*>(shared_arena())),
                          static_cast<float*>(static_cast<void*>(shared_arena() + kHstuBounds * sizeof(std::int64_t)))};
  if (a.time_bias != nullptr)
    for (int b = linear_thread(); b < kHstuBounds; b += kAttentionThreads) {
      store(tables.first + b, a.first[b]);
      store(tables.bias + b, b < a.time_buckets ? load(a.time_bias + b) : 0.0F);
    }
  return tables;
}

/// The bucket of a time: a logarithm that is nearly right, put right by the bounds.
TRADEWIND_DEVICE int hstu_bucket(const HstuView& a, const HstuTables& tables, std::int64_t seconds) {
  const std::int64_t far = seconds < 0 ? -seconds : seconds, apart = far < 1 ? 1 : far;
  constexpr float kBucketsAnOctave = 0.69314718F / 0.301F;
  const int guess = static_cast<int>(log2_approximate(static_cast<float>(apart)) * kBucketsAnOctave);
  const int b = guess < a.time_buckets - 1 ? guess : a.time_buckets - 1;
  if (apart < load(tables.first + b)) return b - 1;
  return apart >= load(tables.first + b + 1) ? b + 1 : b;
}

/// The times of a row as a query or as a key; 0 beyond the sequence, and where there is no time bias.
TRADEWIND_DEVICE std::int64_t hstu_time(const HstuView& a, const std::int64_t* times, const HstuSequence& s, int row) {
  return a.time_bias == nullptr || row >= s.rows ? 0 : load(times + s.begin + row);
}

/// The score of a pair that is seen, from the product of its rows.
TRADEWIND_DEVICE float hstu_score(const HstuView& a, const HstuTables& tables, float product, int query, int key,
                                  std::int64_t seconds) {
  if (a.position_bias != nullptr) product += load(a.position_bias + a.positions - 1 - (query - key));
  if (a.time_bias != nullptr) product += load(tables.bias + hstu_bucket(a, tables, seconds));
  return product;
}

TRADEWIND_DEVICE float hstu_sigmoid(float z) { return reciprocal_approximate(1.0F + exp2_approximate(-z * kLog2E)); }
/// silu'(z) of sigmoid(z) and silu(z).
TRADEWIND_DEVICE float silu_slope(float sigmoid, float silu) { return sigmoid + silu * (1.0F - sigmoid); }

/// Turns the products z = q k and dp = dout v of 16 queries from i0 and kN groups of 8 keys from j0 into dz without its scale,
/// in dp; 0 where a query does not see a key.
template <int kN>
TRADEWIND_DEVICE void hstu_score_gradient(const float (&z)[kN][4], float (&dp)[kN][4], const HstuView& a,
                                          const HstuTables& tables, const HstuSequence& s, int i0, int j0,
                                          const std::int64_t (&now)[2]) {
  const int g = lane() / 4, t = lane() % 4;
#pragma unroll
  for (int n = 0; n < kN; ++n)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int key = j0 + 8 * n + 2 * t + e;
      const std::int64_t then = hstu_time(a, a.key_times, s, key);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int query = i0 + g + 8 * i;
        float& x = dp[n][2 * i + e];
        if (query >= s.rows || key > query) {
          x = 0.0F;
          continue;
        }
        const float score = hstu_score(a, tables, z[n][2 * i + e], query, key, now[i] - then), sigmoid = hstu_sigmoid(score);
        x *= silu_slope(sigmoid, score * sigmoid);
      }
    }
}

}  // namespace tradewind::kernels::detail
