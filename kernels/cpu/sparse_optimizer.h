// CPU arm of kernels/sparse_optimizer.h. Arguments are checked.
#pragma once

#include "kernels/sparse_optimizer.h"

namespace tradewind::kernels::cpu {

void sparse_update(float* table, float* first, float* second, const SparseRows& gradient, std::int64_t C,
                   const SparseUpdateOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::cpu
