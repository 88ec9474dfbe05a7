// GRU4Rec and LSTM.
#include "models/recommend/recurrent.h"

#include <boost/test/unit_test.hpp>
#include <numeric>

#include "models/recommend/ranking_validation.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/differences.h"
#include "tests/support/histories.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using kernels::RecurrentKind;
using Fixture = RecommenderFixture<models::RecurrentRecommender>;
using Ids = std::vector<std::int32_t>;

constexpr RecurrentKind kKinds[] = {RecurrentKind::kGru, RecurrentKind::kLstm};

models::RecurrentConfig small(RecurrentKind kind) {
  models::RecurrentConfig c(kind);
  c.layers = 2;
  c.channels = 10;
  c.hidden = 12;
  c.context_length = 12;
  c.init_deviation = 0.5;
  return c;
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_item_changes_no_loss_before_it_by_a_bit) {
  for (const RecurrentKind kind : kKinds) {
    auto histories = walks(1, 30, 4);
    histories[0].resize(12);
    std::iota(histories[0].begin(), histories[0].end(), 3);
    const auto losses = [&] {
      Fixture f(small(kind));
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
}

// A history's vector beside longer and shorter ones, and one without items, is what it is alone.
BOOST_AUTO_TEST_CASE(histories_do_not_see_each_other) {
  for (const RecurrentKind kind : kKinds) {
    Fixture f(small(kind));
    f.context.set_stable_rows(true);
    const std::vector<Ids> some = {{1, 2}, {}, {3, 4, 5, 6, 7}, {8}, {9, 1, 2}}, none = {{}, {}};
    const Tensor together = f.model.queries(f.context, pack_histories(some, 12));
    for (std::size_t s = 0; s < some.size(); ++s) {
      const Tensor alone = f.model.queries(f.context, pack_histories(std::vector<Ids>{some[s]}, 12));
      for (std::size_t c = 0; c < 10; ++c) BOOST_CHECK_EQUAL(together.data<float>()[s * 10 + c], alone.data<float>()[c]);
    }
    BOOST_CHECK_EQUAL(together.data<float>()[10], 0.0F);
    BOOST_CHECK_EQUAL(f.model.queries(f.context, pack_histories(none, 12)).data<float>()[3], 0.0F);
  }
}

BOOST_AUTO_TEST_CASE(queries_and_item_vectors_are_what_the_loss_is_of) {
  for (const RecurrentKind kind : kKinds) {
    Fixture f(small(kind));
    const auto shop = shop_of({{1, 2, 3, 4, 5, 6, 7}, {9, 8, 7, 6, 5}, {4, 5}}, 30);
    const Batch batch = SequenceDataset(shop, {.context = 12}).collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}, {2, 0, 2}});
    f.check_losses_are_of_the_served_vectors(batch);
  }
}

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences) {
  for (const RecurrentKind kind : kKinds) {
    Fixture f(small(kind));
    const Batch batch = SequenceDataset(shop_of({{1, 2, 3, 4, 5, 6}, {7, 2, 9, 4, 1}}, 30), {.context = 12})
                            .collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}});
    f.gradients(batch, 0.2F);
    for (const auto& p : f.model.parameters().parameters())
      check_differences(*p, 11, 5e-4, [&] {
        const auto losses = f.losses(batch);
        return 0.2 * std::accumulate(losses.begin(), losses.end(), 0.0);
      });
  }
}

BOOST_AUTO_TEST_CASE(dropout_changes_the_training_alone) {
  auto config = small(RecurrentKind::kGru);
  const Batch batch =
      SequenceDataset(shop_of({{1, 2, 3, 4, 5, 6, 7}}, 30), {.context = 12}).collate(std::vector<SampleRef>{{0, 0, 0}});
  const auto first_loss = [&](bool training) {
    Fixture f(config);
    f.context.step_state().loss_scale[0] = 1;
    Tape tape(f.context, training);
    f.model.parameters().begin_step();
    const auto losses = f.model.forward(tape, batch).loss.span<float>();
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  };
  const double without = first_loss(true);
  BOOST_CHECK_EQUAL(first_loss(false), without);
  for (double* p : {&config.embedding_dropout, &config.dropout}) {
    *p = 0.5;
    BOOST_CHECK(first_loss(true) != without);
    BOOST_CHECK_EQUAL(first_loss(false), without);
    *p = 0;
  }
}

BOOST_AUTO_TEST_CASE(every_loss_learns_the_walk) {
  constexpr std::int32_t kItems = 30;
  const auto shop = shop_of(walks(200, kItems, 1), kItems);
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 12), {});
  for (const RecurrentKind kind : kKinds)
    for (const char* loss : {"softmax", "bce", "sampled_softmax"}) {
      models::RecurrentConfig config(kind);
      config.channels = 16;
      config.context_length = 12;
      config.loss.kind = loss;
      config.loss.negatives_per_position = 4;
      const auto wanted = config.negatives();
      Fixture f(config, kItems);
      f.learn(SequenceDataset(shop, {.context = 12, .negatives = wanted}), 300);
      const auto e = test.run(f.context, f.model, {.batch = 64});
      BOOST_CHECK_MESSAGE(metric(e, "ndcg@10") > (config.loss.kind == "softmax" ? 0.95 : 0.5), loss << ": " << e.text());
    }
}

}  // namespace tradewind::tests
