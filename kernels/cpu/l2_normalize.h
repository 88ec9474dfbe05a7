// CPU arms of kernels/l2_normalize.h. Arguments are checked by the caller.
#pragma once

#include "kernels/l2_normalize.h"

namespace tradewind::kernels::cpu {

void l2_normalize_forward(float* y, float* length, const float* x, std::int64_t N, std::int64_t C, float epsilon,
                          const Launch& launch);
void l2_normalize_backward(float* dx, const float* dy, const float* y, const float* length, std::int64_t N, std::int64_t C,
                           Write write, float epsilon, const Launch& launch);

}  // namespace tradewind::kernels::cpu
