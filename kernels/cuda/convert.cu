// float32 to bfloat16 and back on NVIDIA GPUs: kernels/convert.h.
//
// Bound by memory: 6 bytes an element. 124 M parameters (GPT-2) are 0.74 GB: 0.22 ms at the H100's 3.35 TB/s, 0.16 at the
// H200's 4.8 TB/s; bounds, not measurements. A thread takes eight elements, two 16-byte vectors of float32 and one of bfloat16:
// 2048 threads an SM have 64 KiB under way, where 25 KiB cover a latency of 600 ns at 4.8 TB/s. About 20 registers, no shared
// memory. Element by element: no order to depend on.
#include "kernels/cuda/convert.h"

#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels::detail {
namespace {

template <class To, class From>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 8)
void convert_kernel(To* to, const From* from, std::int64_t count, int aligned) {
  const std::int64_t i = first_element();
  float x[kPacket];
  load_values(x, from + i, count - i, aligned != 0);
  store_values(to + i, x, count - i, aligned != 0);
}

}  // namespace

void convert_cuda(void* to, DType to_type, const void* from, std::int64_t count, const Launch& at) {
  const int aligned = vectors_fit({to, from}, {}, to_type) ? 1 : 0;
  const Index3 grid = element_grid("convert", count);
  if (to_type == DType::kBFloat16)
    launch(convert_kernel<BFloat16, float>, grid, Index3{kElementThreads}, 0, at.stream, static_cast<BFloat16*>(to),
           static_cast<const float*>(from), count, aligned);
  else
    launch(convert_kernel<float, BFloat16>, grid, Index3{kElementThreads}, 0, at.stream, static_cast<float*>(to),
           static_cast<const BFloat16*>(from), count, aligned);
}

}  // namespace tradewind::kernels::detail
