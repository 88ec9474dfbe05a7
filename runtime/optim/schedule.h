// The learning rate as a pure function of the step, so that resuming needs no state.
//
// Step t counts from 1, i = t - 1; W = warmup, T = all steps, E = decay_steps or T; peak is optimizer.learning_rate.
//
//   i < W           peak (i + 1) / W: the first step already moves, step W is the first at the peak
//   constant        peak
//   linear          peak (1 - (1 - final) x),                        x = (i - W) / (E - W) clipped to [0, 1]
//   cosine          peak (final + (1 - final) (1 + cos(pi x)) / 2),  x as above    Loshchilov and Hutter 2017, equation 5
//   wsd             peak, then linear over the last D = round(decay T) steps, x = (i - (T - D)) / D   Hu et al. 2024,
//   section 4.2 inverse_sqrt    peak sqrt(W / i)                                 Vaswani et al. 2017, equation 3, scaled to
//   peak at W
//
// Hugging Face's schedules (transformers.optimization) are the same after the warm-up, at its index i. Its warm-up is
// i / W: it wastes the first step on a rate of 0 and is one step behind ours. Its cosine rises again past T, ours stays.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/config/fields.h"

namespace tradewind::runtime {

struct ScheduleConfig {
  std::string name = "constant";
  std::int64_t warmup = 0;       // steps
  double final = 0.1;            // fraction of the peak that linear, cosine and wsd end at
  std::int64_t decay_steps = 0;  // linear, cosine: the step, counted from the start, that they end at; 0: the last
  double decay = 0.2;            // wsd: fraction of the steps that decay
  void describe(Fields& f);
  /// Throws ConfigError where the numbers do not fit together, with the remedy.
  void check(std::int64_t total_steps) const;
};

/// The rate of step `step`, from 1. Past the end it stays where it ended. Throws as check().
double learning_rate(const ScheduleConfig& config, double peak, std::int64_t step, std::int64_t total_steps);

}  // namespace tradewind::runtime
