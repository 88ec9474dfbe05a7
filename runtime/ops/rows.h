// Some rows of many.
#pragma once

#include "runtime/autograd/tape.h"

namespace tradewind::runtime {

/// y[m] = x[rows[m]]. x [N, C], rows [M] int32 where the op runs, which may be there several times; y [M, C].
Variable select_rows(Tape& tape, const Variable& x, const Tensor& rows);

}  // namespace tradewind::runtime
