// BERT4Rec: what hiding items teaches, and how it is asked.
#include "models/recommend/bert4rec.h"

#include <boost/test/unit_test.hpp>

#include "models/recommend/serve.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;
using Fixture = RecommenderFixture<models::Bert4Rec>;

constexpr std::int32_t kItems = 30;

models::Bert4RecConfig small() {
  models::Bert4RecConfig c;
  c.net.channels = 16;
  c.net.hidden = 32;
  c.net.context_length = 12;
  c.net.dropout = 0;
  c.net.init_deviation = 0.2;
  return c;
}

Batch collated(const std::vector<Ids>& histories, const models::Bert4RecConfig& config, std::uint64_t running = 0) {
  std::vector<SampleRef> samples;
  for (std::size_t i = 0; i < histories.size(); ++i) samples.push_back({running + i, 0, static_cast<std::int64_t>(i)});
  return SequenceDataset(shop_of(histories, kItems), {.context = config.context(), .targets = config.targets()})
      .collate(samples);
}

/// What the loss of only the rows with targets, which training takes, is to agree with: that of all rows.
Batch with_every_row(Batch batch) {
  batch.fields.erase("trained");
  batch.fields.erase("trained_targets");
  return batch;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_hidden_item_is_told_by_what_came_after_it_too) {
  auto config = small();
  config.masked = 0.01;  // one of the eight
  Ids history = {1, 2, 3, 4, 5, 6, 7, 8, 0, 0};
  const auto losses = [&](std::uint64_t running) {
    Fixture f(config);
    return f.losses(collated({history}, config, running));
  };
  const auto place = [&](std::uint64_t running) {
    const auto ids = collated({history}, config, running)["ids"].span<std::int32_t>();
    return std::ranges::find(ids, kItems) - ids.begin();
  };
  std::uint64_t running = 0;
  while (place(running) != 3) ++running;
  const auto before = losses(running);
  BOOST_REQUIRE_EQUAL(before.size(), 1U);
  history[7] = 20;
  BOOST_CHECK_NE(before[0], losses(running)[0]);
  history[7] = 8;
  history[8] = 25;  // held out
  BOOST_CHECK_EQUAL(before[0], losses(running)[0]);
}

BOOST_AUTO_TEST_CASE(rows_without_a_target_change_neither_loss_nor_gradient) {
  const auto config = small();
  const Batch some = collated({{1, 2, 3, 4, 5, 6, 7}, {9, 8, 7, 6, 5}, {4, 5, 6, 7}}, config);
  BOOST_REQUIRE_GT(some["ids"].elements(), some["trained"].elements());
  const auto gradients = [&](const Batch& batch, float left_over) {
    Fixture f(config);
    f.context.step_state().loss_scale[0] = 1;
    f.model.parameters().gradients().fill(left_over);  // of a step before
    f.model.parameters().begin_step();
    Tape tape(f.context, true);
    const auto losses = f.model.forward(tape, batch).loss;
    tape.backward();
    f.model.parameters().finish_gradients();
    double sum = 0;
    for (const float loss : losses.span<float>()) sum += loss;
    std::vector<double> out{sum};
    for (const auto& p : f.model.parameters().parameters())
      for (const float g : p->gradient().span<float>()) out.push_back(g);
    return out;
  };
  check_close("loss and gradients", gradients(some, 3), gradients(with_every_row(some), 0), 1e-6);
}

BOOST_AUTO_TEST_CASE(gradients_are_the_numeric_ones) {
  auto config = small();
  config.net.dropout = 0.3;
  Fixture(config).check_gradients(collated({{1, 2, 3, 4, 5, 6, 7, 8}, {7, 2, 9, 4, 1}}, config));
}

BOOST_AUTO_TEST_CASE(it_learns_the_walk_and_never_answers_with_the_mask) {
  auto config = small();
  config.net.init_deviation = 0.02;
  config.net.context_length = 8;  // so that training meets every position
  const auto shop = shop_of(walks(200, kItems, 1), kItems);
  Fixture f(config);
  f.learn(SequenceDataset(shop, {.context = 8, .targets = config.targets()}), 200);
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, config.history(kItems)), {});
  const auto e = test.run(f.context, f.model, {.batch = 64});
  BOOST_CHECK_MESSAGE(metric(e, "ndcg@10") > 0.9, e.text());
  const std::vector<Ids> ask = {{3, 4, 5, 6}, {28, 29, 0}};
  const auto best = models::recommend(f.context, f.model, {.histories = ask, .users = {}},
                                      {.top = kItems, .history = config.history(kItems), .leave_out_seen = false, .allow = {}});
  for (const auto& answer : best) {
    BOOST_CHECK_EQUAL(answer.size(), static_cast<std::size_t>(kItems));
    for (const auto& scored : answer) BOOST_CHECK_LT(scored.item, kItems);
  }
  BOOST_CHECK_EQUAL(best[0][0].item, 7);
  BOOST_CHECK_EQUAL(best[1][0].item, 1);
}

BOOST_AUTO_TEST_CASE(positions_count_from_the_mask_where_the_config_says_so) {
  auto config = small();
  BOOST_TEST(!config.history(kItems).from_newest);
  config.net.positions = "newest";
  BOOST_TEST(config.history(kItems).from_newest);
  BOOST_TEST(config.history(kItems).mask == kItems);
}

BOOST_AUTO_TEST_CASE(a_context_without_room_for_an_item_is_refused) {
  auto config = small();
  config.net.context_length = 1;
  check_throws<ConfigError>([&] { config.check(); }, {"model.context", "2 or more"});
}

}  // namespace tradewind::tests
