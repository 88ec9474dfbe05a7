// Recommenders on several ranks learn what they learn on one.
#include <boost/test/unit_test.hpp>
#include <iostream>

#include "tests/support/event_shop_ranks.h"

namespace tradewind::tests {
namespace {

using Shop = EventShop;

}  // namespace

BOOST_FIXTURE_TEST_CASE(ranks_agree, Shop) { check_ranks(*this, {}); }
BOOST_FIXTURE_TEST_CASE(ranks_agree_on_any_model, Shop) {
  for (const ShopModel& model : kOtherModels) BOOST_TEST_CONTEXT(model.name) {
      Settings settings = model.settings;
      settings.emplace_back("train.steps=20");
      check_ranks(*this, settings, {}, model.recipe);
    }
}
BOOST_FIXTURE_TEST_CASE(ranks_that_exchange_rows_agree, Shop) {
  check_ranks(*this, kSparse, {"train.check_parameters_every=5"});
}
// The item table stays whole on every rank.
BOOST_FIXTURE_TEST_CASE(ranks_that_exchange_rows_agree_with_zero, Shop) {
  check_ranks(*this, kSparse, {"train.zero=1", "train.check_parameters_every=5"});
}

BOOST_FIXTURE_TEST_CASE(ranks_count_alike, Shop) {
  folder.write("knn.toml", text_of(folder.path() / "shop.toml").substr(0, std::string(kShopRecipe).find("[model]")) +
                               "[model]\nname = \"item_knn\"\n[runtime]\nthreads = 1\n");
  good({"train", "knn.toml", "--set", "run.directory=one"});
  const auto command = under_mpirun(2, {TRADEWIND_BINARY, "train", "knn.toml", "--set", "run.directory=two"});
  if (command.empty()) {
    std::cout << "SKIPPED launcher/recommend_ranks_test: there is no mpirun; install openmpi-bin\n";
    return;
  }
  const Outcome o = Command(command, folder.path()).wait();
  BOOST_REQUIRE_MESSAGE(o.code == 0, o);
  BOOST_TEST((tensors("one", "00000001") == tensors("two", "00000001")));
}

}  // namespace tradewind::tests
