// The CUDA arm of HSTU attention (kernels/hstu_attention.h states the mathematics). Arguments have been checked by
// kernels/hstu_attention.cpp.
#pragma once

#include "kernels/hstu_attention.h"

namespace tradewind::kernels::detail {

/// Pointers and offsets are in device memory. bfloat16 and float32; D and Dv up to 128. Throws DeviceError with the remedy
/// beyond.
void hstu_attention_forward_cuda(void* out, const void* q, const void* k, const void* v, const HstuAttentionShape& shape,
                                 const HstuAttentionOptions& options, const Launch& launch);

/// As hstu_attention_forward_cuda. Where gradients of tables are wanted, takes up to 264 * (positions + 129) floats of
/// scratch.
void hstu_attention_backward_cuda(void* dq, void* dk, void* dv, const HstuBiasGradients& dbias, const void* dout, const void* q,
                                  const void* k, const void* v, const HstuAttentionShape& shape,
                                  const HstuAttentionOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
