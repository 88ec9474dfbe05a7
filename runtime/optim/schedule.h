// The learning rate as a pure function of the step, so that resuming needs no state.
//
// Step t counts from 1, i = t - 1; W = warmup, E = decay_steps or all steps, f = final, peak = optimizer.learning_rate.
//
//   i < W         peak (i + 1) / W: the first step already moves, step W is the first at the peak
//   constant      peak
//   linear        peak (1 - (1 - f) x),  x = (i - W) / (E - W) in [0, 1]
//   cosine        peak (f + (1 - f) (1 + cos(pi x)) / 2)    Loshchilov and Hutter 2017, equation 5, one period
//   wsd           peak, then as linear over the last D = round(decay E) steps, x = (i - (E - D)) / D
//                                                           Hu et al. 2024 (MiniCPM), section 4.2
//   inverse_sqrt  peak sqrt(max(W, 1) / t)                  Vaswani et al. 2017, equation 3, scaled to the peak
//
// transformers.optimization starts its warm-up at 0 with its step 0 (so that the first step moves nothing): its step s is our
// step s in the warm-up and for inverse_sqrt, and our step s + 1 after it. Its cosine rises again past the end, ours stays.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/config/fields.h"

namespace tradewind::runtime {

struct ScheduleConfig {
  std::string name = "cosine";
  std::int64_t warmup = 0;       // steps
  double final_fraction = 0.1;   // of the peak, that linear, cosine and wsd end at; key `final`
  std::int64_t decay_steps = 0;  // where they end, counted from the first step; 0: with the run
  double decay = 0.2;            // wsd: fraction of E that decays
  void describe(Fields& f);
  /// Throws ConfigError where the numbers do not fit together, with the remedy.
  void check(std::int64_t total_steps) const;
};

/// The rate of step `step`, from 1. Past the end it stays where it ended. Throws as check().
double learning_rate(const ScheduleConfig& config, double peak, std::int64_t step, std::int64_t total_steps);

}  // namespace tradewind::runtime
