// Rows of length 1, as cosine similarities need them.
//
//   y[n] = x[n] / max(length[n], epsilon), length[n] = sqrt(sum_c x[n, c]^2)             torch.nn.functional.normalize
//   dx[n] = (dy[n] - y[n] <y[n], dy[n]>) / length[n]; where length[n] < epsilon: dy[n] / epsilon
//
// Shapes: x, y [N, C] of dtype, length [N] float32, saved for backward with y. CPU: float32. CUDA: float32 and bfloat16. Sums
// are float32. Deterministic; a row depends on itself alone. Bound by memory: 8 bytes an element forward, 12 (accumulating 16)
// backward.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

struct L2NormalizeOptions {
  float epsilon = 1e-12F;
  DType dtype = DType::kFloat32;
};

/// y may be x.
void l2_normalize_forward(void* y, float* length, const void* x, std::int64_t N, std::int64_t C,
                          const L2NormalizeOptions& options, const Launch& launch);

/// dx (=, +=). dx may be dy where it is assigned.
void l2_normalize_backward(void* dx, const void* dy, const void* y, const float* length, std::int64_t N, std::int64_t C,
                           Write write, const L2NormalizeOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
