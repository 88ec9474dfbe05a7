// Problems of linear_cross_entropy, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (linear_cross_entropy_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <tuple>

#include "kernels/linear_cross_entropy.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {

using kernels::Launch;
using kernels::LinearCrossEntropyOptions;
using kernels::StepState;
using kernels::Write;

struct Inputs {
  std::int64_t N, V, C;
  std::vector<float> x, w, bias;
  std::vector<std::int32_t> targets;
};

inline Inputs inputs(std::int64_t N, std::int64_t V, std::int64_t C, bool with_bias, bool ignore) {
  Inputs in{N, V, C, random_values(N * C, 1), random_values(V * C, 2, 0.5), {}, std::vector<std::int32_t>(N)};
  if (with_bias) in.bias = random_values(V, 3);
  for (std::int64_t n = 0; n < N; ++n) in.targets[n] = ignore && n % 3 == 1 ? -100 : static_cast<std::int32_t>(n * 7919 % V);
  return in;
}

// The op in float64: losses, and the gradients of scale * sum(loss) by formula.
struct Oracle {
  std::vector<double> loss, nll, lse, dx, dw, dbias;
  double total = 0;

  Oracle(const Inputs& in, const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& bias,
         const LinearCrossEntropyOptions& o, double scale) {
    const auto [N, V, C] = std::array{in.N, in.V, in.C};
    loss.resize(N), nll.resize(N), lse.resize(N), dx.resize(N * C), dw.resize(V * C), dbias.resize(V);
    for (std::int64_t n = 0; n < N; ++n) {
      std::vector<double> z(V);
      double most = -INFINITY, sum = 0, mean = 0;
      for (std::int64_t v = 0; v < V; ++v) {
        z[v] = bias.empty() ? 0 : bias[v];
        for (std::int64_t c = 0; c < C; ++c) z[v] += x[n * C + c] * w[v * C + c];
        most = std::max(most, z[v]);
        mean += z[v] / V;
      }
      for (const double value : z) sum += std::exp(value - most);
      lse[n] = most + std::log(sum);
      const std::int32_t t = in.targets[n];
      if (t == o.ignore_index) continue;
      const double s = o.label_smoothing;
      nll[n] = (1 - s) * (lse[n] - z[t]) + s * (lse[n] - mean);
      loss[n] = nll[n] + o.z_loss * lse[n] * lse[n];
      total += scale * loss[n];
      for (std::int64_t v = 0; v < V; ++v) {
        const double g = scale * (std::exp(z[v] - lse[n]) * (1 + 2 * o.z_loss * lse[n]) - s / V - (v == t ? 1 - s : 0));
        for (std::int64_t c = 0; c < C; ++c) dx[n * C + c] += g * w[v * C + c], dw[v * C + c] += g * x[n * C + c];
        dbias[v] += g;
      }
    }
  }
};

struct Outputs {
  std::vector<float> loss, nll, lse, dx, dw, dbias;
};

/// Holds results against the oracle's. dw and dbias began as random_values(.., 5) and (.., 6); scale is
/// step.loss_scale[options.task].
inline void check_outputs(const std::string& what, const Outputs& got, const Inputs& in,
                          const LinearCrossEntropyOptions& options, Write write, double scale, double tolerance) {
  Oracle want(in, widen(in.x), widen(in.w), widen(in.bias), options, scale);
  if (write == Write::kAccumulate) {
    const auto dw = random_values(in.V * in.C, 5), dbias = random_values(in.V, 6);
    for (std::size_t i = 0; i < dw.size(); ++i) want.dw[i] += dw[i];
    for (std::size_t i = 0; i < dbias.size(); ++i) want.dbias[i] += dbias[i];
  }
  check_close(what + " loss", got.loss, want.loss, tolerance);
  check_close(what + " nll", got.nll, want.nll, tolerance);
  check_close(what + " lse", got.lse, want.lse, tolerance);
  // With one class the gradient is zero but for rounding of x and w, so a floor.
  for (const auto& [name, a, b] :
       {std::tuple{"dx", &got.dx, &want.dx}, {"dw", &got.dw, &want.dw}, {"dbias", &got.dbias, &want.dbias}}) {
    const double error = relative_error(*a, *b, 0.1);
    BOOST_CHECK_MESSAGE(!!(error <= tolerance), what << " " << name << ": " << error);
  }
}

using CrossEntropyCheck =
    std::function<void(const std::string& what, const Inputs& in, const LinearCrossEntropyOptions& options, Write write)>;

/// Sizes, ways to write, with and without bias and ignored rows.
inline void for_each_size(const CrossEntropyCheck& check) {
  const std::int64_t shapes[][3] = {{1, 1, 1},   {7, 5, 3},    {65, 100, 7}, {100, 65, 64},
                                    {1, 64, 65}, {1100, 7, 5}, {300, 33, 20}};
  for (const auto& [N, V, C] : shapes)
    for (const Write write : {Write::kAssign, Write::kAccumulate})
      for (const bool extras : {false, true})
        check(std::string("N").append(std::to_string(N)).append(" V").append(std::to_string(V)),
              inputs(N, V, C, extras, extras), {}, write);
}

inline void for_each_option(const CrossEntropyCheck& check) {
  for (const float smoothing : {0.0F, 0.1F, 1.0F})
    for (const float z_loss : {0.0F, 1e-2F})
      for (const bool bias : {false, true})
        check(std::string("smoothing ").append(std::to_string(smoothing)).append(" z ").append(std::to_string(z_loss)),
              inputs(37, 29, 11, bias, true), {.label_smoothing = smoothing, .z_loss = z_loss, .ignore_index = -100, .task = 3},
              Write::kAssign);
}

}  // namespace tradewind::tests
