#include "kernels/base/error.h"
#include "tests/kernels/sampling_case.h"

namespace tradewind::tests {
namespace {

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

// Also deep into a large vocabulary.
BOOST_AUTO_TEST_CASE(draws_invert_the_sorted_cumulative_sum) {
  const auto logits = tied_logits(300, 5000, 3);
  for (const SamplingOptions& options : {SamplingOptions{}, {.top_k = 700}, {.top_p = 0.7F}, {.temperature = 0.1F}})
    check_inverts("cpu", logits, 5000, options, {.seed = 11});
}

BOOST_AUTO_TEST_CASE(ties_with_the_kth_go_to_the_smaller_id) {
  const auto next = sample(repeat({1, 4, 1, 1, 4, 1}, 4000), 6, {.temperature = 50, .top_k = 3});
  std::vector<int> count(6);
  for (const auto id : next) ++count[id];
  BOOST_CHECK(count[0] > 0 && count[1] > 0 && count[4] > 0 && count[2] + count[3] + count[5] == 0);
}

BOOST_AUTO_TEST_CASE(top_p_keeps_the_shortest_prefix_that_reaches_it) {
  for (const auto& [top_p, kept] : kKeptCases) BOOST_CHECK_EQUAL(kept_of_four(top_p), kept);
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_batch_or_the_threads) {
  const std::int64_t N = 50, V = 300;
  const auto logits = random_values(N * V, 5, 2);
  const SamplingOptions options{.top_p = 0.95F};
  const auto all = sample(logits, V, options, {.threads = 1});
  BOOST_CHECK(all == sample(logits, V, options, {.threads = 2}));
  BOOST_CHECK(all == sample(logits, V, options, {.threads = 3}));
  BOOST_CHECK(all != sample(logits, V, {.top_p = 0.95F, .purpose = 1}));
  BOOST_CHECK(all != sample(logits, V, options, {.seed = 8}));
  for (std::int64_t n = 0; n < N; ++n) {
    const std::vector<float> row(logits.begin() + n * V, logits.begin() + (n + 1) * V);
    BOOST_CHECK_EQUAL(sample(row, V, options, {.from = n})[0], all[n]);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_sampled_throws_with_its_row) {
  const auto throws = [](const std::vector<float>& logits, float temperature) {
    BOOST_CHECK_EXCEPTION(sample(logits, 2, {.temperature = temperature}), DataError,
                          [](const DataError& e) { return std::string(e.what()).find("row 1") != std::string::npos; });
  };
  for (const float temperature : {0.0F, 1.0F})
    for (const auto& logits : kUnsampleable) throws(logits, temperature);
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
