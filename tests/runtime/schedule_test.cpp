// Learning rates against transformers' (tests/golden/optim/schedules.json). Its warm-up starts at 0 at its step 0, so its step
// s is our step s while warming up and for inverse_sqrt; what follows the warm-up is a function of the steps before it, so
// there its step s is our step s + 1.
#include "runtime/optim/schedule.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"

namespace tradewind::tests {
namespace {

using runtime::learning_rate;
using runtime::ScheduleConfig;

nlohmann::json golden() {
  std::ifstream in(golden_path("optim/schedules.json"));
  return nlohmann::json::parse(in);
}

void check_rate(const std::string& what, double got, double want) {
  BOOST_CHECK_MESSAGE(!!(std::abs(got - want) <= 1e-9 * std::max(want, 1e-6)), what << ": " << got << ", want " << want);
}

BOOST_AUTO_TEST_CASE(rates_equal_those_of_transformers) {
  int compared = 0;
  for (const auto& c : golden()) {
    ScheduleConfig config;
    const std::string name = c.at("name");
    const std::int64_t warmup = c.value("num_warmup_steps", 0), total = c.value("num_training_steps", 25);
    if (name == "linear" || name == "cosine" || name == "cosine_with_min_lr") {
      config.name = name == "linear" ? "linear" : "cosine";
      config.final_fraction = c.value("min_lr_rate", 0.0);
    } else if (name == "constant_with_warmup") {
      config.name = "constant";
    } else if (name == "warmup_stable_decay" && c.at("decay_type") == "linear") {
      config.name = "wsd";
      config.final_fraction = 0;
      config.decay = c.at("num_decay_steps").get<double>() / static_cast<double>(total);
    } else if (name == "inverse_sqrt" && !c.contains("timescale")) {
      config.name = "inverse_sqrt";
    } else {
      continue;  // kinds that [schedule] does not offer
    }
    ++compared;
    config.warmup = warmup;
    const double peak = c.at("base");
    const auto& rates = c.at("rate_at_step_0_to_30");
    // Past the last step transformers' cosine rises again; ours stays at the end.
    for (std::int64_t s = 1; s <= total; ++s) {
      const bool same_step = s <= warmup || config.name == "inverse_sqrt";
      if (s == warmup && !same_step) continue;
      check_rate(name + " at " + std::to_string(s), learning_rate(config, peak, same_step ? s : s + 1, total),
                 rates[static_cast<std::size_t>(s)]);
    }
  }
  BOOST_CHECK_EQUAL(compared, 7);
}

BOOST_AUTO_TEST_CASE(rates_equal_those_of_the_golden_training) {
  const auto all = golden();
  const auto& c = all.back();
  const ScheduleConfig config{.name = "cosine", .warmup = 3, .final_fraction = 0.1};
  const auto& rates = c.at("rate_at_step_0_to_9");
  for (std::size_t i = 0; i < rates.size(); ++i)
    check_rate("step " + std::to_string(i + 1), learning_rate(config, 3e-3, static_cast<std::int64_t>(i) + 1, 10), rates[i]);
}

BOOST_AUTO_TEST_CASE(the_rate_stays_at_its_end) {
  const ScheduleConfig config{.name = "cosine", .warmup = 2, .final_fraction = 0.25, .decay_steps = 10};
  check_rate("the end", learning_rate(config, 1.0, 11, 100), 0.25);
  check_rate("after it", learning_rate(config, 1.0, 90, 100), 0.25);
}

BOOST_AUTO_TEST_CASE(a_warm_up_longer_than_the_run_is_refused) {
  const ScheduleConfig config{.warmup = 101};
  BOOST_CHECK_THROW(config.check(100), ConfigError);
  BOOST_CHECK_NO_THROW(config.check(101));
}

}  // namespace
}  // namespace tradewind::tests
