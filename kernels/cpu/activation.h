// CPU arms of kernels/activation.h. Arguments are checked.
#pragma once

#include "kernels/activation.h"

namespace tradewind::kernels::cpu {

void activation_forward(float* y, const float* x, std::int64_t count, Activation activation, const Launch& launch);
void activation_backward(float* dx, float* y, const float* dy, const float* x, std::int64_t count, Activation activation,
                         Write write, const Launch& launch);
void swiglu_forward(float* y, const float* x, std::int64_t N, std::int64_t C, const Launch& launch);
void swiglu_backward(float* dx, const float* dy, const float* x, std::int64_t N, std::int64_t C, Write write,
                     const Launch& launch);

}  // namespace tradewind::kernels::cpu
