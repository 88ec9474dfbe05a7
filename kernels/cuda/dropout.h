// The CUDA arm of dropout (kernels/dropout.h states the mathematics). Arguments have been checked by kernels/dropout.cpp.
#pragma once

#include "kernels/dropout.h"

namespace tradewind::kernels::detail {

/// bfloat16 and float32.
void dropout_apply_cuda(void* y, const void* x, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                        Write write, DType dtype, const Launch& launch);

}  // namespace tradewind::kernels::detail
