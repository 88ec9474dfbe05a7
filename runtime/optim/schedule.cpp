#include "runtime/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

bool decays(const ScheduleConfig& c) { return c.name == "linear" || c.name == "cosine" || c.name == "wsd"; }

std::int64_t end_of(const ScheduleConfig& c, std::int64_t total_steps) {
  return c.decay_steps > 0 ? c.decay_steps : total_steps;
}

// Steps that wsd decays for, of `end`.
std::int64_t wsd_steps(const ScheduleConfig& c, std::int64_t end) { return std::llround(c.decay * static_cast<double>(end)); }

// How much of `steps` lies behind, in [0, 1].
double fraction(std::int64_t done, std::int64_t steps) {
  return std::clamp(static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(steps, 1)), 0.0, 1.0);
}

[[noreturn]] void fail(const std::string& what) { throw ConfigError("[schedule] " + what); }

}  // namespace

void ScheduleConfig::describe(Fields& f) {
  f.field("name", name, "Shape of the learning rate after the warm-up.",
          {"constant", "linear", "cosine", "wsd", "inverse_sqrt"});
  f.field("warmup", warmup, "Steps in which the rate rises linearly to its peak.", {.min = 0});
  f.field("final", final_fraction, "Share of the peak that linear, cosine and wsd end at.", {.min = 0, .max = 1});
  f.field("decay_steps", decay_steps, "Step at which linear, cosine and wsd reach the end; 0: train.steps.", {.min = 0});
  f.field("decay", decay, "wsd: share of the steps over which the rate falls.", {.min = 0, .max = 1});
}

void ScheduleConfig::check(std::int64_t total_steps) const {
  const std::int64_t end = end_of(*this, total_steps);
  const std::string steps = std::to_string(end) + " steps (" + (decay_steps > 0 ? "schedule.decay_steps" : "train.steps") + ")";
  if (name != "constant" && name != "inverse_sqrt" && !decays(*this))
    fail("name = \"" + name + "\" is no schedule; choose constant, linear, cosine, wsd or inverse_sqrt");
  if (warmup < 0 || decay_steps < 0 || !(final_fraction >= 0 && final_fraction <= 1) || !(decay >= 0 && decay <= 1))
    fail("a value is outside its limits: warmup and decay_steps from 0, final and decay in [0, 1]");
  if (decay_steps > 0 && !decays(*this))
    fail("decay_steps = " + std::to_string(decay_steps) + " has no meaning for name = \"" + name +
         "\"; leave it out or choose linear, cosine or wsd");
  if (warmup > end) fail("warmup = " + std::to_string(warmup) + " is longer than the schedule, " + steps + "; lower warmup");
  if (name == "wsd" && warmup > end - wsd_steps(*this, end))
    fail("warmup = " + std::to_string(warmup) + " and a decay of " + std::to_string(wsd_steps(*this, end)) +
         " steps overlap in " + steps + "; lower warmup or decay");
}

double learning_rate(const ScheduleConfig& c, double peak, std::int64_t step, std::int64_t total_steps) {
  require(step >= 1, "learning_rate", "steps count from 1");
  c.check(total_steps);
  const std::int64_t i = step - 1, W = c.warmup, end = end_of(c, total_steps);
  if (i < W) return peak * static_cast<double>(step) / static_cast<double>(W);
  if (c.name == "constant") return peak;
  if (c.name == "inverse_sqrt")
    return peak * std::sqrt(static_cast<double>(std::max<std::int64_t>(W, 1)) / static_cast<double>(step));
  const std::int64_t falling = c.name == "wsd" ? wsd_steps(c, end) : end - W;
  const double x = falling == 0 && c.name == "wsd" ? 0.0 : fraction(i - (end - falling), falling);
  if (c.name == "cosine")
    return peak * (c.final_fraction + (1 - c.final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * x)));
  return peak * (1 - (1 - c.final_fraction) * x);
}

}  // namespace tradewind::runtime
