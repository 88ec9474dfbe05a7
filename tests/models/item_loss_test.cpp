// What recommenders are trained on, beside the kernels' own tests: which negatives, and that sampled softmax stands for the
// full one however they are drawn.
#include "models/recommend/item_loss.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "runtime/data/sequence_dataset.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT

constexpr std::int64_t kItems = 30, kChannels = 8;

/// Item i is i + 1 times in training, so some are drawn thirty times as often as others.
std::shared_ptr<const Interactions> uneven_shop() {
  std::vector<std::vector<std::int32_t>> histories(20);
  for (std::int32_t item = 0; item < kItems; ++item)
    for (std::int32_t i = 0; i <= item; ++i) histories[static_cast<std::size_t>((item * 7 + i * 3) % 20)].push_back(item);
  for (auto& history : histories) history.insert(history.end(), {15, 15});  // what is held out
  return shop_of(histories, kItems);
}

struct Fixture {
  Context context{{}, 2, 1};
  ParameterStore store;
  Parameter& table = store.add("table", {kItems, kChannels}, Init::normal(0.5F), true);
  std::shared_ptr<const Interactions> shop = uneven_shop();
  Fixture() { store.allocate(context); }

  Batch batch_of(const models::ItemLoss& loss, std::uint64_t running) const {
    const SequenceDataset data(shop, {.context = 4, .negatives = loss.negatives(), .seed = 2});
    std::vector<SampleRef> samples;
    for (std::int64_t i = 0; i < data.samples_per_epoch(); ++i)
      samples.push_back({running + static_cast<std::uint64_t>(i), 0, i});
    return data.collate(samples);
  }
  /// Of rows that the batch does not depend on.
  std::vector<float> losses(const models::ItemLoss& loss, const Batch& batch) {
    const Tensor x = context.tensor({batch["ids"].elements(), kChannels});
    std::ranges::copy(random_values(static_cast<std::size_t>(x.elements()), 3), x.data<float>());
    Tape tape(context, false);
    const Tensor out = loss(tape, tape.constant(x), table, nullptr, batch).loss;
    return {out.span<float>().begin(), out.span<float>().end()};
  }
};

}  // namespace

// With n draws of q the sampled softmax has, where hits are left out and q is known,
//   log(1 / q[t] + n (1 - p[t]) / p[t]) + log q[t]
// for its mean, p the full softmax; without the correction another one.
BOOST_AUTO_TEST_CASE(sampled_softmax_stands_for_the_full_one_where_it_knows_how_negatives_are_drawn) {
  Fixture f;
  models::ItemLoss full;
  const Batch plain = f.batch_of(full, 0);
  const auto exact = f.losses(full, plain);
  const auto targets = plain["targets"].span<std::int32_t>();
  for (const bool correct : {true, false}) {
    models::ItemLoss sampled;
    sampled.kind = "sampled_softmax";
    sampled.sampling = "popularity";
    sampled.popularity_exponent = 1;
    sampled.shared_negatives = true;
    sampled.negatives_per_position = 400'000;
    sampled.correct_sampling = correct;
    const Batch batch = f.batch_of(sampled, 100);
    BOOST_REQUIRE(batch.fields.contains("log_q") == correct);
    const auto got = f.losses(sampled, batch);
    sampled.correct_sampling = true;
    const Tensor log_q = f.batch_of(sampled, 100)["log_q"];
    double worst = 0;
    for (std::size_t row = 0; row < got.size(); ++row) {
      const double log_of_target = log_q.data<float>()[targets[row]], q = std::exp(log_of_target);
      const double p = std::exp(-static_cast<double>(exact[row]));
      const double expected = std::log(1 / q + 400'000 * (1 - p) / p) + log_of_target;
      const double error = std::abs(got[row] - expected);
      if (!(error <= worst)) worst = error;
    }
    if (correct)
      BOOST_CHECK_MESSAGE(worst < 0.05, "off by " << worst);
    else
      BOOST_CHECK_MESSAGE(worst > 0.5, "off by " << worst << " alone");
  }
}

// The negatives of a row are the other rows' targets but those that are its own.
BOOST_AUTO_TEST_CASE(in_batch_takes_the_other_rows_targets) {
  Fixture f;
  models::ItemLoss loss;
  loss.kind = "sampled_softmax";
  loss.sampling = "in_batch";
  const Batch batch = f.batch_of(loss, 0);
  const auto got = f.losses(loss, batch);
  const auto targets = batch["targets"].span<std::int32_t>();
  const Tensor log_q = batch["log_q"];
  const auto x = random_values(got.size() * kChannels, 3);
  for (std::size_t row = 0; row < got.size(); ++row) {
    const auto score = [&](std::int32_t item) {
      double z = -log_q.data<float>()[item];
      for (std::size_t c = 0; c < kChannels; ++c)
        z += double{x[row * kChannels + c]} * f.table.value().data<float>()[static_cast<std::size_t>(item) * kChannels + c];
      return z;
    };
    const double target = score(targets[row]);
    double sum = std::exp(target);
    for (const std::int32_t other : targets)
      if (other != targets[row]) sum += std::exp(score(other));
    BOOST_CHECK_SMALL(got[row] - (std::log(sum) - target), 1e-4);
  }
}

// Each target against its own, against those drawn for it, against a set, or against all targets of the micro-batch.
BOOST_AUTO_TEST_CASE(flops_are_of_the_scores_that_a_batch_asks_for) {
  const Fixture f;
  models::ItemLoss loss;
  loss.negatives_per_position = 7;
  const Work none = Work::of(f.batch_of(loss, 0));
  BOOST_TEST(none.negatives == 0);
  const std::int64_t T = none.targets;
  const auto check = [&](std::int64_t negatives) {
    const Work work = Work::of(f.batch_of(loss, 0));
    BOOST_TEST(work.negatives == negatives);
    CostEstimate cost{.flops_per_row = 5, .sample = {.rows = T, .pairs = T, .targets = T}};
    loss.add_cost(cost, kItems, kChannels);
    BOOST_TEST(cost.forward_flops(work) == 5.0 * static_cast<double>(work.rows) + 16.0 * static_cast<double>(T + negatives));
    // As a plan counts the same micro-batch.
    BOOST_TEST(cost.work(1).negatives == negatives);
  };
  loss.kind = "bce";
  check(T * 7);
  loss.shared_negatives = true;
  check(T * 7);
  loss.shared_negatives = false;
  loss.sampling = "in_batch";
  check(T * T);
  CostEstimate full{};
  models::ItemLoss().add_cost(full, kItems, kChannels);
  BOOST_TEST(full.flops_per_target == 2.0 * kItems * kChannels);
  BOOST_CHECK(full.flops_per_negative == 0 && full.candidates.rows == 0 && full.softmax.classes == kItems);
}

// gBCE's beta is of how many items there are, which a table may have more rows than: BERT4Rec's has the mask's.
BOOST_AUTO_TEST_CASE(rows_that_are_no_items_do_not_change_gbce) {
  Fixture f;
  models::ItemLoss loss;
  loss.kind = "gbce";
  loss.negatives_per_position = 5;
  loss.calibration = 1;
  const Batch batch = f.batch_of(loss, 0);
  const Tensor x = f.context.tensor({batch["ids"].elements(), kChannels});
  std::ranges::copy(random_values(static_cast<std::size_t>(x.elements()), 3), x.data<float>());
  const auto beta_of = [&](std::int64_t items) {
    Tape tape(f.context, false);
    const Tensor got = loss(tape, tape.constant(x), f.table, nullptr, batch, items).loss;
    models::ItemLoss plain = loss;
    plain.calibration = 0;  // beta 1
    const Tensor with_one = plain(tape, tape.constant(x), f.table, nullptr, batch, items).loss;
    // mean over 1 + present negatives of beta softplus(-z) and the others: the first alone differs.
    double positive = 0;
    for (std::int64_t c = 0; c < kChannels; ++c)
      positive +=
          double{x.data<float>()[c]} * f.table.value().data<float>()[batch["targets"].data<std::int32_t>()[0] * kChannels + c];
    return 1 + (double{got.data<float>()[0]} - with_one.data<float>()[0]) * 6 / std::log1p(std::exp(-positive));
  };
  BOOST_CHECK_SMALL(beta_of(0) - kernels::gbce_beta(5, kItems, 1), 1e-4);
  BOOST_CHECK_SMALL(beta_of(kItems - 1) - kernels::gbce_beta(5, kItems - 1, 1), 1e-4);
  BOOST_CHECK(std::abs(kernels::gbce_beta(5, kItems, 1) - kernels::gbce_beta(5, kItems - 1, 1)) > 1e-3);
}

BOOST_AUTO_TEST_CASE(keys_say_what_is_drawn) {
  models::ItemLoss loss;
  BOOST_TEST(loss.negatives().count == 0);
  loss.kind = "bce";
  BOOST_TEST(loss.negatives().by_position());
  BOOST_TEST(!loss.negatives().log_q);  // a correction of the softmax alone
  loss.sampling = "in_batch";
  BOOST_TEST(loss.negatives().in_batch());
  loss.kind = "softmax";
  BOOST_TEST(!loss.negatives().in_batch());
}

}  // namespace tradewind::tests
