// CPU arms of kernels/softmax.h. Arguments are checked by the caller.
#pragma once

#include "kernels/softmax.h"

namespace tradewind::kernels::cpu {

void softmax_forward(float* y, const float* x, std::int64_t N, std::int64_t C, bool log, const Launch& launch);
void softmax_backward(float* dx, const float* dy, const float* y, std::int64_t N, std::int64_t C, bool log, Write write,
                      const Launch& launch);

}  // namespace tradewind::kernels::cpu
