// Sums over the lanes of a warp, a part of it, or a block, each in one order: the same bits in every run.
//
//   lanes_sum<kLanes>(x)              over kLanes neighbouring lanes (a power of two up to 32); in all of them
//   warp_sum(x) warp_max(x)           over the warp; a NaN stays one
//   block_sums<kWarps>(x, parts)      x[i] becomes its sum over the block; `parts`, kWarps * kValues floats of shared memory,
//                                     may be used again after the next sync_block()
//   block_sum<kWarps>(x, parts)       x summed over the block, in every thread; float or double, as `parts`
#pragma once

#include "kernels/cuda/device/simt.cuh"

namespace tradewind::kernels {

/// The lanes beside this one that are in its group of kLanes.
template <int kLanes>
TRADEWIND_DEVICE std::uint32_t lanes_mask() {
  static_assert(kLanes >= 1 && kLanes <= kWarpSize && (kLanes & (kLanes - 1)) == 0);
  if constexpr (kLanes == kWarpSize)
    return kFullWarp;
  else
    return ((1U << kLanes) - 1U) << (lane() / kLanes * kLanes);
}

template <int kLanes>
TRADEWIND_DEVICE float lanes_sum(float x) {
  const std::uint32_t mask = lanes_mask<kLanes>();
#pragma unroll
  for (int bits = kLanes / 2; bits > 0; bits /= 2) x += shuffle_xor(x, bits, mask);
  return x;
}
TRADEWIND_DEVICE float warp_sum(float x) { return lanes_sum<kWarpSize>(x); }

TRADEWIND_DEVICE float warp_max(float x) {
#pragma unroll
  for (int bits = kWarpSize / 2; bits > 0; bits /= 2) {
    const float other = shuffle_xor(x, bits);
    x = other > x || other != other ? other : x;  // fmaxf passes over a NaN
  }
  return x;
}

template <int kWarps, int kValues>
TRADEWIND_DEVICE void block_sums(float (&x)[kValues], float* parts) {
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    x[i] = warp_sum(x[i]);
    if (lane() == 0) store(parts + i * kWarps + warp(), x[i]);
  }
  sync_block();
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    x[i] = 0.0F;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) x[i] += load(parts + i * kWarps + w);
  }
}
template <int kWarps>
TRADEWIND_DEVICE float block_sum(float x, float* parts) {
  float one[1] = {x};
  block_sums<kWarps>(one, parts);
  return one[0];
}

template <int kWarps>
TRADEWIND_DEVICE double block_sum(double x, double* parts) {
#pragma unroll
  for (int bits = kWarpSize / 2; bits > 0; bits /= 2) x += shuffle_xor(x, bits);
  if (lane() == 0) store(parts + warp(), x);
  sync_block();
  double sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += load(parts + w);
  return sum;
}

}  // namespace tradewind::kernels
