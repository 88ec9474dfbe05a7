// Linear + softmax over bags of items: the mean of all so far and its gradient, the loss by the definition, and that it learns.
#include "models/recommend/linear.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <random>

#include "models/recommend/ranking_validation.h"
#include "runtime/ops/prefix_mean.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/differences.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;

models::LinearConfig small() {
  models::LinearConfig c;
  c.channels = 12, c.context_length = 12;
  c.init_deviation = 0.3;
  return c;
}

using Fixture = RecommenderFixture<models::Linear>;

}  // namespace

// Widths of one head and of several, one that 128 does not divide; windows; sequences of no, one and many rows.
BOOST_AUTO_TEST_CASE(means_of_all_so_far_and_their_gradients) {
  const std::vector<std::int64_t> lengths = {1, 0, 5, 130};
  using Case = std::pair<std::int64_t, std::int64_t>;
  for (const auto& [C, window] : {Case{1, 0}, {12, 0}, {128, 0}, {192, 0}, {131, 0}, {12, 1}, {12, 4}, {192, 70}}) {
    Context context(Device{}, 2, 1);
    std::vector<Ids> histories(lengths.size());
    for (std::size_t i = 0; i < lengths.size(); ++i) histories[i].resize(static_cast<std::size_t>(lengths[i]));
    const auto rows = Sequences::of(pack_histories(histories, 1000));
    const std::int64_t N = 136;
    ParameterStore store;
    Parameter& table = store.add("x", {N, C}, Init::normal(1), false);
    store.allocate(context);
    const auto weights = random_values(static_cast<std::size_t>(N * C), 3);
    const Tensor ids(host_allocator(), {N}, DType::kInt32);
    std::iota(ids.data<std::int32_t>(), ids.data<std::int32_t>() + N, 0);
    store.begin_step();
    Tape tape(context, true);
    const Variable x = embedding(tape, table, ids);
    const Variable y = prefix_mean(tape, x, rows, window);
    const auto [dy, write] = tape.gradient_of(y);
    std::copy(weights.begin(), weights.end(), dy.data<float>());
    tape.backward();
    store.finish_gradients();
    double worst = 0;
    const auto* offsets = rows.host_offsets.data<std::int64_t>();
    const std::int64_t W = window == 0 ? N : window;
    for (std::size_t s = 0; s < lengths.size(); ++s)
      for (std::int64_t c = 0; c < C; ++c)
        for (std::int64_t n = offsets[s]; n < offsets[s + 1]; ++n) {
          double mean = 0, from_later = 0;
          const auto seen_by = [&](std::int64_t m) { return static_cast<double>(std::min(m - offsets[s] + 1, W)); };
          for (std::int64_t m = std::max(offsets[s], n - W + 1); m <= n; ++m)
            mean += table.value().data<float>()[m * C + c] / seen_by(n);
          for (std::int64_t m = n; m < std::min(offsets[s + 1], n + W); ++m)
            from_later += weights[static_cast<std::size_t>(m * C + c)] / seen_by(m);
          for (const double error : {std::abs(y.value().data<float>()[n * C + c] - mean),
                                     std::abs(table.gradient().data<float>()[n * C + c] - from_later)})
            if (!(error <= worst)) worst = error;
        }
    BOOST_CHECK_MESSAGE(!!(worst <= 1e-5), "C " << C << ", window " << window << ": off by " << worst);
  }
}

BOOST_AUTO_TEST_CASE(the_loss_is_a_softmax_over_the_bag) {
  Fixture f(small());
  auto& store = f.model.parameters();
  int at = 0;
  for (auto& x : store.find("head.bias")->value().span<float>()) x = 0.1F * static_cast<float>(at++ % 7);
  const Batch batch = SequenceDataset(shop_of({{1, 2, 3, 4, 5, 6, 7}, {9, 8, 7, 6, 5}, {4, 5}}, 30), {.context = 12})
                          .collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}, {2, 0, 2}});
  const auto losses = f.losses(batch);
  const auto* offsets = batch["offsets"].data<std::int64_t>();
  const auto* ids = batch["ids"].data<std::int32_t>();
  const float *E = store.find("item_embedding.weight")->value().data<float>(),
              *W = store.find("head.weight")->value().data<float>(), *b = store.find("head.bias")->value().data<float>();
  const Tensor queries = f.model.queries(f.context, batch);
  for (std::int64_t s = 0; s < 3; ++s)
    for (std::int64_t n = offsets[s]; n < offsets[s + 1]; ++n) {
      std::vector<double> bag(12);
      for (std::int64_t c = 0; c < 12; ++c)
        for (std::int64_t m = offsets[s]; m <= n; ++m) bag[c] += E[ids[m] * 12 + c] / static_cast<double>(n - offsets[s] + 1);
      double sum = 0, target = 0;
      for (std::int64_t v = 0; v < 30; ++v) {
        double z = b[v];
        for (std::int64_t c = 0; c < 12; ++c) z += bag[c] * W[v * 12 + c];
        sum += std::exp(z);
        if (v == batch["targets"].data<std::int32_t>()[n]) target = z;
      }
      const double want = std::log(sum) - target, got = losses[static_cast<std::size_t>(n)];
      BOOST_CHECK_MESSAGE(std::abs(got - want) <= 1e-5, "row " << n << ": " << got << " is not " << want);
      if (n + 1 == offsets[s + 1])
        for (std::int64_t c = 0; c < 12; ++c) BOOST_CHECK_SMALL(queries.data<float>()[s * 12 + c] - bag[c], 1e-5);
    }
}

BOOST_AUTO_TEST_CASE(gradients_are_the_numeric_ones) {
  Fixture f(small());
  const Batch batch = SequenceDataset(shop_of({{1, 2, 3, 4, 5, 6}, {7, 2, 9, 4, 1}}, 30), {.context = 12})
                          .collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}});
  f.gradients(batch);
  for (const auto& p : f.model.parameters().parameters()) check_differences(*p, 11, 2e-3, [&] { return f.total(batch); });
}

// Two crowds that like other halves of the shop, in any order.
BOOST_AUTO_TEST_CASE(it_learns_what_goes_together) {
  std::mt19937 engine(1);
  std::vector<Ids> histories;
  for (std::int32_t u = 0; u < 120; ++u) {
    Ids half(15);
    std::iota(half.begin(), half.end(), u % 2 * 15);
    std::ranges::shuffle(half, engine);
    half.resize(8);
    histories.push_back(half);
  }
  const auto shop = shop_of(histories, 30);
  const SequenceDataset data(shop, {.context = 12});
  auto config = small();
  config.dropout = 0.1;
  Fixture f(config);
  f.learn(data, 100, 2e-2F);
  const models::RankingValidation test(std::make_shared<HeldOut>(shop, Part::kTest, 12), {});
  const auto e = test.run(f.context, f.model, {.batch = 50});
  // Eight of each half are left.
  BOOST_CHECK_MESSAGE(e.metrics.at(1).first == "hr@10" && e.metrics.at(1).second > 0.99, e.text());
}

}  // namespace tradewind::tests
