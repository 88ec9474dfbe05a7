// Dropout of packed rows.
#pragma once

#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

/// x [N, C]. p = 0 returns x itself.
Variable dropout(Tape& tape, const Variable& x, const kernels::Dropout& dropout, const Sequences& rows);

}  // namespace tradewind::runtime
