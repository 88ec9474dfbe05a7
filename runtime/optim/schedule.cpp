#include "runtime/optim/schedule.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

bool decays_to_the_end(const ScheduleConfig& config) { return config.name == "linear" || config.name == "cosine"; }

std::int64_t end_of(const ScheduleConfig& config, std::int64_t total_steps) {
  return config.decay_steps > 0 ? config.decay_steps : total_steps;
}

std::int64_t wsd_steps(const ScheduleConfig& config, std::int64_t total_steps) {
  return std::llround(config.decay * static_cast<double>(total_steps));
}

double clipped_fraction(std::int64_t done, std::int64_t of) {
  if (of <= 0) return done < 0 ? 0.0 : 1.0;
  return std::clamp(static_cast<double>(done) / static_cast<double>(of), 0.0, 1.0);
}

[[noreturn]] void fail(const std::string& what) { throw ConfigError("[schedule] " + what); }

}  // namespace

void ScheduleConfig::describe(Fields& f) {
  f.field("name", name, "How the learning rate changes over the run.", {"constant", "linear", "cosine", "wsd", "inverse_sqrt"});
  f.field("warmup", warmup, "Steps over which the rate rises to optimizer.learning_rate.", {.min = 0});
  f.field("final", final, "Linear, cosine, wsd: where the rate ends, as a fraction of the peak.", {.min = 0, .max = 1});
  f.field("decay_steps", decay_steps, "Linear, cosine: the step at which the rate reaches its end; 0: train.steps.",
          {.min = 0});
  f.field("decay", decay, "Wsd (warm-up, stable, decay): fraction of the steps that decay.",
          {.min = 0, .max = 1, .above_min = true});
}

void ScheduleConfig::check(std::int64_t total_steps) const {
  const ScheduleConfig& config = *this;
  const auto text = [](std::int64_t n) { return std::to_string(n); };
  if (config.warmup < 0 || config.decay_steps < 0 || !(config.final >= 0 && config.final <= 1) ||
      !(config.decay > 0 && config.decay <= 1))
    fail("a value is outside its limits: warmup and decay_steps from 0, final in [0, 1], decay in (0, 1]");
  if (config.decay_steps > 0 && !decays_to_the_end(config))
    fail("decay_steps = " + text(config.decay_steps) + " has no meaning for name = \"" + config.name +
         "\"; leave it out or choose \"linear\" or \"cosine\"");
  if (decays_to_the_end(config)) {
    const std::int64_t end = end_of(config, total_steps);
    if (config.warmup > end)
      fail("warmup = " + text(config.warmup) + " lasts longer than the schedule (" + text(end) + " steps, from " +
           (config.decay_steps > 0 ? "decay_steps" : "train.steps") + "); lower warmup");
  } else if (config.name == "wsd") {
    const std::int64_t decaying = wsd_steps(config, total_steps);
    if (config.warmup > total_steps - decaying)
      fail("warmup = " + text(config.warmup) + " and a decay of " + text(decaying) +
           " steps do not fit in train.steps = " + text(total_steps) + "; lower warmup or decay");
  } else if (config.name == "inverse_sqrt") {
    if (config.warmup == 0) fail("name = \"inverse_sqrt\" falls from the end of the warm-up; set warmup to 1 step or more");
  } else if (config.name != "constant") {
    fail("name = \"" + config.name + "\" is no schedule; choose constant, linear, cosine, wsd or inverse_sqrt");
  }
}

double learning_rate(const ScheduleConfig& config, double peak, std::int64_t step, std::int64_t total_steps) {
  require(step >= 1, "learning_rate", "steps count from 1");
  config.check(total_steps);
  const std::int64_t i = step - 1, W = config.warmup;
  if (i < W) return peak * static_cast<double>(i + 1) / static_cast<double>(W);
  if (config.name == "constant") return peak;
  if (config.name == "inverse_sqrt") return peak * std::sqrt(static_cast<double>(W) / static_cast<double>(i));
  if (config.name == "wsd") {
    const std::int64_t decaying = wsd_steps(config, total_steps);
    if (decaying == 0) return peak;
    return peak * (1 - (1 - config.final) * clipped_fraction(i - (total_steps - decaying), decaying));
  }
  const double x = clipped_fraction(i - W, end_of(config, total_steps) - W);
  if (config.name == "linear") return peak * (1 - (1 - config.final) * x);
  return peak * (config.final + (1 - config.final) * 0.5 * (1 + std::cos(3.14159265358979323846 * x)));
}

}  // namespace tradewind::runtime
