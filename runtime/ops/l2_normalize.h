// Rows of length 1.
#pragma once

#include "kernels/l2_normalize.h"
#include "runtime/autograd/tape.h"

namespace tradewind::runtime {

/// y[n] = x[n] / max(length of x[n], epsilon). x, y [N, C].
Variable l2_normalize(Tape& tape, const Variable& x, float epsilon = 1e-12F);

}  // namespace tradewind::runtime
