#include "kernels/base/error.h"
#include "tests/kernels/softmax_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(forward_and_backward_match_float64) {
  on_every_target([&](const std::string& target) {
    for (const auto& [N, C] : kSoftmaxShapes)
      for (const bool log : {false, true})
        for (const int threads : {1, 2, 3})
          for (const bool in_place : {false, true})
            check_softmax(target, N, C, log, {.threads = threads, .in_place = in_place});
  });
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  for (const bool log : {false, true}) {
    auto x = widen(random_values(3 * 5, 1));
    const auto dy = widen(random_values(3 * 5, 2));
    const auto f = [&] {
      const auto y = softmax_oracle(x, 5, log);
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
      return sum;
    };
    check_close("dx", softmax_gradient(dy, softmax_oracle(x, 5, log), 5, log), numeric_gradient(x, f), 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(masked_elements_and_rows_give_zeros_and_nan_shows) { check_softmax_extremes({}); }

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(6), y(6);
  BOOST_CHECK_THROW(kernels::softmax_forward(y.data(), x.data(), 2, 0, false, DType::kFloat32, {}), InternalError);
  BOOST_CHECK_THROW(kernels::softmax_forward(y.data(), x.data(), -1, 3, false, DType::kFloat32, {}), InternalError);
  BOOST_CHECK_THROW(kernels::softmax_forward(nullptr, x.data(), 2, 3, false, DType::kFloat32, {}), InternalError);
  BOOST_CHECK_THROW(kernels::softmax_forward(y.data(), x.data(), 2, 3, false, DType::kBFloat16, {}), DeviceError);
  BOOST_CHECK_THROW(
      kernels::softmax_backward(y.data(), y.data(), x.data(), 2, 3, false, Write::kAccumulate, DType::kFloat32, {}),
      InternalError);
  BOOST_CHECK_NO_THROW(kernels::softmax_forward(nullptr, nullptr, 0, 3, false, DType::kFloat32, {}));
}

}  // namespace
}  // namespace tradewind::tests
