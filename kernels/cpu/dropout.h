// CPU arm of kernels/dropout.h. Arguments are checked.
#pragma once

#include "kernels/dropout.h"

namespace tradewind::kernels::cpu {

void dropout_apply(float* y, const float* x, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                   Write write, const Launch& launch);

}  // namespace tradewind::kernels::cpu
