// A GRU or LSTM layer: its parameters with their names, and how to apply it.
#pragma once

#include <string>

#include "runtime/ops/recurrent.h"

namespace tradewind::runtime {

struct RecurrentLayer {
  RecurrentParameters parameters;
  /// Registers name.input.weight [G hidden, in], name.hidden.weight [G hidden, hidden] and name.input.bias, name.hidden.bias
  /// [G hidden], even within 1 / sqrt(hidden) of 0, as PyTorch begins.
  static RecurrentLayer make(ParameterStore& store, const std::string& name, kernels::RecurrentKind kind, std::int64_t in,
                             std::int64_t hidden);
  Variable operator()(Tape& tape, const Variable& x, const Sequences& rows) const {
    return recurrent(tape, x, parameters, rows);
  }

  /// Of one row.
  double forward_flops() const;
  /// Floats of a row that backward needs: the gates, the state and an LSTM's cell.
  std::int64_t kept_floats() const;
};

}  // namespace tradewind::runtime
