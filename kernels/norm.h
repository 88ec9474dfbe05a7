// Layer norm and RMS norm over the last dimension, alone and fused with the residual branch before it.
//
//   layer norm  y = (x - mean) rstd * weight + bias, rstd = 1 / sqrt(var + eps), biased variance (Ba et al. 2016)
//   RMS norm    y = x rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps)               (Zhang and Sennrich 2019)
//   fused       s = residual + dropout(x);  y = norm(s)
//
// Shapes: x, y, residual, s [N, C] contiguous, float32, on a GPU also bfloat16; weight, bias [C] float32 (null: none);
// mean, rstd [N] float32, saved for backward (mean is null for RMS norm), of s as it is stored. The mean is taken off before
// squaring (two passes in cache, or in registers).
// Dropout masks: row n uses keys.sample[n], keys.position[n]; layout in base/philox.h. Needs launch.step->seed where p > 0.
// Deterministic: dweight and dbias are summed in fixed parts.
// Bound by memory: forward 8 bytes an element, fused 16; backward 12 to 24.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"
#include "kernels/base/philox.h"

namespace tradewind::kernels {

enum class NormKind : std::uint8_t { kLayerNorm, kRmsNorm };

struct NormOptions {
  NormKind kind = NormKind::kLayerNorm;
  float epsilon = 1e-5F;
  DType dtype = DType::kFloat32;
};

void norm_forward(void* y, float* mean, float* rstd, const void* x, const float* weight, const float* bias, std::int64_t N,
                  std::int64_t C, const NormOptions& options, const Launch& launch);

/// dx (=, +=) as write_dx says; dweight, dbias (=, +=) as write_dw says, skipped where null. dx may be dy.
void norm_backward(void* dx, float* dweight, float* dbias, const void* dy, const void* x, const float* mean, const float* rstd,
                   const float* weight, std::int64_t N, std::int64_t C, Write write_dx, Write write_dw,
                   const NormOptions& options, const Launch& launch);

/// s = residual + dropout(x), y = norm(s). s may be residual or x. y null: only s is written (then mean, rstd, weight and bias
/// are not looked at).
void residual_norm_forward(void* s, void* y, float* mean, float* rstd, const void* residual, const void* x, const float* weight,
                           const float* bias, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                           const NormOptions& options, const Launch& launch);

/// Given dy (null: none) and ds, the gradient that reaches s from elsewhere (null: none):
///   d = norm_backward(dy) + ds;  dresidual (=) d;  dx (=) dropout mask and scale * d.
/// dresidual may be ds; dx may be dy. dx null where p = 0 and the caller uses dresidual for both.
void residual_norm_backward(void* dresidual, void* dx, float* dweight, float* dbias, const void* dy, const void* ds,
                            const void* s, const float* mean, const float* rstd, const float* weight, std::int64_t N,
                            std::int64_t C, const Dropout& dropout, const RowKeys& keys, Write write_dw,
                            const NormOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
