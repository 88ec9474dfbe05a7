// The CUDA arm of attention (kernels/attention.h states the mathematics). Arguments have been checked by kernels/attention.cpp.
#pragma once

#include "kernels/attention.h"

namespace tradewind::kernels::detail {

/// Pointers, offsets and lengths are in device memory. bfloat16 and float32; D up to 128, padded to 32, 64, 96 or 128. Throws
/// DeviceError with the remedy beyond.
void attention_forward_cuda(void* out, float* lse, const void* q, const void* k, const void* v, const AttentionShape& shape,
                            const AttentionOptions& options, const Launch& launch);

/// As attention_forward_cuda. Takes B * H * max_q floats of scratch.
void attention_backward_cuda(void* dq, void* dk, void* dv, float* dbias, const void* dout, const void* out, const float* lse,
                             const void* q, const void* k, const void* v, const AttentionShape& shape,
                             const AttentionOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
