// The mean of all rows of a sequence so far.
//
//   y[t] = (x[0] + ... + x[t]) / (t + 1) within each sequence
// It is causal attention with no preference: with queries and keys of zeros all scores are equal, and so are the weights of
// what a row sees. So kernels/attention.h computes it, on every device, at 4 T^2 C / 2 FLOPs a sequence of T rows where T C
// would do: little beside a softmax over a catalogue (2 T V C).
#pragma once

#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

/// x [N, C]; y [N, C].
Variable prefix_mean(Tape& tape, const Variable& x, const Sequences& rows);

}  // namespace tradewind::runtime
