// A recommender's run that is killed ends as one that was not.
#include <boost/test/unit_test.hpp>

#include "tests/support/event_shop.h"

namespace tradewind::tests {
namespace {

using Shop = EventShop;

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_killed_run_goes_on_to_the_same_bits, Shop) { check_killed("dense", {}); }

BOOST_FIXTURE_TEST_CASE(a_killed_run_of_any_model_goes_on_to_the_same_bits, Shop) {
  for (const ShopModel& model : kOtherModels) check_killed(model.name, model.settings, model.recipe);
}

BOOST_FIXTURE_TEST_CASE(a_killed_run_with_sparse_gradients_goes_on_to_the_same_bits, Shop) {
  check_killed("adam", kSparse);
  auto rowwise = kSparse;
  rowwise.insert(rowwise.end(), {"optimizer.name=adagrad", "optimizer.rowwise=true"});
  check_killed("rowwise", rowwise);
}

}  // namespace tradewind::tests
