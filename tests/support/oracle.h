// Comparing with float64: errors relative to the tensor, NaN never passes, and the numeric gradient of an oracle.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace tradewind::tests {

/// max |a - b| / max(|b|, floor). NaN in either comes out as NaN.
template <class A, class B>
double relative_error(const A& a, const B& b, double floor = 1e-30) {
  double worst = 0, scale = floor;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double error = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(error <= worst)) worst = error;
    scale = std::max(scale, std::abs(static_cast<double>(b[i])));
    if (std::isnan(worst)) return worst;
  }
  return worst / scale;
}

/// Fails unless a and b have one length and the relative error is at most `tolerance`.
template <class A, class B>
void check_close(const std::string& what, const A& a, const B& b, double tolerance) {
  BOOST_REQUIRE_MESSAGE(a.size() == b.size(), what << ": " << a.size() << " elements, expected " << b.size());
  const double error = relative_error(a, b);
  BOOST_CHECK_MESSAGE(!!(error <= tolerance), what << ": relative error " << error << " > " << tolerance);
}

/// Normal values, the same for a seed everywhere.
inline std::vector<float> random_values(std::size_t count, std::uint32_t seed, double scale = 1.0) {
  std::mt19937 engine(seed);
  std::vector<float> out(count);
  for (auto& x : out) {  // Box-Muller: std::normal_distribution differs between libraries
    const double u = (engine() + 0.5) / 4294967296.0, v = (engine() + 0.5) / 4294967296.0;
    x = static_cast<float>(scale * std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v));
  }
  return out;
}

inline std::vector<double> widen(const std::vector<float>& x) { return {x.begin(), x.end()}; }

/// Central differences in float64: d f / d x[i] for every i. f reads x.
inline std::vector<double> numeric_gradient(std::vector<double>& x, const std::function<double()>& f, double h = 1e-5) {
  std::vector<double> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double keep = x[i];
    x[i] = keep + h;
    const double up = f();
    x[i] = keep - h;
    const double down = f();
    x[i] = keep;
    out[i] = (up - down) / (2 * h);
  }
  return out;
}

}  // namespace tradewind::tests
