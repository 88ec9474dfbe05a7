// Learning rates against transformers' (tests/golden/optim/schedules.json). Its warm-up starts at 0 at its step 0, so its step
// s is our step s while warming up and for inverse_sqrt; what follows the warm-up is a function of the steps before it, so
// there its step s is our step s + 1.
#include "runtime/optim/schedule.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/throws.h"

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

BOOST_AUTO_TEST_CASE(cosine_is_the_schedule_of_common_character_model_scripts) {
  const ScheduleConfig config{.name = "cosine", .warmup = 100};
  for (std::int64_t i = 0; i < 2100; ++i) {
    const double want = i < 100 ? 1e-3 * static_cast<double>(i + 1) / 100
                                : 1e-4 + 0.45e-3 * (1 + std::cos(M_PI * std::min(1.0, static_cast<double>(i - 100) / 1900)));
    check_rate("step " + std::to_string(i + 1), learning_rate(config, 1e-3, i + 1, 2000), want);
  }
}

BOOST_AUTO_TEST_CASE(rates_rise_to_the_peak_and_never_again) {
  for (const char* name : {"constant", "linear", "cosine", "wsd", "inverse_sqrt"}) {
    const ScheduleConfig config{.name = name, .warmup = 10};
    check_rate(name, learning_rate(config, 2.0, 1, 100), 0.2);
    check_rate(name, learning_rate(config, 2.0, 10, 100), 2.0);
    for (std::int64_t step = 11; step < 300; ++step) {
      BOOST_TEST(learning_rate(config, 2.0, step, 100) <= learning_rate(config, 2.0, step - 1, 100));
      BOOST_TEST(learning_rate(config, 2.0, step, 100) > 0);
    }
    BOOST_TEST(std::isfinite(learning_rate({.name = name}, 2.0, 1, 1)));
  }
  const ScheduleConfig wsd{.name = "wsd", .warmup = 10, .decay = 0.25};
  check_rate("stable", learning_rate(wsd, 2.0, 76, 100), 2.0);
  check_rate("decay", learning_rate(wsd, 2.0, 77, 100), 2.0 * (1 - 0.9 / 25));
  check_rate("end", learning_rate(wsd, 2.0, 101, 100), 0.2);
  check_rate("no decay", learning_rate({.name = "wsd", .decay = 0}, 2.0, 101, 100), 2.0);
}

BOOST_AUTO_TEST_CASE(combinations_without_meaning_are_refused_with_the_remedy) {
  const auto refuse = [](const ScheduleConfig& config, const std::vector<std::string>& parts) {
    check_throws<ConfigError>([&] { config.check(100); }, parts);
    check_throws<ConfigError>([&] { learning_rate(config, 1.0, 1, 100); }, parts);
  };
  refuse({.name = "cosine", .warmup = 101}, {"warmup = 101", "100 steps (train.steps)", "lower warmup"});
  refuse({.name = "linear", .warmup = 60, .decay_steps = 50}, {"warmup = 60", "50 steps (schedule.decay_steps)"});
  refuse({.name = "constant", .decay_steps = 50}, {"decay_steps = 50", "constant", "cosine"});
  refuse({.name = "wsd", .warmup = 90, .decay = 0.2}, {"warmup = 90", "20 steps", "lower warmup or decay"});
  refuse({.name = "cosin"}, {"\"cosin\"", "cosine"});
  refuse({.name = "wsd", .decay = -1}, {"decay in [0, 1]"});
  refuse({.name = "cosine", .final_fraction = 1.5}, {"final and decay in [0, 1]"});
  BOOST_CHECK_NO_THROW((ScheduleConfig{.name = "cosine", .warmup = 100}.check(100)));
  BOOST_CHECK_THROW(learning_rate({}, 1.0, 0, 100), InternalError);
}

}  // namespace
}  // namespace tradewind::tests
