#include "runtime/optim/schedule.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using runtime::learning_rate;
using runtime::ScheduleConfig;

void check_rate(const ScheduleConfig& config, double peak, std::int64_t step, std::int64_t steps, double expected) {
  const double got = learning_rate(config, peak, step, steps);
  BOOST_CHECK_MESSAGE(!!(std::abs(got - expected) <= 1e-12 * peak),
                      config.name << " warmup " << config.warmup << " step " << step << ": " << got << ", not " << expected);
}

// Where Hugging Face's definition is ours, its name in ours; otherwise nothing.
std::optional<ScheduleConfig> ours(const nlohmann::json& theirs) {
  const std::string name = theirs["name"];
  ScheduleConfig config;
  config.warmup = theirs["num_warmup_steps"];
  config.final = 0;
  if (name == "constant_with_warmup") {
    config.name = "constant";
  } else if (name == "linear" || name == "cosine") {
    config.name = name;
  } else if (name == "cosine_with_min_lr") {
    config.name = "cosine";
    config.final = theirs["min_lr_rate"];
  } else if (name == "inverse_sqrt" && !theirs.contains("timescale")) {
    config.name = name;
  } else if (name == "warmup_stable_decay" && theirs["decay_type"] == "linear") {
    config.name = "wsd";
    config.decay = theirs["num_decay_steps"].get<double>() / theirs["num_training_steps"].get<double>();
  } else {
    return std::nullopt;
  }
  return config;
}

}  // namespace

BOOST_AUTO_TEST_CASE(schedules_match_hugging_face_where_the_definitions_coincide) {
  const auto all = nlohmann::json::parse(std::ifstream(golden_path("optim/schedules.json")));
  int compared = 0;
  for (const auto& theirs : all) {
    if (!theirs.contains("rate_at_step_0_to_30")) continue;
    const auto config = ours(theirs);
    if (!config) continue;
    ++compared;
    const auto rates = theirs["rate_at_step_0_to_30"].get<std::vector<double>>();
    const std::int64_t steps = theirs.value("num_training_steps", std::int64_t{30});
    const double peak = theirs["base"];
    // During the warm-up its index k is our step k (k / W); from there on its index k is our step k + 1.
    for (std::int64_t k = 1; k <= config->warmup; ++k) check_rate(*config, peak, k, steps, rates[static_cast<std::size_t>(k)]);
    for (std::int64_t k = config->warmup; k <= steps; ++k)
      check_rate(*config, peak, k + 1, steps, rates[static_cast<std::size_t>(k)]);
  }
  BOOST_TEST(compared == 7);
}

BOOST_AUTO_TEST_CASE(cosine_is_the_usual_training_script_of_character_models) {
  const ScheduleConfig config{.name = "cosine", .warmup = 100};
  for (std::int64_t i = 0; i < 2100; ++i) {
    const double expected = i < 100
                                ? 1e-3 * std::min(1.0, static_cast<double>(i + 1) / 100)
                                : 1e-4 + 0.45e-3 * (1 + std::cos(M_PI * std::min(1.0, static_cast<double>(i - 100) / 1900)));
    check_rate(config, 1e-3, i + 1, 2000, expected);
  }
}

BOOST_AUTO_TEST_CASE(rates_at_the_corners) {
  for (const char* name : {"constant", "linear", "cosine", "wsd", "inverse_sqrt"}) {
    const ScheduleConfig config{.name = name, .warmup = 10};
    check_rate(config, 2.0, 1, 100, 0.2);
    check_rate(config, 2.0, 10, 100, 2.0);
    check_rate(config, 2.0, 11, 100, 2.0);
    for (std::int64_t step = 12; step < 300; ++step) {  // never rises again
      BOOST_TEST(learning_rate(config, 2.0, step, 100) <= learning_rate(config, 2.0, step - 1, 100));
      BOOST_TEST(learning_rate(config, 2.0, step, 100) > 0);
    }
  }
  for (const char* name : {"linear", "cosine", "wsd"})
    for (const std::int64_t step : {101, 5000}) check_rate({.name = name, .warmup = 10}, 2.0, step, 100, 0.2);
  const ScheduleConfig wsd{.name = "wsd", .warmup = 10, .decay = 0.25};
  check_rate(wsd, 2.0, 76, 100, 2.0);
  BOOST_TEST(learning_rate(wsd, 2.0, 77, 100) < 2.0);
  check_rate({.name = "linear", .warmup = 10, .decay_steps = 50}, 2.0, 51, 100, 0.2);
  check_rate({.name = "inverse_sqrt", .warmup = 10}, 2.0, 41, 100, 1.0);
  check_rate({.name = "cosine", .warmup = 5}, 2.0, 5, 5, 2.0);  // nothing but warm-up
  check_rate({.name = "cosine", .warmup = 5}, 2.0, 6, 5, 0.2);
}

BOOST_AUTO_TEST_CASE(combinations_without_meaning_are_refused_with_the_remedy) {
  const auto refuse = [](const ScheduleConfig& config, const std::vector<std::string>& parts) {
    check_throws<ConfigError>([&] { config.check(100); }, parts);
    check_throws<ConfigError>([&] { learning_rate(config, 1.0, 1, 100); }, parts);
  };
  refuse({.name = "cosine", .warmup = 101}, {"warmup = 101", "train.steps", "lower warmup"});
  refuse({.name = "linear", .warmup = 60, .decay_steps = 50}, {"warmup = 60", "50", "decay_steps"});
  refuse({.name = "constant", .decay_steps = 50}, {"decay_steps = 50", "constant", "cosine"});
  refuse({.name = "wsd", .warmup = 90, .decay = 0.2}, {"warmup = 90", "20 steps", "train.steps = 100"});
  refuse({.name = "inverse_sqrt"}, {"inverse_sqrt", "warmup"});
  refuse({.name = "cosin"}, {"\"cosin\"", "cosine"});
  refuse({.name = "wsd", .decay = 0}, {"decay in (0, 1]"});
  refuse({.name = "cosine", .final = 1.5}, {"final in [0, 1]"});
  BOOST_CHECK_THROW(learning_rate({}, 1.0, 0, 100), InternalError);
}

}  // namespace tradewind::tests
