#include "kernels/sampling.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using kernels::Launch;
using kernels::SamplingOptions;
using kernels::StepState;

struct Rows {
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  kernels::RowKeys keys() const { return {sample.data(), position.data()}; }
};

Rows rows(std::int64_t N) {
  Rows out{std::vector<std::uint64_t>(N), std::vector<std::int32_t>(N)};
  for (std::int64_t n = 0; n < N; ++n) out.sample[n] = (std::uint64_t{1} << 40) + n / 10, out.position[n] = n % 10;
  return out;
}

std::vector<std::int32_t> sample(const std::vector<float>& logits, std::int64_t V, const SamplingOptions& options,
                                 int threads = 2, std::uint64_t seed = 7) {
  const auto N = static_cast<std::int64_t>(logits.size()) / V;
  const Rows keys = rows(N);
  StepState step;
  step.seed = seed;
  Launch launch;
  launch.threads = threads;
  launch.step = &step;
  std::vector<std::int32_t> next(N);
  kernels::sample(next.data(), logits.data(), N, V, keys.keys(), options, launch);
  return next;
}

std::vector<float> repeat(const std::vector<float>& row, std::int64_t N) {
  std::vector<float> out;
  for (std::int64_t n = 0; n < N; ++n) out.insert(out.end(), row.begin(), row.end());
  return out;
}

// The probability of each id by the words of the contract, everything sorted, in float64.
std::vector<double> probabilities(const std::vector<float>& row, const SamplingOptions& o) {
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  if (o.top_k > 0 && static_cast<std::size_t>(o.top_k) < order.size()) order.resize(o.top_k);
  std::vector<double> weight(row.size());
  double total = 0, sum = 0;
  for (const auto v : order) total += weight[v] = std::exp((static_cast<double>(row[v]) - row[order[0]]) / o.temperature);
  std::size_t kept = 0;
  while (kept < order.size() && (kept == 0 || sum < o.top_p * total)) sum += weight[order[kept++]];
  std::vector<double> out(row.size());
  for (std::size_t i = 0; i < kept; ++i) out[order[i]] = weight[order[i]] / sum;
  return out;
}

BOOST_AUTO_TEST_CASE(greedy_takes_the_largest_and_of_equals_the_first) {
  const std::vector<float> logits = {1, 3, 3, 2, 5, 5, -INFINITY, 5, -1, -2, -3, -1};
  std::vector<std::int32_t> next(3);
  kernels::sample(next.data(), logits.data(), 3, 4, {}, {.temperature = 0}, {});  // neither step nor keys
  BOOST_CHECK((next == std::vector<std::int32_t>{1, 0, 0}));
}

// Deterministic: the seed is fixed, so the statistic is one number. 99.9 % of honest samplers stay below the bound.
BOOST_AUTO_TEST_CASE(draws_follow_the_probabilities) {
  const std::vector<float> row = {0.3F, -1, 2, 2, 0.5F, -INFINITY, 1.1F, -3, 0.7F, 2};
  const std::int64_t N = 60000;
  for (const SamplingOptions& options : {SamplingOptions{},
                                         {.temperature = 0.5F},
                                         {.temperature = 3},
                                         {.top_k = 3},
                                         {.top_k = 2},
                                         {.top_p = 0.9F},
                                         {.top_p = 0.5F},
                                         {.temperature = 2, .top_k = 6, .top_p = 0.8F, .purpose = 9}}) {
    const auto p = probabilities(row, options);
    std::vector<double> count(row.size());
    for (const auto id : sample(repeat(row, N), 10, options)) ++count[id];
    double chi_square = 0;
    int freedom = -1;
    for (std::size_t v = 0; v < row.size(); ++v) {
      if (p[v] == 0) {
        BOOST_CHECK_EQUAL(count[v], 0);
        continue;
      }
      chi_square += (count[v] - N * p[v]) * (count[v] - N * p[v]) / (N * p[v]);
      ++freedom;
    }
    constexpr double kBound[] = {1e-9, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88};
    BOOST_CHECK_MESSAGE(chi_square <= kBound[freedom],
                        "chi square " << chi_square << " with " << freedom << " degrees of freedom");
  }
}

// Every draw is the one that the sorted cumulative sum gives, also deep into a large vocabulary.
BOOST_AUTO_TEST_CASE(draws_invert_the_sorted_cumulative_sum) {
  const std::int64_t V = 5000, N = 300;
  auto logits = random_values(N * V, 3);
  for (auto& z : logits) z = std::round(z * 8) / 8;  // many ties
  for (const SamplingOptions& options : {SamplingOptions{}, {.top_k = 700}, {.top_p = 0.7F}, {.temperature = 0.1F}}) {
    const auto next = sample(logits, V, options, 2, 11);
    const Rows keys = rows(N);
    for (std::int64_t n = 0; n < N; ++n) {
      const std::vector<float> row(logits.begin() + n * V, logits.begin() + (n + 1) * V);
      const auto p = probabilities(row, options);
      std::vector<std::size_t> order(V);
      std::iota(order.begin(), order.end(), 0U);
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
      const auto block = kernels::philox(kernels::philox_key(11, 0), {{0, static_cast<std::uint32_t>(keys.position[n]),
                                                                       static_cast<std::uint32_t>(keys.sample[n]),
                                                                       static_cast<std::uint32_t>(keys.sample[n] >> 32)}});
      const double u = (block.w[0] * 4294967296.0 + block.w[1]) / 18446744073709551616.0;
      double sum = 0;
      std::size_t i = 0;
      while (i + 1 < order.size() && !((sum += p[order[i]]) > u)) ++i;
      BOOST_CHECK_EQUAL(next[n], static_cast<std::int32_t>(order[i]));
    }
  }
}

BOOST_AUTO_TEST_CASE(ties_with_the_kth_go_to_the_smaller_id) {
  const auto next = sample(repeat({1, 4, 1, 1, 4, 1}, 4000), 6, {.temperature = 50, .top_k = 3});
  std::vector<int> count(6);
  for (const auto id : next) ++count[id];
  BOOST_CHECK(count[0] > 0 && count[1] > 0 && count[4] > 0 && count[2] + count[3] + count[5] == 0);
}

BOOST_AUTO_TEST_CASE(top_p_keeps_the_shortest_prefix_that_reaches_it) {
  const std::vector<float> equal(4, 1.0F);  // a quarter each
  const auto kept = [&](float top_p) {
    std::vector<int> count(4);
    for (const auto id : sample(repeat(equal, 2000), 4, {.top_p = top_p})) ++count[id];
    return static_cast<int>(std::count_if(count.begin(), count.end(), [](int c) { return c > 0; })) * 10 + (count[0] > 0);
  };
  BOOST_CHECK_EQUAL(kept(1e-6F), 11);
  BOOST_CHECK_EQUAL(kept(0.25F), 11);  // reached exactly
  BOOST_CHECK_EQUAL(kept(0.26F), 21);
  BOOST_CHECK_EQUAL(kept(0.5F), 21);
  BOOST_CHECK_EQUAL(kept(0.75F), 31);
  BOOST_CHECK_EQUAL(kept(0.76F), 41);
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_batch_or_the_threads) {
  const std::int64_t N = 50, V = 300;
  const auto logits = random_values(N * V, 5, 2);
  const auto all = sample(logits, V, {.top_p = 0.95F}, 1);
  BOOST_CHECK(all == sample(logits, V, {.top_p = 0.95F}, 2));
  BOOST_CHECK(all == sample(logits, V, {.top_p = 0.95F}, 3));
  BOOST_CHECK(all != sample(logits, V, {.top_p = 0.95F, .purpose = 1}));
  BOOST_CHECK(all != sample(logits, V, {.top_p = 0.95F}, 2, 8));
  const Rows keys = rows(N);
  StepState step;
  step.seed = 7;
  Launch launch;
  launch.step = &step;
  for (std::int64_t n = 0; n < N; ++n) {
    std::int32_t one = -1;
    kernels::sample(&one, logits.data() + n * V, 1, V, {keys.sample.data() + n, keys.position.data() + n}, {.top_p = 0.95F},
                    launch);
    BOOST_CHECK_EQUAL(one, all[n]);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_sampled_throws_with_its_row) {
  const auto throws = [](const std::vector<float>& logits, float temperature) {
    BOOST_CHECK_EXCEPTION(sample(logits, 2, {.temperature = temperature}), DataError,
                          [](const DataError& e) { return std::string(e.what()).find("row 1") != std::string::npos; });
  };
  for (const float temperature : {0.0F, 1.0F}) {
    throws({1, 2, NAN, 1, 1, 2}, temperature);
    throws({1, 2, 1, NAN, 1, 2}, temperature);
    throws({1, 2, 1, INFINITY, 1, 2}, temperature);
    throws({1, 2, -INFINITY, -INFINITY, 1, 2}, temperature);
  }
  const std::vector<float> good = {-3e38F, 3e38F, -INFINITY, -3e38F};
  BOOST_CHECK((sample(good, 2, {.temperature = 1e-30F}) == std::vector<std::int32_t>{1, 1}));
  BOOST_CHECK_THROW(sample(good, 2, {.temperature = -1}), InternalError);
  BOOST_CHECK_THROW(sample(good, 2, {.temperature = NAN}), InternalError);
  BOOST_CHECK_THROW(sample(good, 2, {.top_k = -1}), InternalError);
  BOOST_CHECK_THROW(sample(good, 2, {.top_p = 0}), InternalError);
  std::int32_t next = 0;
  BOOST_CHECK_THROW(kernels::sample(&next, good.data(), 1, 2, {}, {}, {}), InternalError);
}

}  // namespace
}  // namespace tradewind::tests
