// Problems of l2_normalize and their float64 oracle, for every executor: the CPU (l2_normalize_test.cpp) and the CUDA kernels
// on the executor of tests/simt.
#pragma once

#include <functional>
#include <string>
#include <tuple>

#include "kernels/l2_normalize.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::Write;

/// y and dx in float64; f(x) = <y, dy> is what dx is the gradient of.
struct L2Oracle {
  std::vector<double> y, dx;
  double total = 0;

  L2Oracle(const std::vector<double>& x, const std::vector<double>& dy, std::int64_t C, double epsilon)
      : y(x.size()), dx(x.size()) {
    for (std::size_t n = 0; n < x.size(); n += C) {
      double square = 0, along = 0;
      for (std::int64_t c = 0; c < C; ++c) square += x[n + c] * x[n + c];
      const double length = std::sqrt(square), by = std::max(length, epsilon);
      for (std::int64_t c = 0; c < C; ++c) {
        y[n + c] = x[n + c] / by;
        along += y[n + c] * dy[n + c];
      }
      total += along;
      for (std::int64_t c = 0; c < C; ++c) dx[n + c] = (dy[n + c] - (length < epsilon ? 0 : along * y[n + c])) / by;
    }
  }
};

struct L2Way {
  Place* place = nullptr;  // null: the CPU
  int threads = 2;
  DType dtype = DType::kFloat32;
};

/// Row 0 is all zeros where there are several; epsilon is so large that some rows are below it, and row 1 is as long, which is
/// not below, where that is exact.
inline void check_l2_normalize(const std::string& what, std::int64_t N, std::int64_t C, float epsilon, Write write,
                               const L2Way& way, double tolerance) {
  auto x = rounded_to(way.dtype, random_values(N * C, 1));
  if (N > 1) std::fill_n(x.begin(), C, 0.0F);
  if (N > 1 && epsilon == std::floor(epsilon)) {
    std::fill_n(x.begin() + C, C, 0.0F);
    x[2 * C - 1] = epsilon;
  }
  const auto dy = rounded_to(way.dtype, random_values(N * C, 2)), before = rounded_to(way.dtype, random_values(N * C, 3));
  std::vector<float> y(N * C, NAN), length(N, NAN), dx = before;
  PlacedArrays at(way.place, way.dtype);
  const kernels::L2NormalizeOptions options{.epsilon = epsilon, .dtype = way.dtype};
  void* placed_y = at.elements(y);
  float* placed_length = at.array(length);
  kernels::l2_normalize_forward(placed_y, placed_length, at.read(x), N, C, options, at.launch(way.threads));
  kernels::l2_normalize_backward(at.elements(dx), at.read(dy), placed_y, placed_length, N, C, write, options,
                                 at.launch(way.threads));
  at.fetch();
  L2Oracle want(widen(x), widen(dy), C, epsilon);
  if (write == Write::kAccumulate)
    for (std::size_t i = 0; i < before.size(); ++i) want.dx[i] += before[i];
  for (const auto& [name, a, b] : {std::tuple{"y", &y, &want.y}, {"dx", &dx, &want.dx}}) {
    const double error = relative_error(*a, *b);
    BOOST_CHECK_MESSAGE(!!(error <= tolerance), what << " " << name << ": " << error);
  }
}

inline void for_each_l2_case(
    const std::function<void(const std::string&, std::int64_t N, std::int64_t C, float epsilon, Write write)>& check) {
  for (const std::int64_t C : {1, 7, 31, 32, 64, 65, 100})
    for (const std::int64_t N : {1, 9, 300})
      for (const Write write : {Write::kAssign, Write::kAccumulate})
        for (const float epsilon : {1e-3F, std::sqrt(static_cast<float>(C))})
          check(std::string("N").append(std::to_string(N)).append(" C").append(std::to_string(C)), N, C, epsilon, write);
}

}  // namespace tradewind::tests
