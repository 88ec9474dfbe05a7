// Changing the element type of a flat array: float32 to bfloat16 (round to nearest even; NaN stays NaN) and back (exact).
//
// For compute copies of parameters where an update does not write them (kernels/optimizer.h): after a checkpoint was read.
// Bound by memory, 6 bytes an element.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

/// to [count] = from [count]. One of the two types is float32, the other bfloat16.
void convert(void* to, DType to_type, const void* from, DType from_type, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels
