// The learning rate over a run: a pure function of the step, so that resuming needs no state.
//
// With i = t - 1 (t the optimiser step from 1), W warm-up steps, D the step where decay ends, f the final fraction:
//   warm-up       peak (i + 1) / W                                    for i < W, then
//   constant      peak
//   linear        peak (1 - (1 - f) x),  x = (i - W) / (D - W) in [0, 1]
//   cosine        peak (f + (1 - f) (1 + cos(pi x)) / 2)              Loshchilov and Hutter 2017, equation 5, one period
//   wsd           peak, and over the last `decay` share of the D steps linearly down to peak f
//                                                                     Hu et al. 2024 (MiniCPM), section 4.2
//   inverse_sqrt  peak sqrt(max(W, 1) / (i + 1))                      Vaswani et al. 2017, equation 3, scaled to the peak
#pragma once

#include <cstdint>
#include <string>

#include "runtime/config/fields.h"

namespace tradewind::runtime {

/// The section [schedule].
struct ScheduleConfig {
  std::string name = "cosine";
  std::int64_t warmup = 0;
  double final_fraction = 0.1;
  std::int64_t decay_steps = 0;
  double decay = 0.2;

  void describe(Fields& f);
  /// Throws ConfigError where the steps do not fit together.
  void check(std::int64_t total_steps) const;
};

/// The rate of step `step` (from 1) of `total_steps`.
double learning_rate(const ScheduleConfig& config, double peak, std::int64_t step, std::int64_t total_steps);

}  // namespace tradewind::runtime
