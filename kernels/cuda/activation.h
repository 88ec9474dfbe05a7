// The CUDA arm of the activations and SwiGLU (kernels/activation.h states the mathematics). Arguments have been checked by
// kernels/activation.cpp.
#pragma once

#include "kernels/activation.h"

namespace tradewind::kernels::detail {

/// bfloat16 and float32, all four.
void activation_forward_cuda(void* y, const void* x, std::int64_t count, Activation activation, DType dtype,
                             const Launch& launch);
void activation_backward_cuda(void* dx, void* y, const void* dy, const void* x, std::int64_t count, Activation activation,
                              Write write, DType dtype, const Launch& launch);
void swiglu_forward_cuda(void* y, const void* x, std::int64_t N, std::int64_t C, DType dtype, const Launch& launch);
void swiglu_backward_cuda(void* dx, const void* dy, const void* x, std::int64_t N, std::int64_t C, Write write, DType dtype,
                          const Launch& launch);

}  // namespace tradewind::kernels::detail
