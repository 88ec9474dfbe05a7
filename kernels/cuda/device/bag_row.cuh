// A row in the registers of a group of lanes: what all kernels of embedding_bag.cu do with rows.
//
// A group is kLanes neighbouring lanes of a warp, 32 / kLanes groups side by side. It holds a row of C channels as kBlocks
// times kLanes vectors of 16 bytes: channel (i kLanes + l) kPer is the first of lane l's vector i. kPer channels of type T are
// a vector; kAligned: C is a multiple of kPer and every row begins at a multiple of 16 bytes; else channels are moved one by
// one.
#pragma once

#include "kernels/cuda/device/simt.cuh"

namespace tradewind::kernels {

/// The instantiations: T, lanes of a group, vectors a lane.
template <class Element, int kLanes_, int kBlocks_, bool kAligned_>
struct RowShape {
  using T = Element;
  static constexpr int kLanes = kLanes_, kBlocks = kBlocks_;
  static constexpr bool kAligned = kAligned_;
  static constexpr int kPer = 16 / static_cast<int>(sizeof(T));
  static constexpr int kFlight = kBlocks >= 8 ? 1 : 8 / kBlocks;  // rows asked for at a time: eight vectors a lane
  static constexpr int kChannels = kBlocks * kPer;                // of a lane
};

template <class S>
TRADEWIND_DEVICE int group_lane() {
  return lane() % S::kLanes;
}
template <class S>
TRADEWIND_DEVICE std::uint32_t group_mask() {
  if constexpr (S::kLanes == kWarpSize)
    return kFullWarp;
  else
    return ((1U << S::kLanes) - 1U) << (lane() / S::kLanes * S::kLanes);
}
/// Which group of the grid this is.
template <class S>
TRADEWIND_DEVICE std::int64_t group_index() {
  return (static_cast<std::int64_t>(block_index().x) * block_size().x + linear_thread()) / S::kLanes;
}
/// The first channel of this lane's vector i.
template <class S>
TRADEWIND_DEVICE int channel_of(int i) {
  return (i * S::kLanes + group_lane<S>()) * S::kPer;
}

TRADEWIND_DEVICE std::uint32_t bits_of(float x) { return float_bits(x); }
TRADEWIND_DEVICE std::uint32_t bits_of(std::int32_t x) { return static_cast<std::uint32_t>(x); }
TRADEWIND_DEVICE std::uint32_t bits_of(BFloat16 x) { return x.bits; }

/// 16 bytes of a row from `channel` on; zero bits past C.
template <bool kAligned, class T>
TRADEWIND_DEVICE Vector16 load_vector(const T* row, int channel, int C) {
  Vector16 v{};
  if constexpr (kAligned) {
    if (channel < C) v = load(reinterpret_cast<const Vector16*>(row + channel));
  } else {
    constexpr int kPer = 16 / static_cast<int>(sizeof(T)), kInWord = kPer / 4;
#pragma unroll
    for (int j = 0; j < kPer; ++j)
      if (channel + j < C) v.w[j / kInWord] |= bits_of(load(row + channel + j)) << (j % kInWord * 16);
  }
  return v;
}

/// Channel j of a vector of T, as float.
template <class T>
TRADEWIND_DEVICE float channel(const Vector16& v, int j) {
  if constexpr (sizeof(T) == 4)
    return from_bits(v.w[j]);
  else
    return from_bits(j % 2 == 0 ? v.w[j / 2] << 16 : v.w[j / 2] & 0xFFFF0000U);
}

/// Writes as many of x[0, 16 / sizeof(T)) to `channel` and on as there are channels below C.
template <bool kAligned, class T>
TRADEWIND_DEVICE void store_vector(T* row, int channel, int C, const float* x) {
  constexpr int kPer = 16 / static_cast<int>(sizeof(T));
  if constexpr (kAligned) {
    if (channel >= C) return;
    Vector16 v;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if constexpr (sizeof(T) == 4)
        v.w[j] = float_bits(x[j]);
      else
        v.w[j] = pack_bfloat16(x[2 * j], x[2 * j + 1]);
    }
    store(reinterpret_cast<Vector16*>(row + channel), v);
  } else {
#pragma unroll
    for (int j = 0; j < kPer; ++j)
      if (channel + j < C) {
        if constexpr (sizeof(T) == 4)
          store(row + channel + j, x[j]);
        else
          store(row + channel + j, to_bfloat16(x[j]));
      }
  }
}

/// A lane's part of a row of floats beside rows of T: kPer channels are 4 or 8 floats.
template <class S>
TRADEWIND_DEVICE void load_floats(float (&x)[S::kChannels], const float* row, int C) {
#pragma unroll
  for (int i = 0; i < S::kChannels; i += 4) {
    const Vector16 v = load_vector<S::kAligned>(row, channel_of<S>(i / S::kPer) + i % S::kPer, C);
#pragma unroll
    for (int j = 0; j < 4; ++j) x[i + j] = from_bits(v.w[j]);
  }
}
template <class S>
TRADEWIND_DEVICE void store_floats(float* row, int C, const float (&x)[S::kChannels]) {
#pragma unroll
  for (int i = 0; i < S::kChannels; i += 4) store_vector<S::kAligned>(row, channel_of<S>(i / S::kPer) + i % S::kPer, C, x + i);
}

/// The sum of x over the group, in every lane, added in one order.
template <class S>
TRADEWIND_DEVICE float group_sum(float x) {
#pragma unroll
  for (int bits = S::kLanes / 2; bits > 0; bits /= 2) x += shuffle_xor(x, bits, group_mask<S>());
  return x;
}

}  // namespace tradewind::kernels
