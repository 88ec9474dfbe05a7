// CPU arm of kernels/convert.h. Arguments are checked.
#pragma once

#include "kernels/convert.h"

namespace tradewind::kernels::cpu {

void to_bfloat16(std::uint16_t* to, const float* from, std::int64_t count, const Launch& launch);
void to_float32(float* to, const std::uint16_t* from, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels::cpu
