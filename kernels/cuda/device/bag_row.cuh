// A row in the registers of a group of lanes: what all kernels of embedding_bag.cu, and others with short rows, do with rows.
//
// A group is kLanes neighbouring lanes of a warp, 32 / kLanes groups side by side. It holds a row of C channels as kBlocks
// times kLanes vectors of 16 bytes: channel (i kLanes + l) kPer is the first of lane l's vector i. kPer channels of type T are
// a vector; kAligned: C is a multiple of kPer and every row begins at a multiple of 16 bytes; else channels are moved one by
// one.
#pragma once

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/reduce.cuh"

namespace tradewind::kernels {

inline constexpr int kGroupThreads = 256;

/// The instantiations: T, lanes of a group, vectors a lane.
template <class Element, int kLanes_, int kBlocks_, bool kAligned_>
struct RowShape {
  using T = Element;
  static constexpr int kLanes = kLanes_, kBlocks = kBlocks_;
  static constexpr bool kAligned = kAligned_;
  static constexpr int kPer = kPerVector<T>;
  static constexpr int kFlight = kBlocks >= 8 ? 1 : 8 / kBlocks;  // rows asked for at a time: eight vectors a lane
  static constexpr int kChannels = kBlocks * kPer;                // of a lane
};

template <class S>
TRADEWIND_DEVICE int group_lane() {
  return lane() % S::kLanes;
}
template <class S>
TRADEWIND_DEVICE std::uint32_t group_mask() {
  return lanes_mask<S::kLanes>();
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
  return lanes_sum<S::kLanes>(x);
}

/// As many blocks of kGroupThreads as `items` groups of `lanes` need.
inline Index3 group_grid(const char* op, std::int64_t items, int lanes) {
  const std::int64_t groups = kGroupThreads / lanes;
  return grid_of(op, (items + groups - 1) / groups);
}

/// Calls f(RowShape{}) with the shape for rows of C channels of T.
template <class T, class F>
void with_row_of(const char* op, std::int64_t C, bool is_aligned, const F& f) {
  constexpr int kMost = sizeof(T) == 4 ? 8 : 4;  // vectors a lane for 1024 channels
  const std::int64_t vectors = (C * static_cast<std::int64_t>(sizeof(T)) + 15) / 16;
  if (C > 1024)
    throw DeviceError(std::string(op) + ": rows of " + std::to_string(C) +
                      " channels; the CUDA kernels have up to 1024: narrow the table, or set device = \"cpu\"");
  if (!is_aligned) return f(RowShape<T, 32, kMost, false>{});
  if (vectors <= 4) return f(RowShape<T, 4, 1, true>{});
  if (vectors <= 8) return f(RowShape<T, 8, 1, true>{});
  if (vectors <= 16) return f(RowShape<T, 16, 1, true>{});
  if (vectors <= 32) return f(RowShape<T, 32, 1, true>{});
  if (vectors <= 64) return f(RowShape<T, 32, 2, true>{});
  if (vectors <= 128) return f(RowShape<T, 32, 4, true>{});
  f(RowShape<T, 32, kMost, true>{});
}

/// The same for the element type that is `dtype`.
template <class F>
void with_row(const char* op, DType dtype, std::int64_t C, bool is_aligned, const F& f) {
  with_element(op, dtype, [&](auto element) { with_row_of<decltype(element)>(op, C, is_aligned, f); });
}

}  // namespace tradewind::kernels
