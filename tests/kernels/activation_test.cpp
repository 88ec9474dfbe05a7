#include "kernels/activation.h"

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::Activation;
using kernels::DType;
using kernels::Launch;
using kernels::Write;

constexpr Activation kAll[] = {Activation::kNone, Activation::kRelu, Activation::kGeluTanh, Activation::kGeluExact,
                               Activation::kSilu};
constexpr std::size_t kCounts[] = {1, 7, 64, 65, 100, 40001};

double value(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x > 0 ? x : 0;
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluExact: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kSilu: return x / (1 + std::exp(-x));
  }
  return NAN;
}

double slope(Activation activation, double x) {
  if (activation == Activation::kRelu) return x > 0 ? 1 : 0;
  constexpr double h = 1e-5;
  return (value(activation, x + h) - value(activation, x - h)) / (2 * h);
}

Launch on(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

std::int64_t size(const std::vector<float>& x) { return static_cast<std::int64_t>(x.size()); }

}  // namespace

BOOST_AUTO_TEST_CASE(forward_matches_float64_at_any_size_and_thread_count) {
  on_every_target([](const std::string& target) {
    for (const Activation activation : kAll)
      for (const std::size_t count : kCounts)
        for (const int threads : {1, 2, 3}) {
          const auto x = random_values(count, 1, 3.0);
          std::vector<float> y(count + 1, 77.0F), in_place = x;
          kernels::activation_forward(y.data(), x.data(), size(x), activation, DType::kFloat32, on(threads));
          kernels::activation_forward(in_place.data(), in_place.data(), size(x), activation, DType::kFloat32, on(threads));
          BOOST_TEST(y.back() == 77.0F);  // nothing is written past the end
          y.pop_back();
          for (std::size_t i = 0; i < count; ++i) {
            const double error = std::abs(y[i] - value(activation, x[i])) / std::max(1.0, std::abs(static_cast<double>(x[i])));
            BOOST_REQUIRE_MESSAGE(!!(error <= 1e-6),
                                  target << " activation " << int(activation) << " of " << x[i] << ": " << y[i]);
          }
          BOOST_TEST(in_place == y);
        }
  });
}

BOOST_AUTO_TEST_CASE(backward_is_the_numeric_gradient_and_gives_back_the_value) {
  on_every_target([](const std::string& target) {
    for (const Activation activation : kAll)
      for (const std::size_t count : kCounts)
        for (const int threads : {1, 2}) {
          const auto x = random_values(count, 2, 2.0), dy = random_values(count, 3), base = random_values(count, 4);
          std::vector<double> expected(count), added(count);
          for (std::size_t i = 0; i < count; ++i) {
            expected[i] = dy[i] * slope(activation, x[i]);
            added[i] = base[i] + expected[i];
          }
          std::vector<float> forward(count), y(count), dx(count), sum = base, over_dy = dy, over_x = x, sum_y = base;
          kernels::activation_forward(forward.data(), x.data(), size(x), activation, DType::kFloat32, on(threads));
          const auto backward = [&](std::vector<float>& to, float* recomputed, const std::vector<float>& g,
                                    const std::vector<float>& at, Write write) {
            kernels::activation_backward(to.data(), recomputed, g.data(), at.data(), size(x), activation, write,
                                         DType::kFloat32, on(threads));
          };
          backward(dx, nullptr, dy, x, Write::kAssign);
          backward(sum, nullptr, dy, x, Write::kAccumulate);
          backward(over_dy, nullptr, over_dy, x, Write::kAssign);
          backward(over_x, y.data(), dy, over_x, Write::kAssign);
          check_close(target + " dx", dx, expected, 2e-6);
          check_close(target + " accumulated dx", sum, added, 2e-6);
          check_close(target + " recomputed y", y, widen(forward), 3e-7);
          backward(sum_y, y.data(), dy, x, Write::kAccumulate);
          BOOST_TEST(sum_y == sum);
          BOOST_TEST(over_dy == dx);
          BOOST_TEST(over_x == dx);
        }
  });
}

BOOST_AUTO_TEST_CASE(outputs_too_large_for_the_cache_are_the_same) {
  const std::size_t count = (std::size_t{5} << 20) + 13;  // enough for streaming stores where the heap aligns
  kernels::Scratch& heap = kernels::heap_scratch();
  const auto x = random_values(1000, 1);
  auto* in = static_cast<float*>(heap.acquire(count * 4));
  auto* out = static_cast<float*>(heap.acquire(count * 4));
  for (std::size_t i = 0; i < count; ++i) in[i] = x[i % 1000];
  std::vector<float> small(1000);
  const auto n = static_cast<std::int64_t>(count);
  kernels::activation_forward(small.data(), x.data(), 1000, Activation::kGeluTanh, DType::kFloat32, on(1));
  kernels::activation_forward(out, in, n, Activation::kGeluTanh, DType::kFloat32, on(2));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) wrong += out[i] != small[i % 1000] ? 1 : 0;
  BOOST_TEST(wrong == 0U);
  kernels::activation_backward(small.data(), nullptr, x.data(), x.data(), 1000, Activation::kGeluTanh, Write::kAssign,
                               DType::kFloat32, on(1));
  kernels::activation_backward(out, nullptr, in, in, n, Activation::kGeluTanh, Write::kAssign, DType::kFloat32, on(2));
  for (std::size_t i = 0; i < count; ++i) wrong += out[i] != small[i % 1000] ? 1 : 0;
  BOOST_TEST(wrong == 0U);
  heap.release(in, count * 4);
  heap.release(out, count * 4);
}

BOOST_AUTO_TEST_CASE(infinities_and_nan) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {inf, -inf, NAN, -1e30F, 1e30F};
  for (const Activation activation : {Activation::kRelu, Activation::kGeluTanh}) {
    std::vector<float> y(5);
    kernels::activation_forward(y.data(), x.data(), 5, activation, DType::kFloat32, on(1));
    BOOST_TEST(y[0] == inf);
    BOOST_TEST(y[1] == 0.0F);
    BOOST_TEST(std::isnan(y[2]));
    BOOST_TEST(y[3] == 0.0F);
    BOOST_TEST(y[4] == 1e30F);
  }
}

BOOST_AUTO_TEST_CASE(swiglu_matches_float64) {
  on_every_target([](const std::string& target) {
    for (const std::size_t N : {1, 7, 300})
      for (const std::size_t C : {1, 7, 64, 65, 100})
        for (const int threads : {1, 2, 3}) {
          const auto x = random_values(N * 2 * C, 5, 2.0), dy = random_values(N * C, 6), base = random_values(N * 2 * C, 7);
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
          kernels::swiglu_forward(y.data(), x.data(), rows, columns, DType::kFloat32, on(threads));
          kernels::swiglu_backward(dx.data(), dy.data(), x.data(), rows, columns, Write::kAssign, DType::kFloat32, on(threads));
          kernels::swiglu_backward(sum.data(), dy.data(), x.data(), rows, columns, Write::kAccumulate, DType::kFloat32,
                                   on(threads));
          check_close(target + " swiglu", y, out, 1e-6);
          check_close(target + " swiglu dx", dx, expected, 1e-6);
          check_close(target + " swiglu accumulated dx", sum, added, 1e-6);
        }
  });
}

BOOST_AUTO_TEST_CASE(golden_activations) {
  for (const auto& [name, activation] :
       {std::pair{"gelu_tanh", Activation::kGeluTanh}, {"gelu_exact", Activation::kGeluExact}, {"silu", Activation::kSilu}}) {
    const GoldenTensors golden(golden_path("layers/") + name + ".safetensors");
    const auto& x = golden.values("x");
    std::vector<float> y(x.size()), dx(x.size());
    kernels::activation_forward(y.data(), x.data(), size(x), activation, DType::kFloat32, on(1));
    kernels::activation_backward(dx.data(), nullptr, golden.values("grad_out").data(), x.data(), size(x), activation,
                                 Write::kAssign, DType::kFloat32, on(1));
    check_close(std::string(name) + " out", y, golden.values("out"), 1e-6);
    check_close(std::string(name) + " grad_x", dx, golden.values("grad_x"), 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(golden_swiglu) {
  const GoldenTensors golden(golden_path("layers/swiglu.safetensors"));
  const auto &gate = golden.values("gate"), &up = golden.values("up");
  const std::size_t N = 4, C = 10;
  std::vector<float> x(N * 2 * C), y(N * C), dx(N * 2 * C), dgate, dup;
  for (std::size_t n = 0; n < N; ++n) {
    std::copy_n(&gate[n * C], C, &x[n * 2 * C]);
    std::copy_n(&up[n * C], C, &x[n * 2 * C + C]);
  }
  kernels::swiglu_forward(y.data(), x.data(), 4, 10, DType::kFloat32, on(1));
  kernels::swiglu_backward(dx.data(), golden.values("grad_out").data(), x.data(), 4, 10, Write::kAssign, DType::kFloat32,
                           on(1));
  for (std::size_t n = 0; n < N; ++n) {
    dgate.insert(dgate.end(), &dx[n * 2 * C], &dx[n * 2 * C + C]);
    dup.insert(dup.end(), &dx[n * 2 * C + C], &dx[n * 2 * C] + 2 * C);
  }
  check_close("swiglu out", y, golden.values("out"), 1e-6);
  check_close("swiglu grad_gate", dgate, golden.values("grad_gate"), 1e-6);
  check_close("swiglu grad_up", dup, golden.values("grad_up"), 1e-6);
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(4), y(4);
  BOOST_CHECK_THROW(kernels::activation_forward(nullptr, x.data(), 4, Activation::kRelu, DType::kFloat32, on(1)),
                    InternalError);
  BOOST_CHECK_THROW(kernels::activation_forward(y.data(), x.data(), -1, Activation::kRelu, DType::kFloat32, on(1)),
                    InternalError);
  BOOST_CHECK_THROW(kernels::activation_forward(y.data(), x.data(), 4, Activation::kRelu, DType::kBFloat16, on(1)),
                    DeviceError);
  BOOST_CHECK_THROW(kernels::swiglu_forward(x.data(), x.data(), 1, 2, DType::kFloat32, on(1)), InternalError);
  Launch cuda = on(1);
  cuda.device.type = kernels::DeviceType::kCuda;
  BOOST_CHECK_THROW(kernels::activation_forward(y.data(), x.data(), 4, Activation::kRelu, DType::kFloat32, cuda), DeviceError);
}

}  // namespace tradewind::tests
