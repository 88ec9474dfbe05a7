// Linear layer: y[m, n] = act(sum_k x[m, k] w[n, k] + bias[n]), and its two gradients.
//
// Shapes: x [M, K] with row stride ldx, w [N, K] contiguous (torch.nn.Linear's layout), bias [N], y [M, N] with row
// stride ldy. Strides count elements. 2 M N K FLOPs each.
// dtype of x, y, w, bias and dx, dy: float32, on a GPU also bfloat16; sums in float32. dw and dbias are float32.
// Deterministic: same bits for the same shape, threads and instruction set. With launch.stable_rows the forward product gives
// each row of y the same bits whatever M and the threads.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/base/launch.h"

namespace tradewind::kernels {

struct LinearShape {
  std::int64_t M, N, K;
  std::int64_t ldx = 0, ldy = 0;  // row strides of x (and dx) and y (and dy); 0: K and N
};

struct LinearOptions {
  DType dtype = DType::kFloat32;
  Activation activation = Activation::kNone;  // forward only; fused into the product's epilogue where it pays
};

/// pre [M, N] (row stride ldy) receives the value before the activation, which activation_backward needs;
/// null where nobody will ask. bias may be null.
void linear_forward(void* y, void* pre, const void* x, const void* w, const void* bias, const LinearShape& shape,
                    const LinearOptions& options, const Launch& launch);

/// dx[m, k] (=, +=) sum_n dy[m, n] w[n, k].
void linear_backward_input(void* dx, const void* dy, const void* w, const LinearShape& shape, Write write,
                           const LinearOptions& options, const Launch& launch);

/// dw[n, k] (=, +=) sum_m dy[m, n] x[m, k]; dbias[n] (=, +=) sum_m dy[m, n], skipped where dbias is null.
void linear_backward_weight(float* dw, float* dbias, const void* dy, const void* x, const LinearShape& shape, Write write,
                            const LinearOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
