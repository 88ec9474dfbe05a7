// CUDA arm of kernels/rope.h. Arguments are checked, as far as a host can.
#pragma once

#include "kernels/rope.h"

namespace tradewind::kernels::detail {

void rope_apply_cuda(void* x, const std::int32_t* position, std::int64_t N, std::int64_t heads, std::int64_t D,
                     std::int64_t stride, const RopeOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
