// Every recipe that we ship is valid, and says what its name promises.
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "launcher/run_config.h"
#include "models/language/gpt.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

fs::path configs() { return fs::path(TRADEWIND_SOURCE_DIR) / "configs"; }

launcher::RunConfig read(const fs::path& file, const std::vector<std::string>& overrides = {}) {
  return launcher::read_run_config(file, overrides, models::builtin_registry());
}

BOOST_AUTO_TEST_CASE(every_recipe_is_valid) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(configs())) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    BOOST_TEST_CONTEXT(entry.path()) {
      auto config = read(entry.path());
      config.schedule.check(config.train.steps);
      BOOST_CHECK_EQUAL(config.run.directory, "runs/" + entry.path().stem().string());
      BOOST_CHECK_NO_THROW(config.text());
    }
  }
  BOOST_CHECK_GE(count, 4);
}

BOOST_AUTO_TEST_CASE(large_accepts_a_shorter_run) {
  const auto config = read(configs() / "language/gpt-shakespeare-large.toml", {"train.steps=400"});
  BOOST_CHECK_EQUAL(config.train.steps, 400);
  BOOST_CHECK_EQUAL(config.schedule.decay_steps, 0);  // the schedule ends with the run
}

BOOST_AUTO_TEST_CASE(gpt2_has_the_size_of_gpt2) {
  const auto config = read(configs() / "language/gpt2-124m.toml");
  const auto task = config.model->build({.vocabulary = 257});
  std::int64_t parameters = 0;
  for (const auto& p : task->parameters().parameters()) parameters += p->shape().elements();
  BOOST_CHECK_EQUAL(parameters, 124439808);  // Hugging Face's count of "gpt2"
}

}  // namespace
}  // namespace tradewind::tests
