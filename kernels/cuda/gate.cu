// The gate on a GPU: y = gate x, dx = dy gate, dgate = dy x (kernels/gate.h).
//
// Bound by memory: 3 elements moved for each one forward, 5 backward. 16384 x 768 in bfloat16 are 75 MB forward, 23 us at the
// H100's 3.35 TB/s and 16 at the H200's 4.8, backward 126 MB, 38 and 26 us. Bounds, not measurements: none of this has run on a
// GPU yet.
//
// A thread has eight neighbouring columns of a row, read and written 16 bytes at a time where rows are whole vectors. 37
// registers, no shared memory: 6 blocks of 256 threads an SM have 48 KiB under way, where 25 KiB cover 600 ns at 4.8 TB/s. One
// writer an element.
#include "kernels/cuda/gate.h"

#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels::detail {
namespace {

template <class T>
struct GateView {
  T *out, *dgate;  // dgate null: forward
  const T *x, *gate, *dy;
  std::int64_t N, C, gate_stride;
  int aligned;
};

template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void gate_kernel(GateView<T> a, RowSplit split) {
  const RowPlace at = row_place(split);
  if (at.row >= a.N || at.column >= a.C) return;
  const std::int64_t left = a.C - at.column, own = at.row * a.C + at.column, gated = at.row * a.gate_stride + at.column;
  const bool aligned = a.aligned != 0;
  float x[kPacket], gate[kPacket];
  load_values(x, a.x + own, left, aligned);
  load_values(gate, a.gate + gated, left, aligned);
  if (a.dgate == nullptr) {
#pragma unroll
    for (int i = 0; i < kPacket; ++i) x[i] *= gate[i];
    store_values(a.out + own, x, left, aligned);
    return;
  }
  float dy[kPacket];
  load_values(dy, a.dy + own, left, aligned);
#pragma unroll
  for (int i = 0; i < kPacket; ++i) {
    x[i] *= dy[i];
    gate[i] *= dy[i];
  }
  store_values(a.dgate + gated, x, left, aligned);
  store_values(a.out + own, gate, left, aligned);
}

void run(const char* op, void* out, void* dgate, const void* dy, const void* x, const void* gate, const GateShape& s,
         DType dtype, const Launch& launch_at) {
  if (s.N == 0) return;
  with_element(op, dtype, [&](auto element) {
    using T = decltype(element);
    const RowSplit split = row_split(s.C);
    const GateView<T> a{.out = static_cast<T*>(out),
                        .dgate = static_cast<T*>(dgate),
                        .x = static_cast<const T*>(x),
                        .gate = static_cast<const T*>(gate),
                        .dy = static_cast<const T*>(dy),
                        .N = s.N,
                        .C = s.C,
                        .gate_stride = s.gate_stride,
                        .aligned = vectors_fit({out, dgate, dy, x, gate}, {s.C, s.gate_stride}, dtype) ? 1 : 0};
    launch(gate_kernel<T>, row_grid(op, s.N, split), Index3{kElementThreads}, 0, launch_at.stream, a, split);
  });
}

}  // namespace

void gate_forward_cuda(void* y, const void* x, const void* gate, const GateShape& shape, DType dtype, const Launch& launch) {
  run("gate_forward", y, nullptr, nullptr, x, gate, shape, dtype, launch);
}

void gate_backward_cuda(void* dx, void* dgate, const void* dy, const void* x, const void* gate, const GateShape& shape,
                        DType dtype, const Launch& launch) {
  run("gate_backward", dx, dgate, dy, x, gate, shape, dtype, launch);
}

}  // namespace tradewind::kernels::detail
