// HSTU: its layer against golden values, what a row may see of items and times, gradients, and that it learns.
#include "models/recommend/hstu.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <random>

#include "models/recommend/ranking_validation.h"
#include "models/recommend/serve.h"
#include "runtime/core/transfer.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;

models::HstuConfig small(bool times) {
  models::HstuConfig c;
  c.channels = 16;
  c.heads = 2;
  c.attention_channels = 8;
  c.context_length = 12;
  c.dropout = 0;
  c.init_deviation = 0.2;
  c.times = times;
  return c;
}

/// Users with these items, events so many seconds apart.
std::shared_ptr<const Interactions> timed_shop(const std::vector<Ids>& histories, const std::vector<Longs>& seconds,
                                               std::int32_t items) {
  auto shop = std::make_shared<Interactions>(*shop_of(histories, items));
  Longs times;
  for (const auto& user : seconds)
    for (const std::int64_t second : user) times.push_back(second * 1'000'000);
  shop->time = times;
  return shop;
}

using Fixture = RecommenderFixture<models::Hstu>;

}  // namespace

BOOST_AUTO_TEST_CASE(golden_layer) {
  const GoldenTensors golden(golden_path("layers/hstu_layer.safetensors"));
  constexpr std::int64_t T = 7, N = 2 * T, C = 10, kWidth = 36, kBuckets = 24;
  Context context(Device{}, 2, 1);
  models::HstuConfig config;
  config.channels = C;
  config.heads = 2;
  config.attention_channels = 8;
  config.context_length = T;
  config.dropout = 0;
  config.times = true;
  ParameterStore store;
  models::HstuBlock block = models::HstuBlock::make(store, "blocks.0", config);
  block.time_bias = &store.add("fewer_buckets", {kBuckets}, Init::constant(0), false);
  store.allocate(context);
  const auto set = [](const Parameter& p, const std::vector<float>& values, std::int64_t count) {
    std::copy_n(values.begin(), count, p.value().span<float>().begin());
  };
  // uvqk is [in, out] there; of 13 positions causal queries read 7.
  const auto transposed = [](const std::vector<float>& x, std::int64_t rows, std::int64_t columns) {
    std::vector<float> out(x.size());
    for (std::int64_t i = 0; i < rows * columns; ++i)
      out[static_cast<std::size_t>(i % columns * rows + i / columns)] = x[static_cast<std::size_t>(i)];
    return out;
  };
  set(*block.uvqk.weight, transposed(golden.values("uvqk"), C, kWidth), C * kWidth);
  set(*block.out.weight, golden.values("output"), C * C);
  set(*block.out.bias, golden.values("output_bias"), C);
  set(*block.position_bias, golden.values("position_weight"), T);
  set(*block.time_bias, golden.values("time_weight"), kBuckets);

  const auto tensor = [&](const std::vector<float>& values, const Shape& shape) {
    Tensor out = context.tensor(shape);
    std::copy(values.begin(), values.end(), out.span<float>().begin());
    return out;
  };
  const auto& seconds = golden["timestamps"].ints;
  const std::vector<Ids> histories(2, Ids(T, 0));
  std::vector<HistoryTimes> times;
  for (std::int64_t b = 0; b < 2; ++b)  // of the last position the authors' code takes its own time
    times.push_back({.seconds = Longs(seconds.begin() + b * T, seconds.begin() + (b + 1) * T),
                     .request = seconds[static_cast<std::size_t>((b + 1) * T - 1)]});
  const Batch batch = pack_histories(histories, {T, -1, true}, {}, times);
  const auto rows = Sequences::of(batch);

  store.begin_step();
  Tape tape(context, true);
  const Variable x = tape.variable(tensor(golden.values("x"), {N, C}));
  const NormParameters plain{.weight = nullptr, .bias = nullptr, .options = block.norm};
  const Variable branch = block(tape, norm(tape, x, plain), rows, batch["request_times"], batch["times"]);
  const Residual after = residual_norm(tape, x, branch, plain, {}, rows);
  const auto out = after.sum.value().span<float>();
  check_close("out", std::vector<float>(out.begin(), out.end()), golden.values("out"), 1e-5);
  Tensor dx;
  tape.record({}, [&] { tape.contribute(after.sum, tensor(golden.values("grad_out"), {N, C})); });
  // x is a leaf: what has reached it when all nodes have run is its gradient.
  tape.backward();
  const auto got = x.gradient().span<float>();
  check_close("grad_x", std::vector<float>(got.begin(), got.end()), golden.values("grad_x"), 1e-5);
  const auto check = [&](const std::string& what, const Parameter& p, const std::vector<float>& want) {
    const auto gradient = p.gradient().span<float>();
    check_close(what, std::vector<float>(gradient.begin(), gradient.end()), want, 1e-5);
  };
  check("grad_uvqk", *block.uvqk.weight, transposed(golden.values("grad_uvqk"), C, kWidth));
  check("grad_output", *block.out.weight, golden.values("grad_output"));
  check("grad_output_bias", *block.out.bias, golden.values("grad_output_bias"));
  const auto& positions = golden.values("grad_position_weight");
  check("grad_position_weight", *block.position_bias, {positions.begin(), positions.begin() + T});
  check("grad_time_weight", *block.time_bias, golden.values("grad_time_weight"));
}

BOOST_AUTO_TEST_CASE(an_item_or_its_time_changes_no_loss_before_it_by_a_bit) {
  for (const bool request_time : {false, true}) {
    std::vector<Ids> histories{{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}};
    std::vector<Longs> seconds{{0, 5, 90, 91, 4000, 4002, 9000, 9001, 100'000, 100'007, 200'000, 200'001}};
    const auto losses = [&] {
      auto config = small(true);
      config.request_time = request_time;
      Fixture f(config);
      return f.losses(SequenceDataset(timed_shop(histories, seconds, 30), {.context = 12, .times = true})
                          .collate(std::vector<SampleRef>{{0, 0, 0}}));
    };
    const auto before = losses();
    BOOST_REQUIRE_EQUAL(before.size(), 9U);
    seconds[0][9] += 50'000;  // of the last target: read as the time of a request alone
    const auto target_later = losses();
    for (std::size_t i = 0; i < 8; ++i) BOOST_CHECK_EQUAL(before[i], target_later[i]);
    BOOST_CHECK_EQUAL(before[8] != target_later[8], request_time);
    seconds[0][8] += 20'000;  // of the last input
    histories[0][8] = 28;
    const auto after = losses();
    for (std::size_t i = 0; i < 7; ++i) BOOST_CHECK_EQUAL(before[i], after[i]);
    BOOST_CHECK(before[8] != after[8]);
  }
}

BOOST_AUTO_TEST_CASE(gradients_are_the_numeric_ones) {
  Fixture f(small(true));
  const auto shop =
      timed_shop({{1, 2, 3, 4, 5, 6}, {7, 2, 9, 4, 1}}, {{0, 9, 90, 91, 4000, 4002}, {5, 6, 700, 700, 90'000}}, 30);
  const Batch batch =
      SequenceDataset(shop, {.context = 12, .times = true}).collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}});
  auto& store = f.model.parameters();
  f.gradients(batch);
  std::mt19937 engine(5);
  for (const auto& p : store.parameters()) {
    // Along the gradient, lest it be lost in a float32 loss's rounding, with some noise.
    std::vector<float> direction(static_cast<std::size_t>(p->shape().elements())), kept(direction.size());
    double slope = 0, length = 0;
    float* const values = p->value().data<float>();
    const float* const gradient = p->gradient().data<float>();
    double size = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) size += double{gradient[i]} * gradient[i];
    size = std::sqrt(size / static_cast<double>(direction.size()));
    BOOST_CHECK_MESSAGE(size > 0, p->name() << " has no gradient");
    for (std::size_t i = 0; i < direction.size(); ++i) {
      direction[i] = gradient[i] / static_cast<float>(size) + static_cast<float>(engine()) / 2147483648.0F - 1.0F;
      kept[i] = values[i];
      slope += double{direction[i]} * gradient[i];
      length += double{direction[i]} * direction[i];
    }
    const auto h = static_cast<float>(2e-2 / std::sqrt(length));
    const auto at = [&](float by) {
      for (std::size_t i = 0; i < direction.size(); ++i) values[i] = kept[i] + by * direction[i];
      return f.total(batch);
    };
    const double numeric = (at(h) - at(-h)) / (2 * double{h});
    at(0);
    BOOST_CHECK_MESSAGE(std::abs(numeric - slope) <= 2e-2 * std::abs(slope),
                        p->name() << ": numeric " << numeric << ", gradient " << slope);
  }
}

// What comes next is told by the time alone: within a minute of the event before it is item + 1, else item + 2.
BOOST_AUTO_TEST_CASE(times_tell_what_items_do_not) {
  constexpr std::int32_t kItems = 24;
  std::mt19937 engine(3);
  std::vector<Ids> histories;
  std::vector<Longs> seconds;
  for (int user = 0; user < 200; ++user) {
    auto item = static_cast<std::int32_t>(engine() % kItems);
    std::int64_t now = 1'000'000;
    Ids items{item};
    Longs times{now};
    for (int t = 0; t < 9; ++t) {
      const bool soon = engine() % 2 == 0;
      now += soon ? 20 : 40'000;
      times.push_back(now);
      item = (item + (items.size() > 1 && times[times.size() - 2] - times[times.size() - 3] < 60 ? 1 : 2)) % kItems;
      items.push_back(item);
    }
    histories.push_back(items);
    seconds.push_back(times);
  }
  const auto shop = timed_shop(histories, seconds, kItems);
  const auto ndcg = [&](bool times) {
    auto config = small(times);
    config.init_deviation = 0.02;
    Fixture f(config, kItems);
    f.learn(SequenceDataset(shop, {.context = 12, .times = times}), 200);
    models::RankingOptions options;
    options.cutoffs = {1};
    options.best_by = "hr@1";
    return metric(models::RankingValidation(std::make_shared<HeldOut>(shop, Part::kTest, HistoryForm(12, -1, times)), options)
                      .run(f.context, f.model, {.batch = 64}),
                  "hr@1");
  };
  const double with = ndcg(true), without = ndcg(false);
  BOOST_CHECK_MESSAGE(with > 0.9 && without < 0.75, "hr@1 with times " << with << ", without " << without);
}

BOOST_AUTO_TEST_CASE(serving_gives_the_scores_of_ranking) {
  auto config = small(true);
  config.request_time = true;
  Fixture f(config);
  const std::vector<Ids> histories = {{1, 2, 3}, {}, {5}};
  const std::vector<HistoryTimes> times = {
      {.seconds = {1, 2, 300}, .request = 4000}, {.seconds = {}, .request = 4000}, {.seconds = {7}, .request = 4000}};
  const Tensor x = f.model.queries(f.context, pack_histories(histories, {12, -1, true}, {}, times));
  const models::Asked asked{.histories = histories, .users = {}, .times = times};
  const auto best = models::recommend(f.context, f.model, asked, {.top = 1, .history = {12, -1, true}, .allow = {}});
  for (const std::size_t i : {0U, 2U}) {
    const std::vector<models::Pair> pairs{{static_cast<std::int64_t>(i), best[i][0].item}};
    BOOST_CHECK_CLOSE(models::score_pairs(f.context, f.model, asked, pairs, {12, -1, true})[0], best[i][0].score, 1e-3);
  }
  for (std::int64_t c = 0; c < 16; ++c) BOOST_CHECK_EQUAL(x.data<float>()[16 + c], 0.0F);  // nothing is known of nobody
}

BOOST_AUTO_TEST_CASE(settings_that_do_not_go_together_are_refused) {
  auto config = small(false);
  config.heads = 3;
  check_throws<ConfigError>([&] { config.check(); }, {"model.channels = 16", "model.heads = 3"});
  config = small(false);
  config.attention_channels = 7;
  check_throws<ConfigError>([&] { config.check(); }, {"model.attention_channels = 7"});
  config = small(false);
  config.request_time = true;
  check_throws<ConfigError>([&] { config.check(); }, {"model.request_time", "model.times"});
}

}  // namespace tradewind::tests
