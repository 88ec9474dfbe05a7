// The CUDA arm of linear (kernels/linear.h states the mathematics). Arguments have been checked by kernels/linear.cpp, and the
// strides are filled in.
#pragma once

#include "kernels/linear.h"

namespace tradewind::kernels::detail {

/// bfloat16 and float32.
void linear_forward_cuda(void* y, void* pre, const void* x, const void* w, const void* bias, const LinearShape& shape,
                         const LinearOptions& options, const Launch& launch);
void linear_backward_input_cuda(void* dx, const void* dy, const void* w, const LinearShape& shape, Write write,
                                const LinearOptions& options, const Launch& launch);
/// Takes scratch for partial sums of dbias.
void linear_backward_weight_cuda(float* dw, float* dbias, const void* dy, const void* x, const LinearShape& shape, Write write,
                                 const LinearOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
