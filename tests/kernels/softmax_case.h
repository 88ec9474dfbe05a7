// Softmax's problems, their float64 oracle, and the list of cases that every executor must solve: the CPU (softmax_test.cpp)
// and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <cmath>

#include "kernels/softmax.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::Launch;
using kernels::Write;

inline std::vector<double> softmax_oracle(const std::vector<double>& x, std::size_t C, bool log) {
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

inline std::vector<double> softmax_gradient(const std::vector<double>& dy, const std::vector<double>& y, std::size_t C,
                                            bool log) {
  std::vector<double> dx(y.size());
  for (std::size_t row = 0; row < y.size(); row += C) {
    double total = 0;
    for (std::size_t c = 0; c < C; ++c) total += dy[row + c] * (log ? 1 : y[row + c]);
    for (std::size_t c = 0; c < C; ++c)
      dx[row + c] = log ? dy[row + c] - std::exp(y[row + c]) * total : y[row + c] * (dy[row + c] - total);
  }
  return dx;
}

inline constexpr std::int64_t kSoftmaxShapes[][2] = {{1, 1}, {7, 5}, {3, 64}, {65, 65}, {1000, 100}, {2, 40001}};

/// Where and how a case runs.
struct SoftmaxWay {
  Place* place = nullptr;  // null: the CPU
  DType dtype = DType::kFloat32;
  int threads = 1;
  bool in_place = false;
  std::size_t skip = 0;  // elements before each array, which then is not aligned
};

/// The op, forward or backward, on a way. out [N C] is what it holds before, and after.
inline void run_softmax(std::vector<float>& y, const std::vector<float>& x, std::int64_t C, bool log, const SoftmaxWay& way) {
  PlacedArrays at(way.place, way.dtype, way.skip);
  const Launch launch = at.launch(way.threads);
  void* to = at.elements(y);
  kernels::softmax_forward(to, way.in_place ? to : at.read(x), static_cast<std::int64_t>(y.size()) / C, C, log, way.dtype,
                           launch);
  at.fetch();
}
inline void run_softmax_backward(std::vector<float>& dx, const std::vector<float>& dy, const std::vector<float>& y,
                                 std::int64_t C, bool log, Write write, const SoftmaxWay& way) {
  PlacedArrays at(way.place, way.dtype, way.skip);
  const Launch launch = at.launch(way.threads);
  void* to = at.elements(dx);
  kernels::softmax_backward(to, way.in_place && write == Write::kAssign ? to : at.read(dy), at.read(y),
                            static_cast<std::int64_t>(dx.size()) / C, C, log, write, way.dtype, launch);
  at.fetch();
}

/// Forward, backward assigned and added.
inline void check_softmax(const std::string& where, std::int64_t N, std::int64_t C, bool log, const SoftmaxWay& way) {
  const std::string what = where + " N" + std::to_string(N) + " C" + std::to_string(C) + (log ? " log " : " ") +
                           name_of(way.dtype) + " skip " + std::to_string(way.skip);
  const double tolerance = way.dtype == DType::kFloat32 ? 1e-6 : 4e-3;
  const auto given = [&](std::uint32_t seed, double scale) { return rounded_to(way.dtype, random_values(N * C, seed, scale)); };
  const auto x = given(1, 3), dy = given(2, 1), before = given(3, 1);
  std::vector<float> y = way.in_place ? x : std::vector<float>(N * C, NAN);
  run_softmax(y, x, C, log, way);
  const auto want = softmax_oracle(widen(x), C, log);
  check_close(what + " y", y, want, tolerance);
  // From the y that backward is given, which in bfloat16 is not the exact one.
  auto want_dx = softmax_gradient(widen(dy), way.dtype == DType::kFloat32 ? want : widen(y), C, log);
  std::vector<float> dx = way.in_place ? dy : std::vector<float>(N * C, NAN);
  run_softmax_backward(dx, dy, y, C, log, Write::kAssign, way);
  BOOST_CHECK_MESSAGE(!!(relative_error(dx, want_dx, 0.1) <= 3 * tolerance), what << " dx");
  dx = before;
  run_softmax_backward(dx, dy, y, C, log, Write::kAccumulate, way);
  for (std::size_t i = 0; i < want_dx.size(); ++i) want_dx[i] += before[i];
  check_close(what + " dx added", dx, want_dx, 3 * tolerance);
}

/// Masked elements and rows, a NaN, and the largest floats.
inline void check_softmax_extremes(const SoftmaxWay& way) {
  constexpr float kOut = -INFINITY;
  const std::vector<float> x = {1, kOut, 2, kOut, kOut, kOut, 1, NAN, 2, 3e38F, -3e38F, 3e38F};
  std::vector<float> y(12), log(12);
  run_softmax(y, x, 3, false, way);
  run_softmax(log, x, 3, true, way);
  BOOST_CHECK(y[1] == 0 && std::abs(y[0] + y[2] - 1) < 1e-6 && log[1] == kOut);
  for (int c = 3; c < 6; ++c) BOOST_CHECK(y[c] == 0 && log[c] == kOut);
  for (int c = 6; c < 9; ++c) BOOST_CHECK(std::isnan(y[c]) && std::isnan(log[c]));
  BOOST_CHECK(y[9] == 0.5F && y[10] == 0 && y[11] == 0.5F);
}

}  // namespace tradewind::tests
