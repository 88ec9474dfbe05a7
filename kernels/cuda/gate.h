// CUDA arms of kernels/gate.h. Arguments are checked; pointers are in device memory.
#pragma once

#include "kernels/gate.h"

namespace tradewind::kernels::detail {

void gate_forward_cuda(void* y, const void* x, const void* gate, const GateShape& shape, DType dtype, const Launch& launch);
void gate_backward_cuda(void* dx, void* dgate, const void* dy, const void* x, const void* gate, const GateShape& shape,
                        DType dtype, const Launch& launch);

}  // namespace tradewind::kernels::detail
