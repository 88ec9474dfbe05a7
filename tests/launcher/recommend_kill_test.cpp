// A recommender's run that is killed ends as one that was not.
#include <boost/test/unit_test.hpp>
#include <csignal>

#include "tests/support/event_shop.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

using Shop = EventShop;

/// Killed again and again, a run ends with the bits of one that was not: negatives and masks are keyed by the sample, so where
/// it stopped leaves no trace.
void check_killed(const Shop& shop, const std::string& name, const Settings& settings,
                  const std::string& recipe = "shop.toml") {
  shop.good(train_into("whole-" + name, settings, recipe));
  int kills = 0;
  for (int i = 0; i < 40 && kills < 5; ++i) {
    auto command = train_into(name, settings, recipe);
    command.insert(command.begin(), TRADEWIND_BINARY);
    Command run(command, shop.folder.path());
    if (run.ends_within(0.02 + 0.03 * i)) {
      BOOST_REQUIRE_EQUAL(run.wait().code, 0);
      break;
    }
    run.signal(SIGKILL);
    run.wait();
    ++kills;
  }
  BOOST_TEST(kills > 0);
  if (!fs::exists(shop.folder.path() / name / "checkpoints" / "step-00000060")) shop.good(train_into(name, settings, recipe));
  BOOST_TEST((shop.tensors(name) == shop.tensors("whole-" + name)), name);
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_killed_run_goes_on_to_the_same_bits, Shop) { check_killed(*this, "dense", {}); }

BOOST_FIXTURE_TEST_CASE(a_killed_run_of_any_model_goes_on_to_the_same_bits, Shop) {
  for (const ShopModel& model : kOtherModels) check_killed(*this, model.name, model.settings, model.recipe);
}

BOOST_FIXTURE_TEST_CASE(a_killed_run_with_sparse_gradients_goes_on_to_the_same_bits, Shop) {
  check_killed(*this, "adam", kSparse);
  auto rowwise = kSparse;
  rowwise.insert(rowwise.end(), {"optimizer.name=adagrad", "optimizer.rowwise=true"});
  check_killed(*this, "rowwise", rowwise);
}

}  // namespace tradewind::tests
