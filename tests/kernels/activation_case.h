// Problems of the activations and SwiGLU, and what every executor must get right: the CPU (activation_test.cpp) and the CUDA
// kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::Activation;
using kernels::DType;
using kernels::Launch;
using kernels::Write;

inline double value(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x > 0 ? x : 0;
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluExact: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kSilu: return x / (1 + std::exp(-x));
  }
  return NAN;
}

inline double slope(Activation activation, double x) {
  if (activation == Activation::kRelu) return x > 0 ? 1 : 0;
  constexpr double h = 1e-5;
  return (value(activation, x + h) - value(activation, x - h)) / (2 * h);
}

struct ActivationCase {
  Activation activation;
  std::size_t count;
  std::size_t skipped = 0;  // elements before the first, so that no pointer is a multiple of 16 bytes
  int threads = 1;
  DType dtype = DType::kFloat32;
  Place* place = nullptr;

  std::vector<float> values(std::uint32_t seed, double scale = 1.0) const {
    return rounded_to(dtype, random_values(count + skipped, seed, scale));
  }
  void* from(void* p) const { return static_cast<std::byte*>(p) + skipped * kernels::size_of(dtype); }
  bool half() const { return dtype == DType::kBFloat16; }
};

inline constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGeluTanh,
                                              Activation::kGeluExact, Activation::kSilu};

inline std::string describe(const ActivationCase& c) {
  return std::string(kernels::name_of(c.dtype)) + " activation " + std::to_string(static_cast<int>(c.activation)) + " count " +
         std::to_string(c.count) + " threads " + std::to_string(c.threads);
}

/// The error is relative to max(1, |x|), as the contract has it.
inline void check_activation_forward(const ActivationCase& c) {
  const auto x = c.values(1, 3.0);
  std::vector<float> y(x.size(), 77.0F), in_place = x;
  PlacedArrays at(c.place, c.dtype);
  const auto forward = [&](void* to, const void* from) {
    kernels::activation_forward(to, from, static_cast<std::int64_t>(c.count), c.activation, c.dtype, at.launch(c.threads));
  };
  void* over = c.from(at.elements(in_place));
  forward(c.from(at.elements(y)), c.from(at.read(x)));
  forward(over, over);
  at.fetch();
  for (std::size_t i = 0; i < c.skipped; ++i) BOOST_REQUIRE(y[i] == 77.0F && in_place[i] == x[i]);
  for (std::size_t i = c.skipped; i < x.size(); ++i) {
    const double error = std::abs(y[i] - value(c.activation, x[i])) / std::max(1.0, std::abs(static_cast<double>(x[i])));
    BOOST_REQUIRE_MESSAGE(!!(error <= (c.half() ? 4e-3 : 1e-6)), describe(c) << " of " << x[i] << ": " << y[i]);
    BOOST_REQUIRE(in_place[i] == y[i]);
  }
}

inline void check_activation_backward(const ActivationCase& c) {
  const auto x = c.values(2, 2.0), dy = c.values(3), base = c.values(4);
  std::vector<double> expected(x.size()), added(x.size());
  for (std::size_t i = c.skipped; i < x.size(); ++i) {
    expected[i] = dy[i] * slope(c.activation, x[i]);
    added[i] = base[i] + expected[i];
  }
  const std::vector<float> nothing(x.size());
  auto forward = nothing, y = nothing, dx = nothing, sum = base, over_dy = dy, over_x = x, sum_y = base, other_y = nothing;
  std::fill_n(sum.begin(), c.skipped, 0.0F), std::fill_n(sum_y.begin(), c.skipped, 0.0F);
  std::fill_n(over_dy.begin(), c.skipped, 0.0F), std::fill_n(over_x.begin(), c.skipped, 0.0F);
  PlacedArrays at(c.place, c.dtype);
  const Launch launch = at.launch(c.threads);
  const auto count = static_cast<std::int64_t>(c.count);
  const auto backward = [&](void* to, void* recomputed, const void* g, const void* in, Write write) {
    kernels::activation_backward(to, recomputed, g, in, count, c.activation, write, c.dtype, launch);
  };
  const void *given_x = c.from(at.read(x)), *given_dy = c.from(at.read(dy));
  void *to_over_dy = c.from(at.elements(over_dy)), *to_over_x = c.from(at.elements(over_x));
  kernels::activation_forward(c.from(at.elements(forward)), given_x, count, c.activation, c.dtype, launch);
  backward(c.from(at.elements(dx)), nullptr, given_dy, given_x, Write::kAssign);
  backward(c.from(at.elements(sum)), nullptr, given_dy, given_x, Write::kAccumulate);
  backward(to_over_dy, nullptr, to_over_dy, given_x, Write::kAssign);
  backward(to_over_x, c.from(at.elements(y)), given_dy, to_over_x, Write::kAssign);
  backward(c.from(at.elements(sum_y)), c.from(at.elements(other_y)), given_dy, given_x, Write::kAccumulate);
  at.fetch();
  check_close(describe(c) + " dx", dx, expected, c.half() ? 4e-3 : 2e-6);
  check_close(describe(c) + " accumulated dx", sum, added, c.half() ? 4e-3 : 2e-6);
  check_close(describe(c) + " recomputed y", y, widen(forward), c.half() ? 4e-3 : 3e-7);
  BOOST_TEST(other_y == y);
  BOOST_TEST(sum_y == sum);
  BOOST_TEST(over_dy == dx);
  BOOST_TEST(over_x == dx);
}

inline void check_infinities(Place* place) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {inf, -inf, NAN, -1e30F, 1e30F};
  for (const Activation activation : {Activation::kRelu, Activation::kGeluTanh}) {
    std::vector<float> y(5);
    PlacedArrays at(place, DType::kFloat32);
    kernels::activation_forward(at.elements(y), at.read(x), 5, activation, DType::kFloat32, at.launch());
    at.fetch();
    BOOST_TEST(y[0] == inf);
    BOOST_TEST(y[1] == 0.0F);
    BOOST_TEST(std::isnan(y[2]));
    BOOST_TEST(y[3] == 0.0F);
    BOOST_TEST(y[4] == 1e30F);
  }
}

inline void check_swiglu(std::size_t N, std::size_t C, int threads, DType dtype, Place* place) {
  const std::string what = std::string(kernels::name_of(dtype)) + " swiglu N " + std::to_string(N) + " C " + std::to_string(C);
  const auto values = [&](std::size_t count, std::uint32_t seed, double scale) {
    return rounded_to(dtype, random_values(count, seed, scale));
  };
  const auto x = values(N * 2 * C, 5, 2.0), dy = values(N * C, 6, 1.0), base = values(N * 2 * C, 7, 1.0);
  std::vector<double> out(N * C), expected(N * 2 * C), added(N * 2 * C);
  for (std::size_t n = 0; n < N; ++n)
    for (std::size_t c = 0; c < C; ++c) {
      const std::size_t g = n * 2 * C + c, u = g + C;
      out[n * C + c] = value(Activation::kSilu, x[g]) * x[u];
      expected[g] = dy[n * C + c] * x[u] * slope(Activation::kSilu, x[g]);
      expected[u] = dy[n * C + c] * value(Activation::kSilu, x[g]);
      added[g] = expected[g] + base[g];
      added[u] = expected[u] + base[u];
    }
  std::vector<float> y(N * C), dx(N * 2 * C), sum = base;
  const auto rows = static_cast<std::int64_t>(N), columns = static_cast<std::int64_t>(C);
  PlacedArrays at(place, dtype);
  const void *given_x = at.read(x), *given_dy = at.read(dy);
  kernels::swiglu_forward(at.elements(y), given_x, rows, columns, dtype, at.launch(threads));
  kernels::swiglu_backward(at.elements(dx), given_dy, given_x, rows, columns, Write::kAssign, dtype, at.launch(threads));
  kernels::swiglu_backward(at.elements(sum), given_dy, given_x, rows, columns, Write::kAccumulate, dtype, at.launch(threads));
  at.fetch();
  const double tolerance = dtype == DType::kBFloat16 ? 4e-3 : 1e-6;
  check_close(what, y, out, tolerance);
  check_close(what + " dx", dx, expected, tolerance);
  check_close(what + " accumulated dx", sum, added, tolerance);
}

}  // namespace tradewind::tests
