#include "runtime/train/bootstrap.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

using namespace tradewind::runtime;

namespace {

using Rows = std::vector<std::vector<double>>;

/// Second column: the first plus `shift` plus noise of deviation 1.
std::pair<Rows, Rows> users(std::size_t n, double shift, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> noise;
  Rows a, b;
  for (std::size_t i = 0; i < n; ++i) {
    const double base = 5 * noise(engine);
    a.push_back({base, 1.0});
    b.push_back({base + shift + noise(engine), 1.0});
  }
  return {a, b};
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_interval_is_that_of_the_paired_differences) {
  constexpr std::size_t kUsers = 400;
  const auto [a, b] = users(kUsers, 0.2, 1);
  double mean = 0, square = 0;
  for (std::size_t i = 0; i < kUsers; ++i) mean += (b[i][0] - a[i][0]) / kUsers;
  for (std::size_t i = 0; i < kUsers; ++i) square += std::pow(b[i][0] - a[i][0] - mean, 2) / kUsers;
  const double error = std::sqrt(square / kUsers);  // of the mean; users differ by 5, which pairing takes out
  const auto d = paired_bootstrap(a, b, 4000, 1)[0];
  BOOST_CHECK_CLOSE(d.second - d.first, mean, 1e-6);
  BOOST_CHECK_SMALL(d.low - (mean - 1.96 * error), 0.15 * error);
  BOOST_CHECK_SMALL(d.high - (mean + 1.96 * error), 0.15 * error);
  const double z = mean / error, p = std::erfc(z / std::sqrt(2.0));
  BOOST_CHECK_MESSAGE(std::abs(d.p - p) < 0.5 * p + 1.0 / 4000, d.p << " is not " << p);
}

BOOST_AUTO_TEST_CASE(what_is_the_same_is_no_difference) {
  const auto [a, b] = users(50, 1, 2);
  const auto same = paired_bootstrap(a, b, 500, 1)[1];
  BOOST_TEST(same.low == 0);
  BOOST_TEST(same.high == 0);
  BOOST_TEST(same.p == 1);
}

// Of two models that are alike few pairs look different: about 5 % at p < 0.05.
BOOST_AUTO_TEST_CASE(chance_is_rarely_called_a_difference) {
  int called = 0;
  for (std::uint32_t trial = 0; trial < 200; ++trial) {
    const auto [a, b] = users(100, 0, 100 + trial);
    const auto d = paired_bootstrap(a, b, 300, trial)[0];
    called += d.p < 0.05 ? 1 : 0;
  }
  BOOST_CHECK_MESSAGE(called >= 2 && called <= 24, called);
}

BOOST_AUTO_TEST_CASE(the_same_seed_draws_the_same) {
  const auto [a, b] = users(60, 0.1, 3);
  BOOST_TEST(paired_bootstrap(a, b, 200, 7)[0].low == paired_bootstrap(a, b, 200, 7)[0].low);
  BOOST_TEST(paired_bootstrap(a, b, 200, 7)[0].low != paired_bootstrap(a, b, 200, 8)[0].low);
}
