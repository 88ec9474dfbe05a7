// The CUDA arms of kernels/recurrent.h. Arguments are checked by the caller.
#pragma once

#include "kernels/recurrent.h"

namespace tradewind::kernels::detail {

/// bfloat16 and float32. Takes scratch for the states and a step's products.
void recurrent_forward_cuda(void* h, float* cell, void* gates, const void* w_hh, const void* b_hh, const RecurrentStart& start,
                            const RecurrentShape& shape, const Launch& launch);
/// All but dw and db. previous [N, H] of dtype receives the state before each row.
void recurrent_backward_cuda(void* previous, const RecurrentGradients& to, void* gates, const RecurrentOutputs& of,
                             const void* w_hh, const RecurrentStart& start, const RecurrentShape& shape, const Launch& launch);

}  // namespace tradewind::kernels::detail
