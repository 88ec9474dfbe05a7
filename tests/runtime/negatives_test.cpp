#include "runtime/data/negatives.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/support/histories.h"

using namespace tradewind;
using namespace tradewind::runtime;
using Ids = std::vector<std::int32_t>;

namespace {

/// Pearson's statistic of `counts` against `probabilities`, and the normal deviate that it stands for (Wilson & Hilferty 1931);
/// where nothing is expected nothing may be.
double deviate(const std::vector<std::int64_t>& counts, const std::vector<double>& probabilities) {
  const auto draws = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double statistic = 0, freedom = -1;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = draws * probabilities[i];
    if (expected == 0) {
      BOOST_TEST(counts[i] == 0);
      continue;
    }
    BOOST_TEST(expected >= 5.0);  // or the statistic is none
    statistic += (static_cast<double>(counts[i]) - expected) * (static_cast<double>(counts[i]) - expected) / expected;
    freedom += 1;
  }
  const double spread = 2 / (9 * freedom);
  return (std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(spread);
}

std::vector<double> normalised(std::vector<double> weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// User u has item u % 8 u + 1 times, so that items differ in how often they are bought; the last user is new to all but item
/// 0.
std::shared_ptr<const Interactions> uneven_shop() {
  std::vector<Ids> histories;
  for (std::int32_t user = 0; user < 16; ++user)
    histories.emplace_back(static_cast<std::size_t>(user) + 3, user % 8);  // the last two are held out
  histories.push_back({0, 3, 9, 9});
  return tests::shop_of(histories, 10);
}

/// Of uneven_shop()'s training events.
std::vector<double> training_counts() {
  std::vector<double> out(10, 0);
  for (std::size_t user = 0; user < 16; ++user) out[user % 8] += static_cast<double>(user) + 1;
  out[0] += 1, out[3] += 1;
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_alias_table_draws_what_it_says) {
  std::mt19937_64 random(5);
  for (const std::vector<double>& weights :
       {std::vector<double>{3}, {0, 1}, {1, 0, 0, 2}, {1, 1, 1}, {0.01, 5, 2.5, 1e3, 0, 40, 7}, {1e-3, 0, 1e-3}}) {
    const AliasTable table(weights);
    const auto expected = normalised(weights);
    const auto said = table.log_probability();
    std::vector<double> exact(weights.size(), 0);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      exact[i] = weights[i] == 0 ? 0 : std::exp(static_cast<double>(said[i]));
      BOOST_TEST(std::abs(exact[i] - expected[i]) < 1e-6 * expected[i] + 1e-9);
      BOOST_TEST(std::isfinite(said[i]));
    }
    std::vector<std::int64_t> counts(weights.size());
    for (int i = 0; i < 2'000'000; ++i) {
      const std::uint64_t column = random(), threshold = random();
      ++counts[static_cast<std::size_t>(table.draw(column, threshold))];
    }
    if (std::ranges::count_if(weights, [](double w) { return w > 0; }) > 1) BOOST_TEST(std::abs(deviate(counts, exact)) < 4);
  }
}

// Every part of the two axes, column and threshold, is looked at: the share of each number is exact, not only likely.
BOOST_AUTO_TEST_CASE(an_alias_table_shares_out_its_columns_exactly) {
  const std::vector<double> weights = {1, 2, 3, 4, 6};
  const AliasTable table(weights);
  std::vector<double> share(weights.size(), 0);
  constexpr int kSteps = 1 << 14;
  for (std::uint64_t column = 0; column < weights.size(); ++column)
    for (std::uint64_t step = 0; step < kSteps; ++step) {
      const std::uint64_t within = (UINT64_MAX / weights.size()) * column + (UINT64_MAX / weights.size()) / 2;
      share[static_cast<std::size_t>(table.draw(within, step << 50))] += 1.0 / (kSteps * static_cast<double>(weights.size()));
    }
  for (std::size_t i = 0; i < weights.size(); ++i) BOOST_TEST(std::abs(share[i] - weights[i] / 16) < 1e-3);
}

BOOST_AUTO_TEST_CASE(popular_items_are_drawn_as_their_training_counts_to_the_power_say) {
  const auto shop = uneven_shop();
  const Ids users = {16};
  for (const double exponent : {1.0, 0.75, 0.0}) {
    const NegativeSampler sampler(shop, users,
                                  {.count = 4, .kind = NegativeKind::kPopularity, .exponent = exponent, .log_q = true}, 3);
    std::vector<double> expected = training_counts();
    for (double& count : expected) count = count == 0 ? 0 : std::pow(count, exponent);
    const auto q = normalised(expected);
    for (std::size_t i = 0; i < q.size(); ++i)
      if (q[i] > 0) BOOST_TEST(std::abs(sampler.log_q().data<float>()[i] - std::log(q[i])) < 1e-5);
    expected[0] = expected[3] = 0;  // user 16 has had them
    std::vector<std::int64_t> counts(10);
    Ids drawn(4);
    for (std::uint64_t sample = 0; sample < 20'000; ++sample)
      for (std::int64_t position = 0; position < 3; ++position) {
        sampler.draw(drawn, 16, sample, position);
        for (const std::int32_t item : drawn) ++counts[static_cast<std::size_t>(item)];
      }
    BOOST_TEST(std::abs(deviate(counts, normalised(expected))) < 4, "exponent " << exponent);
  }
}

BOOST_AUTO_TEST_CASE(a_set_is_drawn_from_all_items) {
  const auto shop = uneven_shop();
  for (const NegativeKind kind : {NegativeKind::kUniform, NegativeKind::kPopularity}) {
    const NegativeSampler sampler(shop, {}, {.count = 100, .shared = true, .kind = kind, .exponent = 1}, 3);
    std::vector<std::int64_t> counts(10);
    Ids drawn(100);
    for (std::uint64_t sample = 0; sample < 2'000; ++sample) {
      sampler.draw_set(drawn, sample);
      for (const std::int32_t item : drawn) ++counts[static_cast<std::size_t>(item)];
    }
    const auto expected = kind == NegativeKind::kUniform ? std::vector<double>(10, 1) : training_counts();
    BOOST_TEST(std::abs(deviate(counts, normalised(expected))) < 4);
  }
}

// A user who has had all that is popular: what is left is found, if not as it would be drawn.
BOOST_AUTO_TEST_CASE(there_is_a_negative_for_whoever_has_had_nearly_everything) {
  const auto shop = tests::shop_of({{0, 1, 2, 0, 1, 2, 0, 0}, {3, 4}}, 6);
  const Ids users = {0};
  const NegativeSampler sampler(shop, users, {.count = 50, .kind = NegativeKind::kPopularity}, 3);
  Ids drawn(50);
  sampler.draw(drawn, 0, 7, 0);
  BOOST_TEST(std::ranges::all_of(drawn, [](std::int32_t item) { return item == 3 || item == 4; }));
  const auto narrow = tests::shop_of({{0, 1, 2, 0, 1, 2, 0, 0}}, 4);
  NegativeSampler(narrow, users, {.count = 50, .kind = NegativeKind::kPopularity}, 3).draw(drawn, 0, 7, 0);
  BOOST_TEST(std::ranges::all_of(drawn, [](std::int32_t item) { return item == 3; }));  // which nobody had
}
