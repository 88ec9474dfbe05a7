// What kernels over many independent elements or rows share: how much a thread takes, the grid, the element type.
//
//   const std::int64_t i = first_element();                      a thread has elements i to i + kPacket - 1
//   load_values(x, p + i, count - i, aligned);  ...              device/vector.cuh
//   with_element(op, dtype, [&](auto element) {                  host
//     launch(f<decltype(element)>, element_grid(op, count), Index3{kElementThreads}, 0, stream, ...); });
//
// Over rows of C columns, whose stride, bias or mask is a matter of the row:
//   const RowPlace at = row_place(split);                        a thread has columns at.column to at.column + kPacket - 1
//   const RowSplit split = row_split(C);  launch(f, row_grid(op, N, split), Index3{kElementThreads}, ..., split)      host
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cuda/device/stream.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace tradewind::kernels {

/// Elements a thread takes: one vector of bfloat16, two of float32, and an eighth of the 64 columns whose dropout masks share
/// their counters.
inline constexpr int kPacket = 8;
inline constexpr int kElementThreads = 256;

TRADEWIND_DEVICE std::int64_t first_element() {
  return (static_cast<std::int64_t>(block_index().x) * kElementThreads + linear_thread()) * kPacket;
}

/// How the threads of a grid share rows: `lanes` neighbouring threads take lanes * kPacket columns of one, `across` such pieces
/// are a row. Eight neighbouring threads always have 64 columns of one row, from a multiple of 64 on.
struct RowSplit {
  int lanes, across;
};
struct RowPlace {
  std::int64_t row, column;
};
TRADEWIND_DEVICE RowPlace row_place(const RowSplit& s) {
  const auto block = static_cast<int>(block_index().x);
  const int rows = kElementThreads / s.lanes, thread = linear_thread();
  return {static_cast<std::int64_t>(block / s.across) * rows + thread / s.lanes,
          (static_cast<std::int64_t>(block % s.across) * s.lanes + thread % s.lanes) * kPacket};
}

/// A grid of one dimension. Throws DeviceError where a grid has not so many blocks.
inline Index3 grid_of(const char* op, std::int64_t blocks) {
  if (blocks > std::numeric_limits<std::int32_t>::max())
    throw DeviceError(std::string(op) + ": " + std::to_string(blocks) + " blocks are more than a grid has; lower train.batch");
  return {static_cast<unsigned>(std::max<std::int64_t>(blocks, 1))};
}
inline Index3 element_grid(const char* op, std::int64_t count) {
  constexpr std::int64_t kOfBlock = std::int64_t{kElementThreads} * kPacket;
  return grid_of(op, (count + kOfBlock - 1) / kOfBlock);
}

inline RowSplit row_split(std::int64_t C) {
  const int lanes = C <= 8 * kPacket ? 8 : C <= 16 * kPacket ? 16 : 32;
  return {lanes, static_cast<int>((C + lanes * kPacket - 1) / (lanes * kPacket))};
}
inline Index3 row_grid(const char* op, std::int64_t N, const RowSplit& split) {
  const std::int64_t rows = kElementThreads / split.lanes;
  return grid_of(op, (N + rows - 1) / rows * split.across);
}

/// Calls f(float{}) or f(BFloat16{}), whichever dtype names.
template <class F>
void with_element(const char* op, DType dtype, const F& f) {
  if (dtype == DType::kBFloat16)
    f(BFloat16{});
  else if (dtype == DType::kFloat32)
    f(float{});
  else
    throw DeviceError(std::string(op) + ": the CUDA kernels compute in bfloat16 and float32 and were given " + name_of(dtype));
}

}  // namespace tradewind::kernels
