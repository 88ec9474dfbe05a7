#include "kernels/softmax.h"

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::DType;
using kernels::Launch;
using kernels::Write;

constexpr double kTolerance = 1e-6;

Launch on(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

std::vector<double> softmax(const std::vector<double>& x, std::size_t C, bool log) {
  std::vector<double> y(x.size());
  for (std::size_t row = 0; row < x.size(); row += C) {
    double most = -INFINITY, sum = 0;
    for (std::size_t c = 0; c < C; ++c) most = std::max(most, x[row + c]);
    for (std::size_t c = 0; c < C; ++c) sum += std::exp(x[row + c] - most);
    for (std::size_t c = 0; c < C; ++c)
      y[row + c] = log ? x[row + c] - most - std::log(sum) : std::exp(x[row + c] - most) / sum;
  }
  return y;
}

std::vector<double> gradient(const std::vector<double>& dy, const std::vector<double>& y, std::size_t C, bool log) {
  std::vector<double> dx(y.size());
  for (std::size_t row = 0; row < y.size(); row += C) {
    double total = 0;
    for (std::size_t c = 0; c < C; ++c) total += dy[row + c] * (log ? 1 : y[row + c]);
    for (std::size_t c = 0; c < C; ++c)
      dx[row + c] = log ? dy[row + c] - std::exp(y[row + c]) * total : y[row + c] * (dy[row + c] - total);
  }
  return dx;
}

constexpr std::int64_t kShapes[][2] = {{1, 1}, {7, 5}, {3, 64}, {65, 65}, {1000, 100}, {2, 40001}};

BOOST_AUTO_TEST_CASE(forward_and_backward_match_float64) {
  on_every_target([&](const std::string& target) {
    for (const auto& [N, C] : kShapes)
      for (const bool log : {false, true})
        for (const int threads : {1, 2, 3})
          for (const bool in_place : {false, true}) {
            const std::string what = target + " N" + std::to_string(N) + " C" + std::to_string(C) + (log ? " log" : "");
            const auto x = random_values(N * C, 1, 3), dy = random_values(N * C, 2), before = random_values(N * C, 3);
            std::vector<float> y = in_place ? x : std::vector<float>(N * C, NAN);
            kernels::softmax_forward(y.data(), in_place ? y.data() : x.data(), N, C, log, DType::kFloat32, on(threads));
            const auto want = softmax(widen(x), C, log);
            check_close(what + " y", y, want, kTolerance);
            auto want_dx = gradient(widen(dy), want, C, log);
            std::vector<float> dx = in_place ? dy : std::vector<float>(N * C, NAN);
            kernels::softmax_backward(dx.data(), in_place ? dx.data() : dy.data(), y.data(), N, C, log, Write::kAssign,
                                      DType::kFloat32, on(threads));
            BOOST_CHECK_MESSAGE(!!(relative_error(dx, want_dx, 0.1) <= 3 * kTolerance), what << " dx");
            dx = before;
            kernels::softmax_backward(dx.data(), dy.data(), y.data(), N, C, log, Write::kAccumulate, DType::kFloat32,
                                      on(threads));
            for (std::size_t i = 0; i < want_dx.size(); ++i) want_dx[i] += before[i];
            check_close(what + " dx added", dx, want_dx, 3 * kTolerance);
          }
  });
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  for (const bool log : {false, true}) {
    auto x = widen(random_values(3 * 5, 1));
    const auto dy = widen(random_values(3 * 5, 2));
    const auto f = [&] {
      const auto y = softmax(x, 5, log);
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
      return sum;
    };
    check_close("dx", gradient(dy, softmax(x, 5, log), 5, log), numeric_gradient(x, f), 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(masked_elements_and_rows_give_zeros_and_nan_shows) {
  constexpr float kOut = -INFINITY;
  const std::vector<float> x = {1, kOut, 2, kOut, kOut, kOut, 1, NAN, 2, 3e38F, -3e38F, 3e38F};
  std::vector<float> y(12), log(12);
  kernels::softmax_forward(y.data(), x.data(), 4, 3, false, DType::kFloat32, on(1));
  kernels::softmax_forward(log.data(), x.data(), 4, 3, true, DType::kFloat32, on(1));
  BOOST_CHECK(y[1] == 0 && std::abs(y[0] + y[2] - 1) < 1e-6 && log[1] == kOut);
  for (int c = 3; c < 6; ++c) BOOST_CHECK(y[c] == 0 && log[c] == kOut);
  for (int c = 6; c < 9; ++c) BOOST_CHECK(std::isnan(y[c]) && std::isnan(log[c]));
  BOOST_CHECK(y[9] == 0.5F && y[10] == 0 && y[11] == 0.5F);
}

BOOST_AUTO_TEST_CASE(golden_values) {
  const GoldenTensors golden(golden_path("layers/softmax.safetensors"));
  std::vector<float> y(44), dx(44), log(44), dx_log(44);
  kernels::softmax_forward(y.data(), golden.values("x").data(), 4, 11, false, DType::kFloat32, on(2));
  kernels::softmax_forward(log.data(), golden.values("x").data(), 4, 11, true, DType::kFloat32, on(2));
  kernels::softmax_backward(dx.data(), golden.values("grad_out").data(), y.data(), 4, 11, false, Write::kAssign,
                            DType::kFloat32, on(2));
  kernels::softmax_backward(dx.data(), golden.values("grad_log_out").data(), log.data(), 4, 11, true, Write::kAccumulate,
                            DType::kFloat32, on(2));
  check_close("out", y, golden.values("out"), kTolerance);
  check_close("log_out", log, golden.values("log_out"), kTolerance);
  check_close("grad_x", dx, golden.values("grad_x"), 3 * kTolerance);
}

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
