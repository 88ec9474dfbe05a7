// Activations and SwiGLU on NVIDIA GPUs. Mathematics and shapes: kernels/activation.h; the functions: device/activations.cuh.
//
// Bound by memory. Elements moved for each one: forward 2, backward 3, with y 4, accumulating one more; SwiGLU forward 3 (gate,
// up, y), backward 5. At 16384 x 3072 in bfloat16 an array is 101 MB, 21 us at the H200's 4.8 TB/s and 30 at the H100's 3.35:
// GELU forward 42 and 60 us, backward 63 and 90. Bounds, not measurements.
//
// What could spoil that is arithmetic: at 4.8 TB/s and 1.98 GHz an SM has a clock for 18 bytes, so 4.6 elements of a bfloat16
// forward, and 28 instructions for each with its 128 lanes, of which 16 a clock may be exponentials or reciprocals: two an
// element are 9. So no division (9 instructions) but a reciprocal, and both GELU derivatives come from what the value needs
// anyway. GELU with erff is near the limit in bfloat16.
//
// A thread takes 8 elements, one 16-byte load an array in bfloat16, two in float32. Forward 40 warps fit an SM, 20 (bfloat16)
// or 40 KiB under way, backward 32 with two arrays, 32 or 64, where 25 are what 4.8 TB/s need: the bfloat16 forward is short by
// a fifth, for the registers that erff takes. The last elements, and all where a pointer is no multiple of 16 bytes, go one by
// one. Every element has one writer.
#include "kernels/cuda/activation.h"

#include "kernels/cuda/device/activations.cuh"
#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels::detail {
namespace {

template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void activation_forward_kernel(T* y, const T* x, std::int64_t count, Activation activation, int aligned) {
  const std::int64_t i = first_element(), left = count - i;
  float values[kPacket];
  load_values(values, x + i, left, aligned != 0);
  with_activation(activation, [&](auto kind) {
#pragma unroll
    for (int j = 0; j < kPacket; ++j) values[j] = decltype(kind)::value(values[j]);
  });
  store_values(y + i, values, left, aligned != 0);
}

/// y may be null; dx may be dy or x, since a thread has read all before it writes.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void activation_backward_kernel(T* dx, T* y, const T* dy, const T* x, std::int64_t count, Activation activation, int accumulate,
                                int aligned) {
  const std::int64_t i = first_element(), left = count - i;
  float at[kPacket], g[kPacket], sum[kPacket] = {}, value[kPacket];
  load_values(at, x + i, left, aligned != 0);
  load_values(g, dy + i, left, aligned != 0);
  if (accumulate != 0) load_values(sum, dx + i, left, aligned != 0);
  with_activation(activation, [&](auto kind) {
#pragma unroll
    for (int j = 0; j < kPacket; ++j) sum[j] += g[j] * decltype(kind)::both(at[j], value[j]);
  });
  store_values(dx + i, sum, left, aligned != 0);
  if (y != nullptr) store_values(y + i, value, left, aligned != 0);
}

template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void swiglu_forward_kernel(T* y, const T* x, std::int64_t N, std::int64_t C, RowSplit split, int aligned) {
  const RowPlace at = row_place(split);
  if (at.row >= N) return;
  const std::int64_t left = C - at.column, from = at.row * 2 * C + at.column;
  float gate[kPacket], up[kPacket];
  load_values(gate, x + from, left, aligned != 0);
  load_values(up, x + from + C, left, aligned != 0);
#pragma unroll
  for (int j = 0; j < kPacket; ++j) up[j] *= Silu::value(gate[j]);
  store_values(y + at.row * C + at.column, up, left, aligned != 0);
}

template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void swiglu_backward_kernel(T* dx, const T* dy, const T* x, std::int64_t N, std::int64_t C, RowSplit split, int accumulate,
                            int aligned) {
  const RowPlace at = row_place(split);
  if (at.row >= N) return;
  const std::int64_t left = C - at.column, from = at.row * 2 * C + at.column;
  float gate[kPacket], up[kPacket], g[kPacket], dgate[kPacket] = {}, dup[kPacket] = {};
  load_values(gate, x + from, left, aligned != 0);
  load_values(up, x + from + C, left, aligned != 0);
  load_values(g, dy + at.row * C + at.column, left, aligned != 0);
  if (accumulate != 0) {
    load_values(dgate, dx + from, left, aligned != 0);
    load_values(dup, dx + from + C, left, aligned != 0);
  }
#pragma unroll
  for (int j = 0; j < kPacket; ++j) {
    float value = 0.0F;
    const float slope = Silu::both(gate[j], value);
    dgate[j] += g[j] * up[j] * slope;
    dup[j] += g[j] * value;
  }
  store_values(dx + from, dgate, left, aligned != 0);
  store_values(dx + from + C, dup, left, aligned != 0);
}

}  // namespace

void activation_forward_cuda(void* y, const void* x, std::int64_t count, Activation activation, DType dtype,
                             const Launch& launch_at) {
  constexpr const char* kOp = "activation_forward";
  if (count == 0) return;
  with_element(kOp, dtype, [&](auto element) {
    using T = decltype(element);
    launch(activation_forward_kernel<T>, element_grid(kOp, count), Index3{kElementThreads}, 0, launch_at.stream,
           static_cast<T*>(y), static_cast<const T*>(x), count, activation, vectors_fit({y, x}, {}, dtype) ? 1 : 0);
  });
}

void activation_backward_cuda(void* dx, void* y, const void* dy, const void* x, std::int64_t count, Activation activation,
                              Write write, DType dtype, const Launch& launch_at) {
  constexpr const char* kOp = "activation_backward";
  if (count == 0) return;
  with_element(kOp, dtype, [&](auto element) {
    using T = decltype(element);
    launch(activation_backward_kernel<T>, element_grid(kOp, count), Index3{kElementThreads}, 0, launch_at.stream,
           static_cast<T*>(dx), static_cast<T*>(y), static_cast<const T*>(dy), static_cast<const T*>(x), count, activation,
           write == Write::kAccumulate ? 1 : 0, vectors_fit({dx, y, dy, x}, {}, dtype) ? 1 : 0);
  });
}

void swiglu_forward_cuda(void* y, const void* x, std::int64_t N, std::int64_t C, DType dtype, const Launch& launch_at) {
  constexpr const char* kOp = "swiglu_forward";
  if (N * C == 0) return;
  with_element(kOp, dtype, [&](auto element) {
    using T = decltype(element);
    const RowSplit split = row_split(C);
    launch(swiglu_forward_kernel<T>, row_grid(kOp, N, split), Index3{kElementThreads}, 0, launch_at.stream, static_cast<T*>(y),
           static_cast<const T*>(x), N, C, split, vectors_fit({y, x}, {C}, dtype) ? 1 : 0);
  });
}

void swiglu_backward_cuda(void* dx, const void* dy, const void* x, std::int64_t N, std::int64_t C, Write write, DType dtype,
                          const Launch& launch_at) {
  constexpr const char* kOp = "swiglu_backward";
  if (N * C == 0) return;
  with_element(kOp, dtype, [&](auto element) {
    using T = decltype(element);
    const RowSplit split = row_split(C);
    launch(swiglu_backward_kernel<T>, row_grid(kOp, N, split), Index3{kElementThreads}, 0, launch_at.stream,
           static_cast<T*>(dx), static_cast<const T*>(dy), static_cast<const T*>(x), N, C, split,
           write == Write::kAccumulate ? 1 : 0, vectors_fit({dx, dy, x}, {C}, dtype) ? 1 : 0);
  });
}

}  // namespace tradewind::kernels::detail
