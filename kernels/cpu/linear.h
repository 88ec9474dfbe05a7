// CPU arms of kernels/linear.h. Arguments are checked by the caller; strides are filled in.
#pragma once

#include "kernels/linear.h"

namespace tradewind::kernels::cpu {

void linear_forward(float* y, float* pre, const float* x, const float* w, const float* bias, const LinearShape& shape,
                    Activation activation, const Launch& launch);
void linear_backward_input(float* dx, const float* dy, const float* w, const LinearShape& shape, Write write,
                           const Launch& launch);
void linear_backward_weight(float* dw, float* dbias, const float* dy, const float* x, const LinearShape& shape, Write write,
                            const Launch& launch);

/// sum[n] += sum over rows m of x[m, n] (row stride ldx), on the calling thread.
void add_column_sums(float* sum, const float* x, std::int64_t rows, std::int64_t N, std::int64_t ldx);

}  // namespace tradewind::kernels::cpu
