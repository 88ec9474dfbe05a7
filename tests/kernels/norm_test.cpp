#include "kernels/norm.h"

#include "kernels/base/error.h"
#include "tests/kernels/norm_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

void on_cpu(void (*check)(const NormCase&)) {
  on_every_target([&](const std::string& target) {
    BOOST_TEST_CONTEXT(target) {
      for (NormCase c : norm_cases({1, 7, 300}, {1, 7, 64, 65, 100, 384}))
        for (c.threads = 1; c.threads <= 3; ++c.threads) check(c);
    }
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_oracles_gradient_is_the_numeric_one) {
  for (const bool layer : {true, false}) {
    const NormOracle oracle{layer, 3, 7, 1e-5};
    Doubles x = widen(random_values(21, 1)), w = widen(random_values(7, 2)), b = widen(random_values(7, 3));
    const Doubles dy = widen(random_values(21, 4));
    const auto loss = [&] {
      double sum = 0;
      const Doubles y = oracle.forward(x, w, b);
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
      return sum;
    };
    const auto [dx, dw, db] = oracle.backward(dy, x, w);
    check_close("dx", dx, numeric_gradient(x, loss), 1e-6);
    check_close("dw", dw, numeric_gradient(w, loss), 1e-6);
    check_close("db", db, numeric_gradient(b, loss), 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(norm_matches_float64) { on_cpu(check_norm); }

BOOST_AUTO_TEST_CASE(fused_residual_norm_matches_float64) { on_cpu(check_residual_norm); }

BOOST_AUTO_TEST_CASE(values_far_from_zero_keep_their_digits) {
  on_every_target([](const std::string&) {
    for (const std::size_t C : {24, 100, 768, 1100}) check_norm_far_from_zero(C, nullptr);
  });
}

BOOST_AUTO_TEST_CASE(nan_reaches_its_row_and_no_other) {
  std::vector<float> x = random_values(3 * 100, 1), w(100, 1.0F), y(300), mean(3), rstd(3);
  x[150] = NAN;
  kernels::norm_forward(y.data(), mean.data(), rstd.data(), x.data(), w.data(), nullptr, 3, 100, norm_options(true), {});
  for (std::size_t i = 0; i < 300; ++i) BOOST_REQUIRE(std::isnan(y[i]) == (i / 100 == 1));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(8), y(8), m(2), r(2), w(4);
  const auto forward = [&](const float* from, float* mean, std::int64_t C, const NormOptions& o, const Launch& launch) {
    kernels::norm_forward(y.data(), mean, r.data(), from, w.data(), nullptr, 2, C, o, launch);
  };
  BOOST_CHECK_NO_THROW(forward(x.data(), m.data(), 4, norm_options(true), {}));
  BOOST_CHECK_THROW(forward(nullptr, m.data(), 4, norm_options(true), {}), InternalError);
  BOOST_CHECK_THROW(forward(x.data(), nullptr, 4, norm_options(true), {}), InternalError);
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 4, norm_options(false), {}), InternalError);
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 0, norm_options(true), {}), InternalError);
  NormOptions half = norm_options(true);
  half.dtype = DType::kBFloat16;
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 4, half, {}), DeviceError);
  Launch cuda;
  cuda.device.type = kernels::DeviceType::kCuda;
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 4, norm_options(true), cuda), DeviceError);
  BOOST_CHECK_THROW(kernels::residual_norm_forward(y.data(), nullptr, nullptr, nullptr, x.data(), x.data(), nullptr, nullptr, 2,
                                                   4, {0.5F, 1}, {}, norm_options(true), {}),
                    InternalError);
  BOOST_CHECK_THROW(kernels::residual_norm_backward(y.data(), nullptr, nullptr, nullptr, nullptr, nullptr, x.data(), m.data(),
                                                    r.data(), w.data(), 2, 4, {}, {}, Write::kAssign, norm_options(true), {}),
                    InternalError);
}

}  // namespace tradewind::tests
