#include "kernels/base/error.h"
#include "tests/kernels/l2_normalize_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(rows_and_gradients_match_float64) {
  on_every_target([](const std::string& target) {
    for_each_l2_case([&](const std::string& what, std::int64_t N, std::int64_t C, float epsilon, Write write) {
      for (const int threads : {1, 2, 3})
        check_l2_normalize(std::string(target).append(" ").append(what), N, C, epsilon, write, {.threads = threads}, 2e-6);
    });
  });
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  for (const double epsilon : {1e-3, 2.0}) {
    auto x = widen(random_values(4 * 5, 1));
    const auto dy = widen(random_values(4 * 5, 2));
    const auto numeric = numeric_gradient(x, [&] { return L2Oracle(x, dy, 5, epsilon).total; });
    check_close("dx", L2Oracle(x, dy, 5, epsilon).dx, numeric, 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(a_gradient_can_be_written_over_the_one_it_comes_from) {
  const auto x = random_values(3 * 7, 1), dy = random_values(3 * 7, 2);
  std::vector<float> y(21), length(3), dx(21), in_place = dy, y_in_place = x;
  kernels::l2_normalize_forward(y.data(), length.data(), x.data(), 3, 7, {}, {});
  kernels::l2_normalize_backward(dx.data(), dy.data(), y.data(), length.data(), 3, 7, Write::kAssign, {}, {});
  kernels::l2_normalize_backward(in_place.data(), in_place.data(), y.data(), length.data(), 3, 7, Write::kAssign, {}, {});
  kernels::l2_normalize_forward(y_in_place.data(), length.data(), y_in_place.data(), 3, 7, {}, {});
  BOOST_CHECK(in_place == dx && y_in_place == y);
}

BOOST_AUTO_TEST_CASE(nan_shows) {
  std::vector<float> x{1, NAN, 3, 4}, y(4), length(2);
  kernels::l2_normalize_forward(y.data(), length.data(), x.data(), 2, 2, {}, {});
  BOOST_CHECK(std::isnan(y[0]) && std::isnan(length[0]) && y[2] == 0.6F);
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(4), y(4), length(2);
  const auto run = [&](const kernels::L2NormalizeOptions& o, const kernels::Launch& launch) {
    kernels::l2_normalize_forward(y.data(), length.data(), x.data(), 2, 2, o, launch);
  };
  BOOST_CHECK_THROW(run({.epsilon = 0}, {}), InternalError);
  BOOST_CHECK_THROW(run({.epsilon = NAN}, {}), InternalError);
  BOOST_CHECK_THROW(run({.dtype = DType::kBFloat16}, {}), DeviceError);
  BOOST_CHECK_THROW(
      kernels::l2_normalize_backward(x.data(), x.data(), y.data(), length.data(), 2, 2, Write::kAccumulate, {}, {}),
      InternalError);
}

}  // namespace
}  // namespace tradewind::tests
