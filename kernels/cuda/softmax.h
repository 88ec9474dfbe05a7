// CUDA arms of kernels/softmax.h. Arguments are checked.
#pragma once

#include "kernels/softmax.h"

namespace tradewind::kernels::detail {

void softmax_forward_cuda(void* y, const void* x, std::int64_t N, std::int64_t C, bool log, DType dtype, const Launch& launch);
void softmax_backward_cuda(void* dx, const void* dy, const void* y, std::int64_t N, std::int64_t C, bool log, Write write,
                           DType dtype, const Launch& launch);

}  // namespace tradewind::kernels::detail
