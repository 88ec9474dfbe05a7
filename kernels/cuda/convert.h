// CUDA arm of kernels/convert.h. Arguments are checked.
#pragma once

#include "kernels/convert.h"

namespace tradewind::kernels::detail {

/// The other type is bfloat16 where to_type is float32, and float32 where it is bfloat16.
void convert_cuda(void* to, DType to_type, const void* from, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels::detail
