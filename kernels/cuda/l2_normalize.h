// CUDA arms of kernels/l2_normalize.h. Arguments are checked.
#pragma once

#include "kernels/l2_normalize.h"

namespace tradewind::kernels::detail {

void l2_normalize_forward_cuda(void* y, float* length, const void* x, std::int64_t N, std::int64_t C,
                               const L2NormalizeOptions& options, const Launch& launch);
void l2_normalize_backward_cuda(void* dx, const void* dy, const void* y, const float* length, std::int64_t N, std::int64_t C,
                                Write write, const L2NormalizeOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
