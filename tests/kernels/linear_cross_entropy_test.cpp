#include "kernels/linear_cross_entropy.h"

#include <array>
#include <tuple>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::Launch;
using kernels::LinearCrossEntropyOptions;
using kernels::StepState;
using kernels::Write;

constexpr double kTolerance = 3e-6;

struct Inputs {
  std::int64_t N, V, C;
  std::vector<float> x, w, bias;
  std::vector<std::int32_t> targets;
};

Inputs inputs(std::int64_t N, std::int64_t V, std::int64_t C, bool with_bias, bool ignore) {
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

Outputs run(const Inputs& in, const LinearCrossEntropyOptions& options, int threads, Write write = Write::kAssign,
            float scale = 0.25F) {
  Outputs out{std::vector<float>(in.N, NAN),        std::vector<float>(in.N, NAN), std::vector<float>(in.N, NAN),
              std::vector<float>(in.N * in.C, NAN), random_values(in.V * in.C, 5), random_values(in.V, 6)};
  StepState step;
  step.loss_scale[options.task] = scale;
  Launch launch;
  launch.step = &step;
  launch.threads = threads;
  kernels::linear_cross_entropy(out.loss.data(), out.nll.data(), out.lse.data(), out.dx.data(), out.dw.data(), out.dbias.data(),
                                in.x.data(), in.w.data(), in.bias.empty() ? nullptr : in.bias.data(), in.targets.data(), in.N,
                                in.V, in.C, write, options, launch);
  return out;
}

void check(const std::string& what, const Inputs& in, const LinearCrossEntropyOptions& options, int threads, Write write) {
  const float scale = 0.25F;
  const Outputs got = run(in, options, threads, write, scale);
  Oracle want(in, widen(in.x), widen(in.w), widen(in.bias), options, scale);
  if (write == Write::kAccumulate) {
    const auto dw = random_values(in.V * in.C, 5), dbias = random_values(in.V, 6);
    for (std::size_t i = 0; i < dw.size(); ++i) want.dw[i] += dw[i];
    for (std::size_t i = 0; i < dbias.size(); ++i) want.dbias[i] += dbias[i];
  }
  check_close(what + " loss", got.loss, want.loss, kTolerance);
  check_close(what + " nll", got.nll, want.nll, kTolerance);
  check_close(what + " lse", got.lse, want.lse, kTolerance);
  // With one class the gradient is zero but for rounding of x and w, so a floor.
  for (const auto& [name, a, b] :
       {std::tuple{"dx", &got.dx, &want.dx}, {"dw", &got.dw, &want.dw}, {"dbias", &got.dbias, &want.dbias}}) {
    const double error = relative_error(*a, *b, 0.1);
    BOOST_CHECK_MESSAGE(!!(error <= kTolerance), what << " " << name << ": " << error);
  }
}

BOOST_AUTO_TEST_CASE(losses_and_gradients_match_float64) {
  const std::int64_t shapes[][3] = {{1, 1, 1},   {7, 5, 3},    {65, 100, 7}, {100, 65, 64},
                                    {1, 64, 65}, {1100, 7, 5}, {300, 33, 20}};
  on_every_target([&](const std::string& target) {
    for (const auto& [N, V, C] : shapes)
      for (const int threads : {1, 2, 3})
        for (const Write write : {Write::kAssign, Write::kAccumulate})
          for (const bool extras : {false, true})
            check(target + " N" + std::to_string(N) + " V" + std::to_string(V) + " threads " + std::to_string(threads),
                  inputs(N, V, C, extras, extras), {}, threads, write);
  });
}

BOOST_AUTO_TEST_CASE(smoothing_and_z_loss_match_float64) {
  for (const float smoothing : {0.0F, 0.1F, 1.0F})
    for (const float z_loss : {0.0F, 1e-2F})
      for (const bool bias : {false, true})
        check("smoothing " + std::to_string(smoothing) + " z " + std::to_string(z_loss), inputs(37, 29, 11, bias, true),
              {.label_smoothing = smoothing, .z_loss = z_loss, .ignore_index = -100, .task = 3}, 2, Write::kAssign);
}

// So many classes that all threads share a chunk (more than 448 K logits in 32 rows), and more rows than one chunk takes.
BOOST_AUTO_TEST_CASE(a_large_vocabulary_in_shared_chunks_matches_float64) {
  for (const int threads : {1, 2, 3})
    for (const Write write : {Write::kAssign, Write::kAccumulate})
      check("threads " + std::to_string(threads), inputs(70, 270000, 3, true, true), {}, threads, write);
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  const Inputs in = inputs(5, 6, 4, true, true);
  const LinearCrossEntropyOptions options{.label_smoothing = 0.1F, .z_loss = 1e-2F};
  auto x = widen(in.x), w = widen(in.w), bias = widen(in.bias);
  const auto total = [&] { return Oracle(in, x, w, bias, options, 0.25).total; };
  const Oracle oracle(in, x, w, bias, options, 0.25);
  check_close("dx", oracle.dx, numeric_gradient(x, total), 1e-7);
  check_close("dw", oracle.dw, numeric_gradient(w, total), 1e-7);
  check_close("dbias", oracle.dbias, numeric_gradient(bias, total), 1e-7);
}

BOOST_AUTO_TEST_CASE(evaluation_gives_the_bits_of_training) {
  const Inputs in = inputs(300, 65, 33, true, true);
  const Outputs train = run(in, {}, 2);
  std::vector<float> loss(in.N), nll(in.N);
  Launch launch;  // without StepState
  launch.threads = 2;
  kernels::linear_cross_entropy(loss.data(), nll.data(), nullptr, nullptr, nullptr, nullptr, in.x.data(), in.w.data(),
                                in.bias.data(), in.targets.data(), in.N, in.V, in.C, Write::kAssign, {}, launch);
  BOOST_CHECK(loss == train.loss);
  BOOST_CHECK(nll == train.nll);
}

BOOST_AUTO_TEST_CASE(each_gradient_can_be_had_alone) {
  const Inputs in = inputs(300, 65, 33, true, true);
  const Outputs all = run(in, {}, 2);
  StepState step;
  step.loss_scale[0] = 0.25F;
  Launch launch;
  launch.threads = 2;
  launch.step = &step;
  for (int which = 0; which < 3; ++which) {
    Outputs one = all;
    kernels::linear_cross_entropy(one.loss.data(), nullptr, nullptr, which == 0 ? one.dx.data() : nullptr,
                                  which == 1 ? one.dw.data() : nullptr, which == 2 ? one.dbias.data() : nullptr, in.x.data(),
                                  in.w.data(), in.bias.data(), in.targets.data(), in.N, in.V, in.C, Write::kAssign, {}, launch);
    BOOST_CHECK(one.dx == all.dx && one.dw == all.dw && one.dbias == all.dbias);
  }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_others) {
  for (const auto& [N, V, C] : {std::array<std::int64_t, 3>{1030, 65, 33}, {70, 20000, 5}})
    for (const int threads : {1, 2}) {
      Inputs in = inputs(N, V, C, true, false);
      const Outputs before = run(in, {}, threads);
      for (std::int64_t c = 0; c < C; ++c) in.x[(N - 1) * C + c] += 1;
      in.targets[N - 1] = 1;
      const Outputs after = run(in, {}, threads);
      BOOST_CHECK(std::equal(before.loss.begin(), before.loss.end() - 1, after.loss.begin()));
      BOOST_CHECK(std::equal(before.dx.begin(), before.dx.end() - C, after.dx.begin()));
      BOOST_CHECK(before.loss.back() != after.loss.back());
    }
}

BOOST_AUTO_TEST_CASE(equal_threads_give_equal_bits) {
  for (const auto& [N, V, C] : {std::array<std::int64_t, 3>{1000, 65, 33}, {70, 20000, 5}})
    for (const int threads : {1, 2, 3}) {
      const Inputs in = inputs(N, V, C, true, true);
      const Outputs first = run(in, {}, threads);
      for (int again = 0; again < 3; ++again) {
        const Outputs next = run(in, {}, threads);
        BOOST_CHECK(first.loss == next.loss && first.dx == next.dx && first.dw == next.dw && first.dbias == next.dbias);
      }
    }
}

BOOST_AUTO_TEST_CASE(extreme_logits_stay_finite_and_nan_shows) {
  Inputs in = inputs(4, 40, 2, false, false);
  for (auto& x : in.x) x *= 1e4F;
  const Outputs large = run(in, {}, 2);
  for (const float value : large.loss) BOOST_CHECK(std::isfinite(value));
  for (const float value : large.dx) BOOST_CHECK(std::isfinite(value));
  in.x[0] = NAN;
  const Outputs broken = run(in, {}, 2);
  BOOST_CHECK(std::isnan(broken.loss[0]) && std::isnan(broken.dx[0]));
  BOOST_CHECK(broken.loss[3] == large.loss[3]);
}

BOOST_AUTO_TEST_CASE(no_rows_give_zero_gradients) {
  StepState step;
  Launch launch;
  launch.step = &step;
  std::vector<float> dw(6, 7.0F), dbias(3, 7.0F);
  kernels::linear_cross_entropy(nullptr, nullptr, nullptr, nullptr, dw.data(), dbias.data(), nullptr, nullptr, nullptr, nullptr,
                                0, 3, 2, Write::kAccumulate, {}, launch);
  BOOST_CHECK(dw == std::vector<float>(6, 7.0F) && dbias == std::vector<float>(3, 7.0F));
  kernels::linear_cross_entropy(nullptr, nullptr, nullptr, nullptr, dw.data(), dbias.data(), nullptr, nullptr, nullptr, nullptr,
                                0, 3, 2, Write::kAssign, {}, launch);
  BOOST_CHECK(dw == std::vector<float>(6, 0.0F) && dbias == std::vector<float>(3, 0.0F));
}

// The golden losses are means over logits that were given: x is the logits and w the unit matrix.
BOOST_AUTO_TEST_CASE(golden_values) {
  for (const auto& [name, smoothing, z_loss] : {std::tuple{"cross_entropy", 0.0F, 0.0F},
                                                {"cross_entropy_label_smoothing", 0.1F, 0.0F},
                                                {"cross_entropy_z_loss", 0.0F, 0.01F}}) {
    const GoldenTensors golden(golden_path(std::string("layers/") + name + ".safetensors"));
    Inputs in{8, 10, 10, golden.values("logits"), std::vector<float>(100), {}, golden["labels"].ids()};
    for (int i = 0; i < 10; ++i) in.w[i * 11] = 1;
    std::int64_t valid = 0;
    for (const auto t : in.targets) valid += t != -100;
    const Outputs got = run(in, {.label_smoothing = smoothing, .z_loss = z_loss}, 2, Write::kAssign,
                            golden.values("grad_out")[0] / static_cast<float>(valid));
    double mean = 0;
    for (const float value : got.loss) mean += value / static_cast<double>(valid);
    check_close(std::string(name) + " out", std::vector<double>{mean}, golden.values("out"), 1e-6);
    check_close(std::string(name) + " grad_logits", got.dx, golden.values("grad_logits"), 2e-6);
  }
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  Inputs in = inputs(4, 5, 3, false, false);
  in.targets[2] = 5;
  BOOST_CHECK_EXCEPTION(run(in, {}, 2), DataError,
                        [](const DataError& e) { return std::string(e.what()).find("row 2 is 5") != std::string::npos; });
  in.targets[2] = -1;
  BOOST_CHECK_THROW(run(in, {}, 2), DataError);
  BOOST_CHECK_NO_THROW(run(in, {.ignore_index = -1}, 2));
  in.targets[2] = 0;
  BOOST_CHECK_THROW(run(in, {.label_smoothing = 1.5F}, 2), InternalError);
  BOOST_CHECK_THROW(run(in, {.label_smoothing = NAN}, 2), InternalError);
  BOOST_CHECK_THROW(run(in, {.z_loss = -1.0F}, 2), InternalError);
  BOOST_CHECK_THROW(run(in, {.dtype = kernels::DType::kBFloat16}, 2), DeviceError);
  BOOST_CHECK_THROW(run(in, {}, 0), InternalError);
  std::vector<float> loss(4), dx(12);
  BOOST_CHECK_THROW(kernels::linear_cross_entropy(loss.data(), nullptr, nullptr, dx.data(), nullptr, nullptr, in.x.data(),
                                                  in.w.data(), nullptr, in.targets.data(), 4, 5, 3, Write::kAssign, {}, {}),
                    InternalError);
}

}  // namespace
}  // namespace tradewind::tests
