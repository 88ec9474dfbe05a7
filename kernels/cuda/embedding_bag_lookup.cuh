// Kernels of embedding_bag.cu that read tables: forward, and the gradient of the weights. A group of lanes a bag.
#pragma once

#include <cstdint>

#include "kernels/cuda/sorted_terms.cuh"

namespace tradewind::kernels::detail {
namespace {

/// BagShape and BagOptions, on the device.
struct BagView {
  const std::int64_t *row_offsets, *bag_offsets;
  const std::int32_t* ids;
  const float* weights;
  std::int64_t stride;
  std::int32_t T, B, C, V, N, mean;
};

/// One bag: its ids [begin, end), and its table's rows.
struct Bag {
  std::int32_t t, b;
  std::int64_t begin, end, first_row;
  std::uint32_t rows;
};

TRADEWIND_DEVICE Bag bag_of(const BagView& v, std::int32_t bag) {
  Bag x{};
  x.t = bag / v.B, x.b = bag % v.B;
  x.begin = load(v.bag_offsets + bag), x.end = load(v.bag_offsets + bag + 1);
  x.first_row = load(v.row_offsets + x.t);
  x.rows = static_cast<std::uint32_t>(load(v.row_offsets + x.t + 1) - x.first_row);
  return x;
}

/// Id n of the bag; -1 past its end and for one outside the table.
TRADEWIND_DEVICE std::int32_t id_of(const BagView& v, const Bag& bag, std::int64_t n) {
  if (n >= bag.end) return -1;
  const std::int32_t id = load(v.ids + n);
  return static_cast<std::uint32_t>(id) < bag.rows ? id : -1;
}

template <class S, bool kMax>
TRADEWIND_KERNEL_BOUNDS(kThreads, 2)
void bag_forward_kernel(typename S::T* out, std::int32_t* argmax, const typename S::T* table, BagView v) {
  using T = typename S::T;
  const std::int64_t index = group_index<S>();
  if (index >= static_cast<std::int64_t>(v.T) * v.B) return;
  const Bag bag = bag_of(v, static_cast<std::int32_t>(index));
  const T* rows = table + bag.first_row * v.C;
  float sum[S::kChannels] = {};
  std::int32_t place[kMax ? S::kChannels : 1];
  if constexpr (kMax) {
#pragma unroll
    for (int j = 0; j < S::kChannels; ++j) place[j] = -1;
  }
  std::int32_t next[S::kFlight];
#pragma unroll
  for (int f = 0; f < S::kFlight; ++f) next[f] = id_of(v, bag, bag.begin + f);
  for (std::int64_t n = bag.begin; n < bag.end; n += S::kFlight) {
    std::int32_t id[S::kFlight];
    Vector16 x[S::kFlight][S::kBlocks];
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      id[f] = next[f];
#pragma unroll
      for (int i = 0; i < S::kBlocks; ++i)
        x[f][i] = id[f] < 0 ? Vector16{}
                            : load_vector<S::kAligned>(rows + static_cast<std::int64_t>(id[f]) * v.C, channel_of<S>(i), v.C);
    }
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) next[f] = id_of(v, bag, n + S::kFlight + f);
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      if (id[f] < 0) continue;
      const float weight = v.weights == nullptr ? 1.0F : load(v.weights + n + f);
#pragma unroll
      for (int j = 0; j < S::kChannels; ++j) {
        const float value = channel<T>(x[f][j / S::kPer], j % S::kPer);
        if constexpr (!kMax) {
          sum[j] += weight * value;
        } else if (place[j] < 0 || value > sum[j]) {
          sum[j] = value;
          place[j] = static_cast<std::int32_t>(n - bag.begin) + f;
        }
      }
    }
  }
  if (v.mean != 0 && bag.end > bag.begin) {
    const float scale = 1.0F / static_cast<float>(bag.end - bag.begin);
#pragma unroll
    for (float& x : sum) x *= scale;
  }
#pragma unroll
  for (int i = 0; i < S::kBlocks; ++i)
    store_vector<S::kAligned>(out + bag.b * v.stride + static_cast<std::int64_t>(bag.t) * v.C, channel_of<S>(i), v.C,
                              sum + i * S::kPer);
  if constexpr (kMax) {
    if (argmax == nullptr) return;
    float bits[S::kChannels];
#pragma unroll
    for (int j = 0; j < S::kChannels; ++j) bits[j] = from_bits(static_cast<std::uint32_t>(place[j]));
    store_floats<S>(reinterpret_cast<float*>(argmax) + (static_cast<std::int64_t>(bag.b) * v.T + bag.t) * v.C, v.C, bits);
  }
}

template <class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, 2)
void bag_weight_gradient_kernel(float* dweights, const typename S::T* dout, const typename S::T* table, BagView v, int add) {
  using T = typename S::T;
  const std::int64_t index = group_index<S>();
  if (index >= static_cast<std::int64_t>(v.T) * v.B) return;
  const Bag bag = bag_of(v, static_cast<std::int32_t>(index));
  const T* gradient = dout + bag.b * v.stride + static_cast<std::int64_t>(bag.t) * v.C;
  const float scale = v.mean != 0 ? 1.0F / static_cast<float>(bag.end - bag.begin) : 1.0F;
  Vector16 g[S::kBlocks];
#pragma unroll
  for (int i = 0; i < S::kBlocks; ++i) g[i] = load_vector<S::kAligned>(gradient, channel_of<S>(i), v.C);
  for (std::int64_t n = bag.begin; n < bag.end; n += S::kFlight) {
    Vector16 x[S::kFlight][S::kBlocks];
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      const std::int32_t id = id_of(v, bag, n + f);
#pragma unroll
      for (int i = 0; i < S::kBlocks; ++i)
        x[f][i] = id < 0 ? Vector16{} : load_vector<S::kAligned>(table + (bag.first_row + id) * v.C, channel_of<S>(i), v.C);
    }
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      if (n + f >= bag.end) break;
      float dot = 0;
#pragma unroll
      for (int j = 0; j < S::kChannels; ++j)
        dot += channel<T>(x[f][j / S::kPer], j % S::kPer) * channel<T>(g[j / S::kPer], j % S::kPer);
      dot = scale * group_sum<S>(dot);
      if (group_lane<S>() != 0) continue;
      store(dweights + n + f, add != 0 ? load(dweights + n + f) + dot : dot);
    }
  }
}

}  // namespace
}  // namespace tradewind::kernels::detail
