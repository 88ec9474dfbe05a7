// Softmax and log-softmax over the last dimension, and the gradient.
//
// x, y [N, C] contiguous, of dtype: float32 on a CPU, float32 and bfloat16 on CUDA. The row maximum is taken off first. A row
// of -infinity alone gives zeros (softmax).
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

/// y = softmax(x), or log softmax(x) where `log`. y may be x.
void softmax_forward(void* y, const void* x, std::int64_t N, std::int64_t C, bool log, DType dtype, const Launch& launch);

/// dx (=, +=) from y, the forward's output: y (dy - sum(dy y)), or dy - exp(y) sum(dy) where `log`. dx may be dy.
void softmax_backward(void* dx, const void* dy, const void* y, std::int64_t N, std::int64_t C, bool log, Write write,
                      DType dtype, const Launch& launch);

}  // namespace tradewind::kernels
