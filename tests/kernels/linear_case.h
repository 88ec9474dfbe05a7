// Problems of a linear layer, their float64 oracle, and the lists that every executor must solve: the CPU (linear_test.cpp) and
// the CUDA kernels on the executor of tests/simt.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/linear.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::Activation;
using kernels::DType;
using kernels::LinearShape;
using kernels::Write;

inline double activated(double x, Activation activation) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x > 0 ? x : 0;
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluExact: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kSilu: return x / (1 + std::exp(-x));
  }
  return NAN;
}

// float64 meaning of the three products, over strided rows. Padding between rows is not touched.
struct LinearOracle {
  std::int64_t M, N, K, ldx, ldy;
  std::vector<double> forward(const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& bias,
                              std::vector<double> y, Activation activation) const {
    for (std::int64_t m = 0; m < M; ++m)
      for (std::int64_t n = 0; n < N; ++n) {
        double sum = bias.empty() ? 0 : bias[n];
        for (std::int64_t k = 0; k < K; ++k) sum += x[m * ldx + k] * w[n * K + k];
        y[m * ldy + n] = activated(sum, activation);
      }
    return y;
  }
  std::vector<double> input(const std::vector<double>& dy, const std::vector<double>& w, std::vector<double> dx,
                            bool add) const {
    for (std::int64_t m = 0; m < M; ++m)
      for (std::int64_t k = 0; k < K; ++k) {
        double sum = add ? dx[m * ldx + k] : 0;
        for (std::int64_t n = 0; n < N; ++n) sum += dy[m * ldy + n] * w[n * K + k];
        dx[m * ldx + k] = sum;
      }
    return dx;
  }
  std::vector<double> weight(const std::vector<double>& dy, const std::vector<double>& x, std::vector<double> dw,
                             bool add) const {
    for (std::int64_t n = 0; n < N; ++n)
      for (std::int64_t k = 0; k < K; ++k) {
        double sum = add ? dw[n * K + k] : 0;
        for (std::int64_t m = 0; m < M; ++m) sum += dy[m * ldy + n] * x[m * ldx + k];
        dw[n * K + k] = sum;
      }
    return dw;
  }
  std::vector<double> bias(const std::vector<double>& dy, std::vector<double> db, bool add) const {
    for (std::int64_t n = 0; n < N; ++n) {
      double sum = add ? db[n] : 0;
      for (std::int64_t m = 0; m < M; ++m) sum += dy[m * ldy + n];
      db[n] = sum;
    }
    return db;
  }
};

struct LinearCase {
  std::int64_t M, N, K;
  std::int64_t pad = 0;  // between rows of x and y
  int threads = 1;
  Activation activation = Activation::kNone;
  bool bias = true, keep = false;  // keep: pre is asked for
  Write write = Write::kAssign;
  DType dtype = DType::kFloat32;
  bool stable = false;  // launch.stable_rows
  Place* place = nullptr;

  LinearShape shape() const { return {M, N, K, pad != 0 ? K + pad : 0, pad != 0 ? N + pad : 0}; }
  LinearOracle oracle() const { return {M, N, K, K + pad, N + pad}; }
};

inline std::string describe(const LinearCase& c) {
  return std::string(kernels::name_of(c.dtype)) + " M " + std::to_string(c.M) + " N " + std::to_string(c.N) + " K " +
         std::to_string(c.K) + " pad " + std::to_string(c.pad) + " threads " + std::to_string(c.threads) + " activation " +
         std::to_string(static_cast<int>(c.activation)) + (c.bias ? " bias" : "") + (c.keep ? " pre" : "") +
         (c.write == Write::kAccumulate ? " accumulated" : "");
}

/// Of what is float32 and of what is rounded to the op's elements.
inline constexpr double kLinearTolerance = 3e-6, kLinearBFloat16Tolerance = 1e-2;
inline double tolerance_of(const LinearCase& c) {
  return c.dtype == DType::kBFloat16 ? kLinearBFloat16Tolerance : kLinearTolerance;
}

/// What is between the rows must come back as it was.
inline void check_linear_forward(const LinearCase& c) {
  const std::int64_t ldx = c.K + c.pad, ldy = c.N + c.pad;
  const auto values = [&](std::int64_t count, std::uint32_t seed) {
    return rounded_to(c.dtype, random_values(static_cast<std::size_t>(count), seed));
  };
  const auto x = values(c.M * ldx, 1), w = values(c.N * c.K, 2), before = values(c.M * ldy, 4);
  const auto b = c.bias ? values(c.N, 3) : std::vector<float>{};
  auto y = before, pre = c.keep ? before : std::vector<float>{};
  PlacedArrays at(c.place, c.dtype);
  kernels::Launch launch = at.launch(c.threads);
  launch.stable_rows = c.stable;
  kernels::linear_forward(at.elements(y), at.elements(pre), at.read(x), at.read(w), at.read(b), c.shape(),
                          {.dtype = c.dtype, .activation = c.activation}, launch);
  at.fetch();
  const auto want = [&](Activation activation) {
    return c.oracle().forward(widen(x), widen(w), widen(b), widen(before), activation);
  };
  check_close(describe(c) + " y", y, want(c.activation), tolerance_of(c));
  if (c.keep) check_close(describe(c) + " pre", pre, want(Activation::kNone), tolerance_of(c));
}

inline void check_linear_gradients(const LinearCase& c) {
  const bool add = c.write == Write::kAccumulate;
  const std::int64_t ldx = c.K + c.pad, ldy = c.N + c.pad;
  const auto values = [&](std::int64_t count, std::uint32_t seed) {
    return rounded_to(c.dtype, random_values(static_cast<std::size_t>(count), seed));
  };
  const auto x = values(c.M * ldx, 1), w = values(c.N * c.K, 2), dy = values(c.M * ldy, 3);
  auto dx = values(c.M * ldx, 4), dw = random_values(static_cast<std::size_t>(c.N * c.K), 5),
       db = random_values(static_cast<std::size_t>(c.N), 6);
  const auto want_dx = c.oracle().input(widen(dy), widen(w), widen(dx), add);
  const auto want_dw = c.oracle().weight(widen(dy), widen(x), widen(dw), add);
  const auto want_db = c.oracle().bias(widen(dy), widen(db), add);
  PlacedArrays at(c.place, c.dtype);
  const kernels::LinearOptions options{.dtype = c.dtype};
  const kernels::Launch launch = at.launch(c.threads);
  const void *given_dy = at.read(dy), *given_x = at.read(x);
  kernels::linear_backward_input(at.elements(dx), given_dy, at.read(w), c.shape(), c.write, options, launch);
  kernels::linear_backward_weight(at.array(dw), at.array(db), given_dy, given_x, c.shape(), c.write, options, launch);
  at.fetch();
  check_close(describe(c) + " dx", dx, want_dx, tolerance_of(c));
  check_close(describe(c) + " dw", dw, want_dw, kLinearTolerance);
  check_close(describe(c) + " dbias", db, want_db, kLinearTolerance);
}

/// One row, one column, one element; sizes around powers of two; many rows; whole vectors of 16 bytes.
inline constexpr std::int64_t kLinearShapes[][3] = {{1, 1, 1},    {7, 5, 3},  {64, 65, 100},  {100, 7, 64},
                                                    {1, 100, 65}, {65, 1, 7}, {1100, 33, 20}, {70, 136, 24}};
inline constexpr std::int64_t kLinearPads[] = {0, 3, 8};

inline std::vector<LinearCase> linear_forward_cases() {
  std::vector<LinearCase> cases;
  for (const auto& [M, N, K] : kLinearShapes)
    for (const std::int64_t pad : kLinearPads)
      for (const bool bias : {false, true}) cases.push_back({.M = M, .N = N, .K = K, .pad = pad, .bias = bias});
  return cases;
}

inline std::vector<LinearCase> linear_activation_cases() {
  std::vector<LinearCase> cases;
  for (const Activation activation :
       {Activation::kNone, Activation::kRelu, Activation::kGeluTanh, Activation::kGeluExact, Activation::kSilu})
    for (const auto& [M, N, K] : kLinearShapes)
      for (const std::int64_t pad : kLinearPads)
        for (const bool keep : {false, true})
          cases.push_back({.M = M, .N = N, .K = K, .pad = pad, .activation = activation, .keep = keep});
  return cases;
}

inline std::vector<LinearCase> linear_gradient_cases() {
  std::vector<LinearCase> cases;
  for (const auto& [M, N, K] : kLinearShapes)
    for (const std::int64_t pad : kLinearPads)
      for (const Write write : {Write::kAssign, Write::kAccumulate})
        cases.push_back({.M = M, .N = N, .K = K, .pad = pad, .write = write});
  return cases;
}

}  // namespace tradewind::tests
