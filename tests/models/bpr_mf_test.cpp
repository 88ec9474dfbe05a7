// Matrix factorisation by BPR: its samples, its loss by the definition, its gradient, and that it learns who likes what.
#include "models/recommend/bpr_mf.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>
#include <set>

#include "models/recommend/ranking_validation.h"
#include "models/recommend/serve.h"
#include "runtime/data/pair_dataset.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/differences.h"
#include "tests/support/histories.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;

struct Fixture : RecommenderFixture<models::BprMf> {
  explicit Fixture(std::int64_t users, std::int64_t items, std::int64_t channels = 8, double deviation = 0)
      : RecommenderFixture(config(channels, deviation), std::pair(users, items)) {}
  static models::BprConfig config(std::int64_t channels, double deviation) {
    models::BprConfig c;
    c.channels = channels, c.init_deviation = deviation;
    return c;
  }
  const float* row(const char* name, std::int64_t at) {
    const Tensor& table = model.parameters().find(name)->value();
    return table.data<float>() + at * table.size(1);
  }
  double score(std::int64_t user, std::int64_t item) {
    double out = 0;
    for (std::int64_t c = 0; c < model.item_vectors(context).size(1); ++c)
      out += double{row("user_embedding.weight", user)[c]} * row("item_embedding.weight", item)[c];
    return out;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_sample_is_a_training_event_with_items_the_user_has_not_had) {
  const std::vector<Ids> histories = {{1, 2, 3, 4, 5}, {6, 6, 0}, {7}, {9, 8, 9, 1}};
  const auto shop = shop_of(histories, 10);
  const PairDataset data(shop, {.negatives = 3, .seed = 5});
  BOOST_REQUIRE_EQUAL(data.samples_per_epoch(), 3 + 1 + 1 + 2);
  const auto samples = epoch_of(data, 2);
  const Batch batch = data.collate(samples);
  BOOST_TEST(batch.samples == 7);
  BOOST_TEST(batch.valid == 7);
  const auto users = batch["users"].span<std::int32_t>(), targets = batch["targets"].span<std::int32_t>(),
             negatives = batch["negatives"].span<std::int32_t>();
  BOOST_TEST(std::vector<std::int32_t>(users.begin(), users.end()) == (Ids{0, 0, 0, 1, 2, 3, 3}),
             boost::test_tools::per_element());
  BOOST_TEST(std::vector<std::int32_t>(targets.begin(), targets.end()) == (Ids{1, 2, 3, 6, 7, 9, 8}),
             boost::test_tools::per_element());
  std::set<std::int32_t> drawn;
  for (std::size_t s = 0; s < 7; ++s)
    for (std::size_t j = 0; j < 3; ++j) {
      const std::int32_t item = negatives[s * 3 + j];
      drawn.insert(item);
      for (std::int64_t e = shop->offsets[users[s]]; e < shop->offsets[users[s] + 1]; ++e)
        BOOST_CHECK(shop->part[e] != Part::kTrain || shop->item[e] != item);
    }
  BOOST_TEST(drawn.size() > 5U);
  // A part of the batch has the same draws: neither ranks nor micro-batches change them; another epoch has others.
  const Batch part = data.collate(std::span(samples).subspan(3, 2));
  BOOST_CHECK(std::ranges::equal(part["negatives"].span<std::int32_t>(), negatives.subspan(9, 6)));
  BOOST_CHECK(!std::ranges::equal(data.collate(epoch_of(data, 3))["negatives"].span<std::int32_t>(), negatives));
  check_throws<DataError>([] { PairDataset(shop_of({{0, 1, 2, 3, 1, 2}}, 4), {}); }, {"u0", "every item"});
}

// 30,000 draws over 9 items of which 3 were had: each of the other 6 5,000 times, with a deviation of 65.
BOOST_AUTO_TEST_CASE(negatives_are_uniform_over_what_was_not_had) {
  const PairDataset data(shop_of({{0, 4, 8, 1, 1}}, 9), {.negatives = 100, .seed = 3});
  std::vector<int> counts(9);
  for (std::int64_t epoch = 0; epoch < 100; ++epoch)
    for (const std::int32_t item : data.collate(epoch_of(data, epoch))["negatives"].span<std::int32_t>()) ++counts[item];
  for (std::int32_t i = 0; i < 9; ++i) {
    const int expected = i == 0 || i == 4 || i == 8 ? 0 : 5000;
    BOOST_CHECK_MESSAGE(std::abs(counts[i] - expected) <= (expected == 0 ? 0 : 300), i << ": " << counts[i]);
  }
}

BOOST_AUTO_TEST_CASE(the_loss_and_the_scores_are_those_of_the_definition) {
  Fixture f(4, 10, 8, 0.5);
  const auto shop = shop_of({{1, 2, 3, 4, 5}, {6, 6, 0}, {7}, {9, 8, 9, 1}}, 10);
  const PairDataset data(shop, {.negatives = 2});
  const Batch batch = data.collate(epoch_of(data, 0));
  const auto losses = f.losses(batch);
  for (std::size_t s = 0; s < losses.size(); ++s) {
    const auto user = batch["users"].span<std::int32_t>()[s], item = batch["targets"].span<std::int32_t>()[s];
    double want = 0;
    for (std::size_t j = 0; j < 2; ++j)
      want += std::log1p(std::exp(f.score(user, batch["negatives"].span<std::int32_t>()[2 * s + j]) - f.score(user, item))) / 2;
    BOOST_CHECK_MESSAGE(std::abs(losses[s] - want) <= 1e-5, losses[s] << " is not " << want);
  }
  const std::vector<Ids> histories = {{1}, {}, {3}, {}};
  const std::vector<std::int32_t> users = {3, 1, -1, 4};
  const std::vector<models::Pair> pairs = {{0, 5}, {1, 2}, {2, 2}, {3, 1}};
  const auto scores = models::score_pairs(f.context, f.model, {.histories = histories, .users = users}, pairs, 1);
  BOOST_CHECK_SMALL(scores[0] - f.score(3, 5), 1e-5);
  BOOST_CHECK_SMALL(scores[1] - f.score(1, 2), 1e-5);
  BOOST_CHECK(scores[2] == 0 && scores[3] == 0);
  BOOST_CHECK(f.model.knows(3, {}) && !f.model.knows(4, histories[0]) && !f.model.knows(-1, histories[0]));
}

BOOST_AUTO_TEST_CASE(tables_begin_as_xavier_has_it) {
  Fixture f(2000, 500, 64);
  for (const auto& [name, rows] : {std::pair{"user_embedding.weight", 2000}, {"item_embedding.weight", 500}}) {
    double square = 0;
    const auto values = f.model.parameters().find(name)->value().span<float>();
    for (const float x : values) square += double{x} * x;
    BOOST_CHECK_CLOSE(std::sqrt(square / static_cast<double>(values.size())), std::sqrt(2.0 / (rows + 64)), 2.0);
  }
}

BOOST_AUTO_TEST_CASE(gradients_are_the_numeric_ones) {
  Fixture f(4, 10, 8, 0.5);
  const PairDataset data(shop_of({{1, 2, 3, 4, 5}, {6, 6, 0}, {7}, {9, 8, 9, 1}}, 10), {.negatives = 2});
  const Batch batch = data.collate(epoch_of(data, 0));
  f.gradients(batch);
  for (const auto& p : f.model.parameters().parameters()) check_differences(*p, 3, 1e-3, [&] { return f.total(batch); });
}

// Two crowds that like other halves of the shop: what a user has not had of its half comes first.
BOOST_AUTO_TEST_CASE(it_learns_who_likes_what) {
  std::mt19937 engine(1);
  std::vector<Ids> histories;
  for (std::int32_t u = 0; u < 60; ++u) {
    std::set<std::int32_t> had;
    while (had.size() < 11) had.insert(static_cast<std::int32_t>(engine() % 15) + u % 2 * 15);
    Ids history(had.begin(), had.end());
    std::ranges::shuffle(history, engine);
    histories.push_back(history);
  }
  const auto shop = shop_of(histories, 30);
  models::RankingOptions options;
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 1), options);
  Fixture f(60, 30, 2);
  f.learn(PairDataset(shop, {}), 150, 2e-2F);
  const auto e = test.run(f.context, f.model, {.batch = 7});
  BOOST_CHECK_MESSAGE(metric(e, "hr@10") > 0.99, e.text());
  const std::vector<Ids> asked = {histories[0], histories[1]};
  const std::vector<std::int32_t> users = {0, 1};
  const auto best = models::recommend(f.context, f.model, {.histories = asked, .users = users}, {.top = 4, .allow = {}});
  for (const auto& [item, score] : best[0]) BOOST_CHECK(item < 15);
  for (const auto& [item, score] : best[1]) BOOST_CHECK(item >= 15);
}

}  // namespace tradewind::tests
