// Rotary positions on the query and key heads of a fused projection.
#pragma once

#include "kernels/rope.h"
#include "runtime/autograd/tape.h"

namespace tradewind::runtime {

/// Rotates the first `heads` heads of D elements of every row of x [N, width] in place: x must not be used afterwards, and the
/// op that made it must not need its output. positions [N] int32.
Variable rope(Tape& tape, const Variable& x, const Tensor& positions, std::int64_t heads, std::int64_t D,
              const kernels::RopeOptions& options);

}  // namespace tradewind::runtime
