// y = x w^T where the bits of a row of y depend on that row of x and on w alone: not on how many rows there are, nor on the
// threads. For serving: a prompt's text must not change with what is answered beside it.
#pragma once

#include <cstdint>

namespace tradewind::kernels::cpu {

/// y[m, n] = sum_k x[m, k] w[n, k] + bias[n] (bias may be null); x [M, K] with row stride ldx, w [N, K] contiguous, y [M, N]
/// with row stride ldy.
void row_products(float* y, const float* x, const float* w, const float* bias, std::int64_t M, std::int64_t N, std::int64_t K,
                  std::int64_t ldx, std::int64_t ldy, int threads);

}  // namespace tradewind::kernels::cpu
