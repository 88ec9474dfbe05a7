// The mean of all rows of a sequence so far, or of the newest of them.
//
//   y[t] = (x[0] + ... + x[t]) / (t + 1) within each sequence; with a window w > 0 of x[t - w + 1] to x[t], where there are so
//   many
// It is causal attention with no preference: with queries and keys of zeros all scores are equal, and so are the weights of
// what a row sees. So kernels/attention.h computes it, on every device, at 4 T^2 C / 2 FLOPs a sequence of T rows where T C
// would do: little beside a softmax over a catalogue (2 T V C).
#pragma once

#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

/// x [N, C]; y [N, C]. window: 0 for all.
Variable prefix_mean(Tape& tape, const Variable& x, const Sequences& rows, std::int64_t window = 0);

}  // namespace tradewind::runtime
