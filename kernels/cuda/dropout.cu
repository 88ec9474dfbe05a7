// Dropout on NVIDIA GPUs. Mathematics and shapes: kernels/dropout.h; the mask: device/dropout_mask.cuh. N rows, C columns.
//
// Bound by memory: 2 elements moved for each one, accumulating 3; 16384 x 768 in bfloat16 are 50 MB, 10 us at the H200's 4.8
// TB/s and 15 at the H100's 3.35. Bounds, not measurements. A Philox block is 10 rounds of 2 wide multiplications and some 4 to
// 6 additions and exclusive ors, about 100 instructions for 8 elements: 13 of the 28 for an element that an SM has time for in
// bfloat16 (kernels/cuda/activation.cu), so it hides, as long as no counter is computed twice.
//
// A thread takes 8 neighbouring columns of a row, one 16-byte load in bfloat16, two in float32. Every element has one writer.
#include "kernels/cuda/dropout.h"

#include "kernels/cuda/device/dropout_mask.cuh"
#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels::detail {
namespace {

template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void dropout_kernel(T* y, const T* x, std::int64_t N, std::int64_t C, DropoutView dropout, RowSplit split, int accumulate,
                    int aligned) {
  const RowPlace at = row_place(split);
  if (at.row >= N) return;  // columns beyond C have their counters to compute
  const std::int64_t place = at.row * C + at.column, left = C - at.column;
  float values[kPacket];
  load_values(values, x + place, left, aligned != 0);
  if (dropout.drops())
    drop(values, kept_packet(dropout.key(), dropout.row(at.row), at.column, dropout.threshold),
         dropout_scale(dropout.threshold));
  if (accumulate != 0) {
    float sum[kPacket];
    load_values(sum, y + place, left, aligned != 0);
#pragma unroll
    for (int i = 0; i < kPacket; ++i) values[i] += sum[i];
  }
  store_values(y + place, values, left, aligned != 0);
}

}  // namespace

void dropout_apply_cuda(void* y, const void* x, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                        Write write, DType dtype, const Launch& launch_at) {
  constexpr const char* kOp = "dropout_apply";
  const DropoutView view = dropout_view(dropout, keys, launch_at);
  if (N * C == 0 || (view.threshold == 0 && y == x)) return;
  with_element(kOp, dtype, [&](auto element) {
    using T = decltype(element);
    const RowSplit split = row_split(C);
    launch(dropout_kernel<T>, row_grid(kOp, N, split), Index3{kElementThreads}, 0, launch_at.stream, static_cast<T*>(y),
           static_cast<const T*>(x), N, C, view, split, write == Write::kAccumulate ? 1 : 0,
           vectors_fit({y, x}, {C}, dtype) ? 1 : 0);
  });
}

}  // namespace tradewind::kernels::detail
