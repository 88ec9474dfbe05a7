// SASRec and how recommenders are ranked.
#include "models/recommend/sasrec.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <numeric>

#include "models/recommend/popularity.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;

models::SasRecConfig small() {
  models::SasRecConfig c;
  c.net.channels = 16;
  c.net.heads = 2;
  c.net.context_length = 12;
  c.net.dropout = 0;
  c.net.init_deviation = 0.2;
  return c;
}

using Fixture = RecommenderFixture<models::SasRec>;

}  // namespace

BOOST_AUTO_TEST_CASE(an_item_changes_no_loss_before_it_by_a_bit) {
  auto histories = walks(1, 30, 4);
  histories[0].resize(12);
  std::iota(histories[0].begin(), histories[0].end(), 3);
  const auto losses = [&] {
    Fixture f(small());
    return f.losses(SequenceDataset(shop_of(histories, 30), {.context = 12}).collate(std::vector<SampleRef>{{0, 0, 0}}));
  };
  const auto before = losses();
  histories[0][9] = 27;  // the last training event: the target of the last row, the input of none
  histories[0][8] = 28;  // the last input
  const auto after = losses();
  BOOST_REQUIRE_EQUAL(before.size(), 9U);
  for (std::size_t i = 0; i < 7; ++i) BOOST_CHECK_EQUAL(before[i], after[i]);
  BOOST_CHECK(before[8] != after[8]);
}

BOOST_AUTO_TEST_CASE(queries_and_item_vectors_are_what_the_loss_is_of) {
  Fixture f(small());
  const auto shop = shop_of({{1, 2, 3, 4, 5, 6, 7}, {9, 8, 7, 6, 5}, {4, 5}}, 30);
  const Batch batch = SequenceDataset(shop, {.context = 12}).collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}, {2, 0, 2}});
  f.check_losses_are_of_the_served_vectors(batch);
}

BOOST_AUTO_TEST_CASE(positions_count_from_the_end_that_the_config_names) {
  models::SasRecConfig config = small();
  BOOST_TEST(!config.positions_from_newest());
  BOOST_TEST(!config.history(30).from_newest);
  config.net.positions = "newest";
  BOOST_TEST(config.positions_from_newest());
  BOOST_TEST(config.history(30).from_newest);
}

// Counted from the weights that the store has and from the lengths of the histories: half a context costs less than half.
BOOST_AUTO_TEST_CASE(flops_are_those_of_the_histories_that_are_there) {
  auto config = small();
  config.loss.negatives_per_position = 3;
  for (const std::string kind : {"softmax", "bce"}) {
    config.loss.kind = kind;
    Fixture f(config);
    double weights = 0;
    for (const auto& p : f.model.parameters().parameters())
      if (p->shape().rank() == 2 && p->name().find("embedding") == std::string::npos)
        weights += static_cast<double>(p->shape().elements());
    const auto shop = shop_of({{1, 2, 3, 4, 5, 6, 7}, {9, 8, 7, 6, 5}, {4}}, 30);  // 4, 2 and no rows of training
    const Batch batch = SequenceDataset(shop, {.context = 12, .negatives = config.loss.negatives()})
                            .collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}});
    const Work work = Work::of(batch);
    BOOST_TEST(work.rows == 6);
    BOOST_TEST(work.pairs == 16 + 4);
    BOOST_TEST(work.targets == 6);
    const double seen = 10 + 3, scores = kind == "softmax" ? 30 : 4;
    const double expected = 2 * weights * 6 + 2 * 4 * 16 * seen + 2 * 16 * scores * 6;  // two layers; q k and p v
    BOOST_TEST(f.model.cost().forward_flops(work) == expected);
    BOOST_TEST(f.model.cost().forward_flops_per_sample() == 2 * weights * 12 + 2 * 4 * 16 * 78 + 2 * 16 * scores * 12);
  }
}

BOOST_AUTO_TEST_CASE(a_history_without_items_has_a_query_of_zeros) {
  Fixture f(small());
  f.context.set_stable_rows(true);
  const std::vector<Ids> some = {{1, 2}, {}, {3}}, none = {{}, {}}, alone = {{3}};
  const Tensor x = f.model.queries(f.context, pack_histories(some, 12));
  const Tensor y = f.model.queries(f.context, pack_histories(none, 12));
  const Tensor z = f.model.queries(f.context, pack_histories(alone, 12));
  for (std::int64_t c = 0; c < 16; ++c) {
    BOOST_CHECK_EQUAL(x.data<float>()[16 + c], 0.0F);
    BOOST_CHECK_EQUAL(y.data<float>()[c], 0.0F);
    BOOST_CHECK_EQUAL(x.data<float>()[32 + c], z.data<float>()[c]);
  }
  BOOST_CHECK(x.data<float>()[0] != 0);
}

BOOST_AUTO_TEST_CASE(gradients_are_the_numeric_ones) {
  const Batch batch = SequenceDataset(shop_of({{1, 2, 3, 4, 5, 6}, {7, 2, 9, 4, 1}}, 30), {.context = 12})
                          .collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}});
  for (const char* block : {"pre_norm", "post_norm", "normalised_residual"}) {
    auto config = small();
    config.net.activation = "gelu_exact";  // smooth
    config.net.block = block;
    config.net.dropout = 0.3;
    Fixture(config).check_gradients(batch);
  }
}

// Untrained and with a table of zeros every item scores the same; trained it knows the walk.
BOOST_AUTO_TEST_CASE(ranking_tells_chance_from_knowledge) {
  constexpr std::int32_t kItems = 30;
  auto config = small();
  config.net.init_deviation = 0.02;
  const auto shop = shop_of(walks(200, kItems, 1), kItems);
  const SequenceDataset train(shop, {.context = 12});
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 12), {});
  Fixture f(config, kItems);
  for (auto& x : f.model.parameters().find("item_embedding.weight")->value().span<float>()) x = 0;
  models::RankingOptions all;
  all.leave_out_seen = false;
  const models::RankingValidation with_seen(std::make_shared<HeldOut>(shop, Part::kTest, 12), all);
  const auto chance = with_seen.run(f.context, f.model, {.batch = 64});
  BOOST_CHECK_MESSAGE(std::abs(metric(chance, "hr@10") - 10.0 / kItems) < 1e-9, chance.text());
  BOOST_CHECK_MESSAGE(std::abs(chance.loss - std::log(double{kItems})) < 1e-5, chance.text());

  Fixture g(config, kItems);
  g.learn(train, 150);
  const auto learned = test.run(g.context, g.model, {.batch = 7});
  BOOST_CHECK_MESSAGE(metric(learned, "hr@10") > 0.99 && metric(learned, "ndcg@10") > 0.95, learned.text());
  // However the users are cut into batches.
  const auto at_once = test.run(g.context, g.model, {.batch = 1000});
  for (const auto& [name, value] : learned.metrics) BOOST_CHECK_CLOSE(value, metric(at_once, name), 1e-4);
  BOOST_TEST(learned.targets == 200);
  BOOST_TEST(learned.best_by == "ndcg@10");
}

// Items 0, 1, 2 were had 5, 2 and 1 times in training; the held-out ones are 1 (second) and 4 (never had, tied with 3).
BOOST_AUTO_TEST_CASE(popularity_ranks_by_training_events_alone) {
  Context context(Device{}, 1, 1);
  const auto shop = shop_of({{0, 0, 2, 4, 1}, {0, 0, 0, 1, 1, 3, 4}}, 5);
  models::Popularity popularity(5);
  popularity.fit(context, *shop);
  models::RankingOptions options;
  options.cutoffs = {1, 2, 3};
  options.best_by = "hr@1";
  options.leave_out_seen = false;
  std::map<std::int32_t, std::vector<double>> each;
  options.each_user = [&](std::int32_t user, const std::vector<double>& values) { each[user] = values; };
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 12), options);
  const auto e = test.run(context, popularity, {.batch = 1});
  BOOST_CHECK_SMALL(metric(e, "hr@1"), 1e-9);
  BOOST_CHECK_CLOSE(metric(e, "hr@2"), 0.5, 1e-9);
  BOOST_CHECK_CLOSE(metric(e, "hr@3"), 0.5, 1e-9);
  BOOST_CHECK_CLOSE(metric(e, "mrr"), (1.0 / 2 + (1.0 / 4 + 1.0 / 5) / 2) / 2, 1e-9);
  BOOST_REQUIRE_EQUAL(each.size(), 2U);
  BOOST_CHECK_CLOSE(e.loss, -(std::log(3.0 / 13) + std::log(1.0 / 13)) / 2, 1e-4);
}

// Row 0 is a bucket, the most popular of all in training: it takes nobody's place, and is no hit where it is the target.
BOOST_AUTO_TEST_CASE(a_target_without_a_row_of_its_own_is_never_hit) {
  Context context(Device{}, 1, 1);
  Interactions shop = *shop_of({{0, 0, 2, 4, 1}, {0, 0, 0, 1, 1, 3, 0}}, 5);
  Vocabulary names(1);
  for (const char* name : {"a", "b", "c", "d"}) names.add(name);
  shop.items = std::make_shared<const Vocabulary>(names);
  models::Popularity popularity(5);
  popularity.fit(context, shop);
  models::RankingOptions options;
  options.cutoffs = {1, 5};
  options.best_by = "hr@1";
  options.leave_out_seen = false;
  std::map<std::int32_t, std::vector<double>> each;
  options.each_user = [&](std::int32_t user, const std::vector<double>& values) { each[user] = values; };
  const auto held_out = std::make_shared<HeldOut>(std::make_shared<const Interactions>(shop), Part::kTest, 12);
  const auto e = models::RankingValidation(held_out, options).run(context, popularity, {.batch = 2});
  BOOST_CHECK_CLOSE(metric(e, "hr@1"), 0.5, 1e-9);
  BOOST_CHECK_CLOSE(metric(e, "hr@5"), 0.5, 1e-9);
  BOOST_CHECK_CLOSE(metric(e, "mrr"), 0.5, 1e-6);
  BOOST_TEST(each.at(0)[1] == 1.0);
  for (const double value : each.at(1)) BOOST_CHECK_SMALL(value, 1e-8);
}

BOOST_AUTO_TEST_CASE(every_loss_learns_the_walk) {
  constexpr std::int32_t kItems = 30;
  const auto shop = shop_of(walks(200, kItems, 1), kItems);
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 12), {});
  for (const char* loss : {"bce", "gbce", "bpr", "sampled_softmax"})
    for (const bool shared : {false, true}) {
      auto config = small();
      config.net.init_deviation = 0.02;
      config.loss.kind = loss;
      config.loss.negatives_per_position = 4;
      config.loss.shared_negatives = shared;
      const auto wanted = config.negatives();
      Fixture f(config, kItems);
      f.learn(SequenceDataset(shop, {.context = 12, .negatives = wanted}), 150);
      const auto e = test.run(f.context, f.model, {.batch = 64});
      BOOST_CHECK_MESSAGE(metric(e, "ndcg@10") > 0.5, loss << (shared ? ", shared: " : ": ") << e.text());
    }
}

BOOST_AUTO_TEST_CASE(training_the_last_position_of_every_prefix_learns_the_walk) {
  constexpr std::int32_t kItems = 30;
  auto config = small();
  config.net.init_deviation = 0.02;
  config.trained_positions = "last";
  const auto shop = shop_of(walks(60, kItems, 1), kItems);
  Fixture f(config, kItems);
  f.learn(SequenceDataset(shop, {.context = 12, .targets = config.targets()}), 150);
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 12), {});
  const auto e = test.run(f.context, f.model, {.batch = 64});
  BOOST_CHECK_MESSAGE(metric(e, "ndcg@10") > 0.9, e.text());
}

BOOST_AUTO_TEST_CASE(a_metric_that_is_not_measured_cannot_tell_the_best) {
  models::RankingOptions options;
  options.best_by = "ndgc@10";
  const auto held_out = std::make_shared<HeldOut>(shop_of({{1, 2, 3}}, 5), Part::kTest, 3);
  check_throws<ConfigError>([&] { models::RankingValidation(held_out, options); }, {"ndgc@10", "ndcg@10, hr@10"});
}

}  // namespace tradewind::tests
