// A linear layer on NVIDIA GPUs: products by cuBLASLt, bias and activation in the product's epilogue where it has them, else in
// one pass of ours. Mathematics and shapes: kernels/linear.h. x [M, K], w [N, K], y [M, N].
//
//   y = act(x W^T + b)       pre, what the activation was given, by the same kernel
//   dX = dY W
//   dW = dY^T X, float32     db = sum of dY's rows, device/column_sum.cuh
//
// 2 M N K FLOPs each, and (M K + N K + M N) elements: at M = 16384, N = 3072, K = 768 in bfloat16 592 FLOPs a byte, where the
// H100 (989 TFLOP/s, 3.35 TB/s) turns from memory to arithmetic at 295 and the H200 (4.8 TB/s) at 206: bound by the tensor
// cores, 78 us. The same in float32, true float32 products (67 TFLOP/s, no tensor cores): 1.15 ms. Bounds, not measurements.
// What an epilogue saves is no trifle: a pass that reads pre and writes y moves 4 bytes an element, 201 MB or 42 us on an H200.
// So ReLU, and GELU by tanh with or without pre in bfloat16, stay in the product; in float32 GELU is ours, as nobody says how
// exact cuBLASLt's is. The pass lives on bandwidth: 8 elements a thread, 16-byte loads, one exponential and one reciprocal
// each.
//
// db reads dY once more: 21 us beside the 234 of the three products. cuBLASLt could sum it beside dW (its epilogue BGRADA), but
// not add it to what is there, which accumulation over micro-batches needs.
//
// cuBLASLt's epilogues want whole vectors of 16 bytes; where a stride or pointer is none, the product is plain and the pass
// adds the bias too. Deterministic: cuBLASLt gives the same bits for the same shape on the same GPU and version as long as one
// stream uses its workspace, which is ours, of this call.
#include "kernels/cuda/linear.h"

#include "kernels/cuda/device/activations.cuh"
#include "kernels/cuda/device/column_sum.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"

namespace tradewind::kernels::detail {
namespace {

/// pre = z + bias, y = act(z + bias), row by row. y or pre may be z; pre and bias may be null.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void bias_activation_kernel(T* y, T* pre, const T* z, const T* bias, LinearShape s, Activation activation, RowSplit split,
                            int aligned) {
  const RowPlace at = row_place(split);
  if (at.row >= s.M || at.column >= s.N) return;
  const std::int64_t place = at.row * s.ldy + at.column, left = s.N - at.column;
  float values[kPacket];
  load_values(values, z + place, left, aligned != 0);
  if (bias != nullptr) {
    float added[kPacket];
    load_values(added, bias + at.column, left, aligned != 0);
#pragma unroll
    for (int i = 0; i < kPacket; ++i) values[i] += added[i];
  }
  if (pre != nullptr) store_values(pre + place, values, left, aligned != 0);
  with_activation(activation, [&](auto kind) {
#pragma unroll
    for (int i = 0; i < kPacket; ++i) values[i] = decltype(kind)::value(values[i]);
  });
  store_values(y + place, values, left, aligned != 0);
}

bool fit(const LinearShape& s, DType dtype, std::initializer_list<const void*> pointers) {
  return vectors_fit(pointers, {s.N, s.K, s.ldx, s.ldy}, dtype);
}

}  // namespace

void linear_forward_cuda(void* y, void* pre, const void* x, const void* w, const void* bias, const LinearShape& s,
                         const LinearOptions& o, const Launch& launch_at) {
  constexpr const char* kOp = "linear_forward";
  if (launch_at.stable_rows)
    throw DeviceError(std::string(kOp) +
                      ": the CUDA products give rows the same bits only among the same rows (launch.stable_rows); set device = "
                      "\"cpu\" to serve with such rows");
  const bool aligned = fit(s, o.dtype, {y, pre, x, w, bias});
  const bool fused = aligned && gemm_has(o.activation, pre != nullptr, o.dtype);
  const GemmShape shape{
      .m = s.M, .n = s.N, .k = s.K, .a_stride = s.ldx, .b_stride = s.K, .c_stride = s.ldy, .b_transposed = true};
  GemmEpilogue epilogue;
  if (aligned) epilogue.bias = bias;
  if (fused) epilogue.activation = o.activation, epilogue.before = pre;
  void* product = fused || pre == nullptr ? y : pre;
  with_element(kOp, o.dtype, [&](auto element) {
    using T = decltype(element);
    gemm(product, o.dtype, x, w, o.dtype, shape, launch_at, epilogue);
    const bool adds = bias != nullptr && !aligned;
    if (fused || (!adds && o.activation == Activation::kNone && pre == nullptr)) return;
    const RowSplit split = row_split(s.N);
    launch(bias_activation_kernel<T>, row_grid(kOp, s.M, split), Index3{kElementThreads}, 0, launch_at.stream,
           static_cast<T*>(y), adds ? static_cast<T*>(pre) : nullptr, static_cast<const T*>(product),
           adds ? static_cast<const T*>(bias) : nullptr, s, o.activation, split, aligned ? 1 : 0);
  });
}

void linear_backward_input_cuda(void* dx, const void* dy, const void* w, const LinearShape& s, Write write,
                                const LinearOptions& o, const Launch& launch_at) {
  with_element("linear_backward_input", o.dtype, [&](auto) {
    gemm(dx, o.dtype, dy, w, o.dtype,
         {.m = s.M,
          .n = s.K,
          .k = s.N,
          .a_stride = s.ldy,
          .b_stride = s.K,
          .c_stride = s.ldx,
          .beta = write == Write::kAccumulate ? 1.0F : 0.0F},
         launch_at);
  });
}

void linear_backward_weight_cuda(float* dw, float* dbias, const void* dy, const void* x, const LinearShape& s, Write write,
                                 const LinearOptions& o, const Launch& launch_at) {
  if (s.M == 0) {
    if (write == Write::kAccumulate) return;
    fill_bytes(dw, 0, static_cast<std::size_t>(s.N * s.K) * sizeof(float), launch_at.stream);
    if (dbias != nullptr) fill_bytes(dbias, 0, static_cast<std::size_t>(s.N) * sizeof(float), launch_at.stream);
    return;
  }
  with_element("linear_backward_weight", o.dtype, [&](auto element) {
    using T = decltype(element);
    gemm(dw, DType::kFloat32, dy, x, o.dtype,
         {.m = s.N,
          .n = s.K,
          .k = s.M,
          .a_stride = s.ldy,
          .b_stride = s.ldx,
          .c_stride = s.K,
          .a_transposed = true,
          .beta = write == Write::kAccumulate ? 1.0F : 0.0F},
         launch_at);
    if (dbias != nullptr) column_sum(dbias, static_cast<const T*>(dy), s.M, s.N, s.ldy, write, launch_at);
  });
}

}  // namespace tradewind::kernels::detail
