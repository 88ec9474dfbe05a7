// A GRU or LSTM layer over packed sequences, each from a state of zeros.
#pragma once

#include "kernels/recurrent.h"
#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

/// G gates, 3 or 4, in PyTorch's order (kernels/recurrent.h); none is null.
struct RecurrentParameters {
  kernels::RecurrentKind kind = kernels::RecurrentKind::kGru;
  Parameter *input_weight = nullptr, *input_bias = nullptr;    // [G H, K], [G H]
  Parameter *hidden_weight = nullptr, *hidden_bias = nullptr;  // [G H, H], [G H]
};

/// x [N, K]; the states [N, H]: row n knows the rows of its sequence up to n.
Variable recurrent(Tape& tape, const Variable& x, const RecurrentParameters& parameters, const Sequences& rows);

}  // namespace tradewind::runtime
