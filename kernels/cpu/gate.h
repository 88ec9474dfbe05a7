// CPU arms of kernels/gate.h. Arguments are checked.
#pragma once

#include "kernels/gate.h"

namespace tradewind::kernels::cpu {

void gate_forward(float* y, const float* x, const float* gate, const GateShape& shape, const Launch& launch);
void gate_backward(float* dx, float* dgate, const float* dy, const float* x, const float* gate, const GateShape& shape,
                   const Launch& launch);

}  // namespace tradewind::kernels::cpu
