#include "runtime/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"

namespace tradewind::runtime {

void ScheduleConfig::describe(Fields& f) {
  f.field("name", name, "Shape of the learning rate after the warm-up.",
          {"constant", "linear", "cosine", "wsd", "inverse_sqrt"});
  f.field("warmup", warmup, "Steps in which the rate rises linearly to its peak.", {.min = 0});
  f.field("final", final_fraction, "Share of the peak that linear, cosine and wsd end at.", {.min = 0, .max = 1});
  f.field("decay_steps", decay_steps, "Step at which linear, cosine and wsd reach the end; 0: train.steps.", {.min = 0});
  f.field("decay", decay, "wsd: share of the steps over which the rate falls.", {.min = 0, .max = 1});
}

void ScheduleConfig::check(std::int64_t total_steps) const {
  const std::int64_t end = decay_steps > 0 ? decay_steps : total_steps;
  if (warmup > end)
    throw ConfigError("schedule.warmup = " + std::to_string(warmup) + " is longer than the " + std::to_string(end) +
                      " steps of the schedule; lower it, or raise train.steps or schedule.decay_steps");
}

double learning_rate(const ScheduleConfig& c, double peak, std::int64_t step, std::int64_t total_steps) {
  const auto i = static_cast<double>(step - 1), warmup = static_cast<double>(c.warmup);
  if (i < warmup) return peak * (i + 1) / warmup;
  const auto end = static_cast<double>(c.decay_steps > 0 ? c.decay_steps : total_steps);
  const auto falling = [&](double from) { return std::clamp((i - from) / std::max(1.0, end - from), 0.0, 1.0); };
  if (c.name == "linear") return peak * (1 - (1 - c.final_fraction) * falling(warmup));
  if (c.name == "cosine")
    return peak * (c.final_fraction + (1 - c.final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * falling(warmup))));
  if (c.name == "wsd") return peak * (1 - (1 - c.final_fraction) * falling(std::max(warmup, end * (1 - c.decay))));
  if (c.name == "inverse_sqrt") return peak * std::sqrt(std::max(warmup, 1.0) / (i + 1));
  return peak;
}

}  // namespace tradewind::runtime
