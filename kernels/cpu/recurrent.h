// CPU arms of kernels/recurrent.h, in float32. Arguments are checked and the table is filled in by the caller.
#pragma once

#include <algorithm>

#include "kernels/recurrent.h"

namespace tradewind::kernels::cpu {

void recurrent_forward(float* h, float* cell, float* gates, const float* w_hh, const float* b_hh, const RecurrentStart& start,
                       const RecurrentShape& shape, const Launch& launch);
/// All but dw and db. previous [N, H] receives the state before each row.
void recurrent_backward(float* previous, const RecurrentGradients& to, float* gates, const RecurrentOutputs& of,
                        const float* w_hh, const RecurrentStart& start, const RecurrentShape& shape, const Launch& launch);

/// The sequences of one group that have a row at step t.
struct GroupStep {
  const RecurrentOrder* order;
  const std::int64_t* table;
  std::int64_t group, groups, H;
  const float* zeros;                              // [H]
  std::int64_t t = 0, active = 0, continuing = 0;  // those that have one at step t, and at t + 1

  std::int64_t count(std::int64_t running) const { return std::max<std::int64_t>(0, (running - group + groups - 1) / groups); }
  void set(std::int64_t step) {
    t = step;
    active = count(order->active[static_cast<std::size_t>(t)]);
    continuing = t + 1 < order->steps() ? count(order->active[static_cast<std::size_t>(t) + 1]) : 0;
  }
  std::int64_t row(std::int64_t i) const { return table[group + i * groups] + t; }
  std::int64_t sequence(std::int64_t i) const { return table[order->S + group + i * groups]; }
  /// The state before the row: x of the row before it, or x0 (null: zeros).
  const float* before(const float* x, const float* x0, std::int64_t i) const {
    if (t > 0) return x + (row(i) - 1) * H;
    return x0 == nullptr ? zeros : x0 + sequence(i) * H;
  }
};

}  // namespace tradewind::kernels::cpu
