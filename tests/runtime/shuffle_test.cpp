#include "runtime/data/shuffle.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "kernels/base/error.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

std::vector<std::int64_t> order(std::uint64_t seed, std::int64_t epoch, std::int64_t n) {
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(permute(seed, epoch, n, i));
  return out;
}

void check_bijection(std::uint64_t seed, std::int64_t epoch, std::int64_t n) {
  std::vector<bool> seen(static_cast<std::size_t>(n), false);
  for (const std::int64_t x : order(seed, epoch, n)) {
    if (x < 0 || x >= n || seen[static_cast<std::size_t>(x)]) BOOST_FAIL("n " << n << ", epoch " << epoch << ": " << x);
    seen[static_cast<std::size_t>(x)] = true;
  }
}

/// Pearson's statistic of counts that should all be equal, in standard deviations from its mean.
double deviation(const std::vector<std::int64_t>& counts) {
  double total = 0, statistic = 0;
  for (const auto count : counts) total += static_cast<double>(count);
  const double expected = total / static_cast<double>(counts.size());
  for (const auto count : counts)
    statistic += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
  const auto freedom = static_cast<double>(counts.size() - 1);
  return (statistic - freedom) / std::sqrt(2 * freedom);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_sample_comes_once_an_epoch) {
  for (std::int64_t n = 1; n <= 200; ++n)
    for (std::int64_t epoch = 0; epoch < 5; ++epoch) check_bijection(7, epoch, n);
  for (const std::int64_t n :
       {15'683L, 65'536L, 1'000'003L, kFullShuffle, kFullShuffle + 1, kFullShuffle + 1023, 3 * kFullShuffle / 2})
    check_bijection(42, 3, n);
}

BOOST_AUTO_TEST_CASE(orders_differ_by_epoch_and_seed_and_repeat) {
  for (const std::int64_t n : {100L, 15'683L, kFullShuffle + 5}) {
    const auto first = order(1, 0, n);
    BOOST_TEST((first == order(1, 0, n)));
    std::int64_t epochs = 0, seeds = 0;
    const auto next = order(1, 1, n), other = order(2, 0, n);
    for (std::size_t i = 0; i < first.size(); ++i) epochs += first[i] == next[i], seeds += first[i] == other[i];
    BOOST_TEST(epochs < 10);  // one is expected
    BOOST_TEST(seeds < 10);
  }
}

BOOST_AUTO_TEST_CASE(the_order_stays_as_it_is) {  // a run that is resumed after an update must see the data that is left
  BOOST_TEST((order(42, 0, 10) == std::vector<std::int64_t>{1, 4, 5, 2, 3, 8, 6, 9, 0, 7}));
  BOOST_TEST(permute(42, 1, 15'683, 100) == 10'566);
  BOOST_TEST(permute(42, 1, 10'000'000'000, 123'456'789) == 656'005'156);
}

BOOST_AUTO_TEST_CASE(all_orders_of_four_are_equally_likely) {
  std::map<std::vector<std::int64_t>, std::int64_t> found;
  for (std::uint64_t seed = 0; seed < 200; ++seed)
    for (std::int64_t epoch = 0; epoch < 60; ++epoch) ++found[order(seed, epoch, 4)];
  BOOST_TEST(found.size() == 24U);
  std::vector<std::int64_t> counts;
  for (const auto& [which, count] : found) counts.push_back(count);
  BOOST_TEST(std::abs(deviation(counts)) < 5);
}

BOOST_AUTO_TEST_CASE(every_sample_is_equally_likely_at_every_place) {
  for (const std::int64_t n : {7L, 30L, 101L}) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(n * n), 0);
    for (std::int64_t epoch = 0; epoch < 60 * n; ++epoch)
      for (std::int64_t i = 0; i < n; ++i) ++counts[static_cast<std::size_t>(i * n + permute(5, epoch, n, i))];
    BOOST_TEST(std::abs(deviation(counts)) < 5);
  }
}

BOOST_AUTO_TEST_CASE(neighbours_are_torn_apart) {
  const std::int64_t n = 100'000;
  const auto samples = order(3, 0, n);
  std::vector<std::int64_t> steps(100, 0);  // differences of what comes after one another
  for (std::size_t i = 1; i < samples.size(); ++i)
    ++steps[static_cast<std::size_t>((samples[i] - samples[i - 1] + n) % n / 1000)];
  BOOST_TEST(std::abs(deviation(steps)) < 5);
}

BOOST_AUTO_TEST_CASE(large_sets_are_read_in_runs) {
  const std::int64_t n = 10'000'000;
  for (const std::int64_t start : {0L, 5 * kShuffleWindow, n / kShuffleWindow * kShuffleWindow}) {
    std::set<std::int64_t> blocks, cells;
    const std::int64_t end = std::min(n, start + kShuffleWindow);
    for (std::int64_t i = start; i < end; ++i) {
      const std::int64_t sample = permute(9, 2, n, i);
      blocks.insert(sample / kShuffleBlock);
      cells.insert(sample * 10 / n);
    }
    // A rotated block touches two of the grid's blocks.
    BOOST_TEST(static_cast<std::int64_t>(blocks.size()) <= 2 * ((end - start) / kShuffleBlock + 1));
    BOOST_TEST(cells.size() >= 8U);  // from all over the data
  }
}

BOOST_AUTO_TEST_CASE(outside_of_the_epoch_is_a_bug) {
  BOOST_CHECK_THROW(permute(1, 0, 10, 10), InternalError);
  BOOST_CHECK_THROW(permute(1, 0, 10, -1), InternalError);
  BOOST_CHECK_THROW(permute(1, 0, 0, 0), InternalError);
}

BOOST_AUTO_TEST_CASE(random_numbers_below_a_bound) {
  std::vector<std::int64_t> counts(10, 0);
  for (std::uint64_t i = 0; i < 10'000; ++i) ++counts[static_cast<std::size_t>(random_below(1, 2, i, 10))];
  BOOST_TEST(std::abs(deviation(counts)) < 5);
  BOOST_TEST(random_below(1, 2, 3, 1) == 0);
  BOOST_TEST(random_below(1, 2, 3, 1'000'000) == random_below(1, 2, 3, 1'000'000));
  BOOST_TEST(random_below(1, 2, 3, 1'000'000) != random_below(1, 3, 3, 1'000'000));
}
