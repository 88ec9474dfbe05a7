// Layer norm and RMS norm, alone and behind a residual branch.
#pragma once

#include "kernels/norm.h"
#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

struct NormParameters {
  Parameter* weight;  // [C], or null: none, and then no bias
  Parameter* bias;    // or null
  kernels::NormOptions options;
};

/// x [N, C].
Variable norm(Tape& tape, const Variable& x, const NormParameters& parameters);

struct Residual {
  Variable sum;         // residual + dropout(branch)
  Variable normalised;  // norm(sum)
};

/// residual, branch [N, C].
Residual residual_norm(Tape& tape, const Variable& residual, const Variable& branch, const NormParameters& parameters,
                       const kernels::Dropout& dropout, const Sequences& rows);

}  // namespace tradewind::runtime
