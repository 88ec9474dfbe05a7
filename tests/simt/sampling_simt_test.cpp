// The CUDA kernels of sampling on the executor: the oracle's choice and the CPU's, row by row; what cannot be sampled from.
#include "kernels/cuda/sampling.h"
#include "tests/kernels/sampling_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

const std::vector<SamplingOptions> kOptions = {{},
                                               {.temperature = 0},
                                               {.temperature = 0.1F},
                                               {.temperature = 3},
                                               {.top_k = 1},
                                               {.top_k = 3},
                                               {.top_k = 300},
                                               {.top_p = 0.9F},
                                               {.top_p = 0.3F},
                                               {.top_p = 0.999F},
                                               {.temperature = 2, .top_k = 6, .top_p = 0.8F, .purpose = 9}};

}  // namespace

BOOST_AUTO_TEST_CASE(choices_are_those_of_the_cpu) {
  Turns turns;
  for (const std::int64_t V : {1, 2, 10, 255, 256, 257, 700})
    for (std::size_t i = 0; i < kOptions.size(); ++i)
      turns.next("choices", [&](Place& place) {
        const auto logits = i % 2 == 0 ? tied_logits(20, V, 3) : random_values(20 * V, 4, 2);
        const auto cpu = sample(logits, V, kOptions[i], {.seed = 5}),
                   gpu = sample(logits, V, kOptions[i], {.place = &place, .seed = 5});
        BOOST_CHECK_MESSAGE(cpu == gpu, "V " << V << ", options " << i);
      });
}

BOOST_AUTO_TEST_CASE(draws_invert_the_sorted_cumulative_sum) {
  const auto logits = tied_logits(12, 5000, 3);
  Turns turns;
  for (const SamplingOptions& options : {SamplingOptions{}, {.top_k = 700}, {.top_p = 0.7F}, {.temperature = 3}})
    turns.next("cumulative",
               [&](Place& place) { check_inverts("cumulative", logits, 5000, options, {.place = &place, .seed = 11}); });
}

// A signed zero is a zero; the sort must not tell them apart.
BOOST_AUTO_TEST_CASE(equal_logits_go_by_id) {
  Turns turns;
  turns.both("greedy", [](Place& place) {
    const std::vector<float> logits = {1, 3, 3, 2, 5, 5, -INFINITY, 5, -1, -2, -3, -1, -0.0F, 0, -1, 0};
    BOOST_CHECK((sample(logits, 4, {.temperature = 0}, {.place = &place}) == std::vector<std::int32_t>{1, 0, 0, 0}));
    const auto next = sample(repeat({-0.0F, -5, 0.0F, -0.0F}, 60), 4, {.temperature = 50, .top_k = 2}, {.place = &place});
    for (const auto id : next) BOOST_CHECK(id == 0 || id == 2);
    BOOST_CHECK(std::count(next.begin(), next.end(), 0) > 0 && std::count(next.begin(), next.end(), 2) > 0);
  });
}

BOOST_AUTO_TEST_CASE(ties_with_the_kth_go_to_the_smaller_id) {
  Turns turns;
  turns.both("ties", [](Place& place) {
    std::vector<int> count(6);
    for (const auto id : sample(repeat({1, 4, 1, 1, 4, 1}, 100), 6, {.temperature = 50, .top_k = 3}, {.place = &place}))
      ++count[id];
    BOOST_CHECK(count[0] > 0 && count[1] > 0 && count[4] > 0 && count[2] + count[3] + count[5] == 0);
  });
}

BOOST_AUTO_TEST_CASE(top_p_keeps_the_shortest_prefix_that_reaches_it) {
  Turns turns;
  for (const auto& one : kKeptCases)
    turns.next("top_p", [&](Place& place) { BOOST_CHECK_EQUAL(kept_of_four(one.top_p, {.place = &place}), one.kept); });
}

// Also where rows are sorted a few at a time.
BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_batch) {
  const std::int64_t N = 11, V = 300;
  const auto logits = random_values(N * V, 5, 2);
  const SamplingOptions options{.top_p = 0.95F};
  const auto expected = sample(logits, V, options);
  BOOST_CHECK(expected != sample(logits, V, options, {.seed = 8}));
  Turns turns;
  for (const std::int64_t most : {std::int64_t{1}, 4 * V + 1, 100 * V})
    turns.next("parts", [&](Place& place) {
      SamplingWay way{.place = &place};
      way.call = [&](auto... arguments) { kernels::detail::sample_cuda(arguments..., most); };
      BOOST_CHECK(sample(logits, V, options, way) == expected);
    });
  for (const std::int64_t n : {0, 3, 10})
    turns.next("alone", [&](Place& place) {
      const std::vector<float> row(logits.begin() + n * V, logits.begin() + (n + 1) * V);
      BOOST_CHECK_EQUAL(sample(row, V, options, {.place = &place, .from = n})[0], expected[n]);
    });
}

BOOST_AUTO_TEST_CASE(what_cannot_be_sampled_is_minus_one_and_no_other) {
  Turns turns;
  for (const auto& logits : kUnsampleable)
    for (const float temperature : {0.0F, 1e-3F})
      turns.next("unsampleable", [&](Place& place) {
        BOOST_CHECK(
            (sample(logits, 2, {.temperature = temperature}, {.place = &place}) == std::vector<std::int32_t>{1, -1, 1}));
      });
  turns.next("a NaN in any warp", [](Place& place) {
    std::vector<float> logits(3 * 600, 1.0F);
    logits[599] = NAN, logits[600 + 300] = INFINITY, logits[1200 + 511] = 2.0F;
    BOOST_CHECK((sample(logits, 600, {.temperature = 0}, {.place = &place}) == std::vector<std::int32_t>{-1, -1, 511}));
  });
  turns.next("extremes", [](Place& place) {
    const std::vector<float> good = {-3e38F, 3e38F, -INFINITY, -3e38F};
    BOOST_CHECK((sample(good, 2, {.temperature = 1e-30F}, {.place = &place}) == std::vector<std::int32_t>{1, 1}));
  });
}

}  // namespace tradewind::tests
