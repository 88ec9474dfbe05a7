// The CUDA arm of layer norm, RMS norm and the fused residual branch (kernels/norm.h states the mathematics). Arguments have
// been checked by kernels/norm.cpp.
#pragma once

#include "kernels/norm.h"

namespace tradewind::kernels::detail {

/// residual null: plain norm of x, s unused. y null: only s = residual + dropout(x). bfloat16 and float32, up to 8192 channels;
/// throws DeviceError beyond.
void norm_forward_cuda(void* s, void* y, float* mean, float* rstd, const void* residual, const void* x, const float* weight,
                       const float* bias, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                       const NormOptions& options, const Launch& launch);

/// out = norm_backward(dy) + add (null: none); dy null: out = add. masked (null: none) = dropout(out). Takes scratch for
/// partial sums of dweight and dbias.
void norm_backward_cuda(void* out, void* masked, float* dweight, float* dbias, const void* dy, const void* add, const void* x,
                        const float* mean, const float* rstd, const float* weight, std::int64_t N, std::int64_t C,
                        const Dropout& dropout, const RowKeys& keys, Write write_dw, const NormOptions& options,
                        const Launch& launch);

}  // namespace tradewind::kernels::detail
