// out[c] = (or +=) the sum of x[n, c] over the rows n: gradients of biases, and partial gradients of a norm's weights. x [N, C]
// of float32 or bfloat16, out [C] float32, sums in float32.
//
// Bound by memory: x is read once, N C sizeof(T) bytes. A block has 64 columns of a part of the rows, 32 rows at a time: eight
// threads beside each other read 128 (bfloat16) or 256 bytes of a row, and ask for four rows before they add the first: 64 or
// 128 KiB an SM under way, where 25 are what the H200's 4.8 TB/s need. Where one part is not all rows, parts go to a scratch
// array that a second launch sums: no atomics, and the split depends on N and C alone, so the bits are the same in every run,
// on every GPU. Threads add few terms each before they are merged, which is also what keeps a float32 sum of a million terms
// exact to 1e-6.
#pragma once

#include <type_traits>

#include "kernels/base/launch.h"
#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels {
namespace detail {

inline constexpr int kSumRows = 32, kSumColumns = 64;  // of a block at a time: kElementThreads packets

template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void column_sum_kernel(float* out, const T* x, std::int64_t N, std::int64_t C, std::int64_t stride, std::int64_t part_rows,
                       int across, int accumulate, int aligned) {
  constexpr int kFlight = 4, kLanes = kSumColumns / kPacket;
  const std::int64_t part = block_index().x / across, first_column = block_index().x % across * std::int64_t{kSumColumns};
  const int row = linear_thread() / kLanes, within = linear_thread() % kLanes * kPacket;
  const std::int64_t behind = (part + 1) * part_rows, end = behind < N ? behind : N, column = first_column + within;
  float sum[kPacket] = {};
  for (std::int64_t n = part * part_rows + row; n < end; n += kFlight * kSumRows) {
    float values[kFlight][kPacket];
#pragma unroll
    for (int i = 0; i < kFlight; ++i) {
      const std::int64_t at = n + i * kSumRows;
      load_values(values[i], x + at * stride + column, at < end ? C - column : 0, aligned != 0);
    }
#pragma unroll
    for (int i = 0; i < kFlight; ++i)
#pragma unroll
      for (int j = 0; j < kPacket; ++j) sum[j] += values[i][j];
  }
  auto* tile = reinterpret_cast<float*>(shared_arena());
  store_values(tile + row * kSumColumns + within, sum, kPacket, true);
  sync_block();
  const int mine = linear_thread();
  if (mine >= kSumColumns || first_column + mine >= C) return;
  float total = 0.0F;
#pragma unroll
  for (int r = 0; r < kSumRows; ++r) total += load(tile + r * kSumColumns + mine);
  float* to = out + part * C + first_column + mine;
  store(to, accumulate != 0 ? load(to) + total : total);
}

}  // namespace detail

/// Rows of x are `stride` elements apart. N may be 0.
template <class T>
void column_sum(float* out, const T* x, std::int64_t N, std::int64_t C, std::int64_t stride, Write write, const Launch& at) {
  using detail::kSumColumns;
  constexpr std::int64_t kLeastRows = 256, kBlocks = 528;  // of a part; four blocks for each of the H100's 132 SMs
  const std::int64_t across = (C + kSumColumns - 1) / kSumColumns;
  const std::int64_t most = std::max<std::int64_t>(1, (kBlocks + across - 1) / across);
  const std::int64_t parts = std::clamp<std::int64_t>((N + kLeastRows - 1) / kLeastRows, 1, most);
  const std::int64_t part_rows = (N + parts - 1) / parts;
  const ScratchArray<float> partial(at, parts == 1 ? 0 : static_cast<std::size_t>(parts * C));
  const auto sum = [&](float* to, const auto* from, std::int64_t rows, std::int64_t from_stride, std::int64_t of_part,
                       std::int64_t how_many, bool add) {
    using E = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
    const bool aligned = vectors_fit({from}, {from_stride}, sizeof(E) == 4 ? DType::kFloat32 : DType::kBFloat16);
    launch(detail::column_sum_kernel<E>, grid_of("column_sum", how_many * across), Index3{kElementThreads},
           detail::kSumRows * kSumColumns * sizeof(float), at.stream, to, from, rows, C, from_stride, of_part,
           static_cast<int>(across), add ? 1 : 0, aligned ? 1 : 0);
  };
  const bool add = write == Write::kAccumulate;
  if (parts == 1) return sum(out, x, N, stride, N, 1, add);
  sum(partial.get(), x, N, stride, part_rows, parts, false);
  sum(out, static_cast<const float*>(partial.get()), parts, C, parts, 1, add);
}

}  // namespace tradewind::kernels
