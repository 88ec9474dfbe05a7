// Rows of length 1 on NVIDIA GPUs. Mathematics and shapes: kernels/l2_normalize.h. N rows of C channels.
//
// A warp a row, lanes beside each other on columns beside each other; the second pass reads the row from a cache. Bound by
// memory: a row is read and written once, N C 2 sizeof(T) bytes, backward 3: 8,192 rows of 64 in float32 are 4 MB, 1.3 us at
// the H100's 3.35 TB/s and 0.9 at the H200's 4.8, less than a launch. Bounds, not measurements: none of this has run on a GPU
// yet. Deterministic: a fixed tree of float32 sums, one writer a row.
#include "kernels/cuda/l2_normalize.h"

#include <cmath>

#include "kernels/cuda/device/bag_row.cuh"

namespace tradewind::kernels::detail {
namespace {

template <class T>
TRADEWIND_KERNEL void l2_normalize_forward_kernel(T* y, float* length, const T* x, std::int64_t N, std::int64_t C,
                                                  float epsilon) {
  const std::int64_t n = (static_cast<std::int64_t>(block_index().x) * kGroupThreads + linear_thread()) / kWarpSize;
  if (n >= N) return;
  x += n * C, y += n * C;
  float square = 0.0F;
#pragma unroll 4
  for (std::int64_t c = lane(); c < C; c += kWarpSize) {
    const float value = to_float(load(x + c));
    square += value * value;
  }
  const float mine = sqrtf(warp_sum(square)), factor = 1.0F / (mine < epsilon ? epsilon : mine);
  if (lane() == 0) store(length + n, mine);
#pragma unroll 4
  for (std::int64_t c = lane(); c < C; c += kWarpSize) store_one(y + c, factor * to_float(load(x + c)));
}

template <class T>
TRADEWIND_KERNEL void l2_normalize_backward_kernel(T* dx, const T* dy, const T* y, const float* length, std::int64_t N,
                                                   std::int64_t C, float epsilon, int add) {
  const std::int64_t n = (static_cast<std::int64_t>(block_index().x) * kGroupThreads + linear_thread()) / kWarpSize;
  if (n >= N) return;
  dx += n * C, dy += n * C, y += n * C;
  float along = 0.0F;
#pragma unroll 4
  for (std::int64_t c = lane(); c < C; c += kWarpSize) along += to_float(load(y + c)) * to_float(load(dy + c));
  along = warp_sum(along);
  const float mine = load(length + n);
  const bool tiny = mine < epsilon;
  const float factor = 1.0F / (tiny ? epsilon : mine);
  if (tiny) along = 0.0F;
#pragma unroll 4
  for (std::int64_t c = lane(); c < C; c += kWarpSize) {
    const float g = factor * (to_float(load(dy + c)) - along * to_float(load(y + c)));
    store_one(dx + c, add != 0 ? to_float(load(dx + c)) + g : g);
  }
}

}  // namespace

void l2_normalize_forward_cuda(void* y, float* length, const void* x, std::int64_t N, std::int64_t C,
                               const L2NormalizeOptions& o, const Launch& at) {
  constexpr const char* kOp = "l2_normalize_forward";
  with_element(kOp, o.dtype, [&](auto element) {
    using T = decltype(element);
    launch(l2_normalize_forward_kernel<T>, group_grid(kOp, N, kWarpSize), Index3{kGroupThreads}, 0, at.stream,
           static_cast<T*>(y), length, static_cast<const T*>(x), N, C, o.epsilon);
  });
}

void l2_normalize_backward_cuda(void* dx, const void* dy, const void* y, const float* length, std::int64_t N, std::int64_t C,
                                Write write, const L2NormalizeOptions& o, const Launch& at) {
  constexpr const char* kOp = "l2_normalize_backward";
  with_element(kOp, o.dtype, [&](auto element) {
    using T = decltype(element);
    launch(l2_normalize_backward_kernel<T>, group_grid(kOp, N, kWarpSize), Index3{kGroupThreads}, 0, at.stream,
           static_cast<T*>(dx), static_cast<const T*>(dy), static_cast<const T*>(y), length, N, C, o.epsilon,
           write == Write::kAccumulate ? 1 : 0);
  });
}

}  // namespace tradewind::kernels::detail
