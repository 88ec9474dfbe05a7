// The CUDA arm of linear_cross_entropy (kernels/linear_cross_entropy.h states the mathematics). Arguments have been checked by
// kernels/linear_cross_entropy.cpp, but for the targets, which are in device memory.
#pragma once

#include "kernels/linear_cross_entropy.h"

namespace tradewind::kernels::detail {

/// Logits of a chunk, as float32.
inline constexpr std::int64_t kCrossEntropyChunkBytes = std::int64_t{256} << 20;

/// bfloat16 and float32. A target outside [0, V) that is not ignored makes its row's loss and gradient NaN: a kernel cannot
/// throw. A chunk has at least 32 rows.
void linear_cross_entropy_cuda(float* loss, float* nll, float* lse, void* dx, float* dw, float* dbias, const void* x,
                               const void* w, const void* bias, const std::int32_t* targets, std::int64_t N, std::int64_t V,
                               std::int64_t C, Write write, const LinearCrossEntropyOptions& options, const Launch& launch,
                               std::int64_t chunk_bytes = kCrossEntropyChunkBytes);

}  // namespace tradewind::kernels::detail
