// The vector functions of kernels/cpu/math-inl.h against the C library in float64, on every instruction set of this machine.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/math_test.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::tests {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace target = kernels::HWY_NAMESPACE;

// what: 0 exp, 1 sigmoid, 2 tanh, 3 erf, 4 log.
void evaluate(float* y, const float* x, std::size_t count, int what) {
  const hn::ScalableTag<float> d;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const std::size_t n = count - i < hn::Lanes(d) ? count - i : hn::Lanes(d);
    const auto v = target::load_n(d, x + i, n);
    auto out = v;
    switch (what) {
      case 0: out = target::fast_exp(d, v); break;
      case 1: out = target::fast_sigmoid(d, v); break;
      case 2: out = target::fast_tanh(d, v); break;
      case 3: out = target::fast_erf(d, v); break;
      default: out = target::fast_log(d, v);
    }
    target::store_n(out, d, y + i, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::tests
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <iostream>

#include "tests/support/oracle.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
HWY_EXPORT(evaluate);

namespace {

std::vector<float> run(const std::vector<float>& x, int what) {
  std::vector<float> y(x.size());
  HWY_DYNAMIC_DISPATCH(evaluate)(y.data(), x.data(), x.size(), what);
  return y;
}

// Largest error relative to each value, over points evenly in [low, high] and, where `tiny`, ever smaller ones of either sign.
void check_function(const char* name, int what, double low, double high, bool tiny,
                    const std::function<double(double)>& truth) {
  on_every_target([&](const std::string& target) {
    std::vector<float> x;
    for (int i = 0; i <= 300001; ++i) x.push_back(static_cast<float>(low + (high - low) * i / 300001));
    if (tiny)
      for (float v = 1e-30F; v < 1.0F; v *= 1.37F) x.insert(x.end(), {v, -v});
    const auto y = run(x, what);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double t = truth(x[i]);
      const double error = t == 0 ? std::abs(y[i]) : std::abs(y[i] - t) / std::abs(t);
      if (!(error <= worst)) worst = error;
      if (std::isnan(worst)) break;
    }
    std::cout << name << " " << target << ": relative error " << worst << "\n";
    BOOST_CHECK_MESSAGE(!!(worst <= 1e-6), name << " on " << target << ": relative error " << worst);
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(functions_stay_within_1e_minus_6) {
  check_function("exp", 0, -87.3, 88.37, true, [](double x) { return std::exp(x); });
  check_function("sigmoid", 1, -80, 80, true, [](double x) { return 1 / (1 + std::exp(-x)); });
  check_function("tanh", 2, -12, 12, true, [](double x) { return std::tanh(x); });
  check_function("erf", 3, -6, 6, true, [](double x) { return std::erf(x); });
  check_function("log", 4, 1e-7, 4, false, [](double x) { return std::log(x); });
  check_function("log of large", 4, 4, 3e38, false, [](double x) { return std::log(x); });
}

BOOST_AUTO_TEST_CASE(limits_and_nan_come_out_right) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {inf, -inf, nan, 0.0F, -200.0F, 200.0F, -1.0F};
  on_every_target([&](const std::string& target) {
    const std::vector<std::vector<float>> expected = {{inf, 0, nan, 1, 0, inf, std::exp(-1.0F)},
                                                      {1, 0, nan, 0.5F, 0, 1, 1 / (1 + std::exp(1.0F))},
                                                      {1, -1, nan, 0, -1, 1, std::tanh(-1.0F)},
                                                      {1, -1, nan, 0, -1, 1, std::erf(-1.0F)},
                                                      {inf, nan, nan, -inf, nan, std::log(200.0F), nan}};
    for (int what = 0; what < 5; ++what) {
      const auto y = run(x, what);
      const auto& e = expected[static_cast<std::size_t>(what)];
      for (std::size_t i = 0; i < x.size(); ++i) {
        const bool same = std::isnan(e[i]) ? std::isnan(y[i]) : y[i] == e[i] || std::abs(y[i] - e[i]) <= 1e-6 * std::abs(e[i]);
        BOOST_CHECK_MESSAGE(same, target << " function " << what << " of " << x[i] << " = " << y[i] << ", expected " << e[i]);
      }
    }
  });
}

}  // namespace tradewind::tests
#endif  // HWY_ONCE
