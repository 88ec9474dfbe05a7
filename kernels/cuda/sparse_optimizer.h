// CUDA arm of kernels/sparse_optimizer.h. Arguments are checked, as far as a host can.
#pragma once

#include "kernels/sparse_optimizer.h"

namespace tradewind::kernels::detail {

void sparse_update_cuda(float* table, float* first, float* second, const SparseRows& gradient, std::int64_t V, std::int64_t C,
                        const SparseUpdateOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
