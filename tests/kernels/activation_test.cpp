#include "kernels/activation.h"

#include "kernels/base/error.h"
#include "tests/kernels/activation_case.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

constexpr std::size_t kCounts[] = {1, 7, 64, 65, 100, 40001};

Launch on(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

std::int64_t size(const std::vector<float>& x) { return static_cast<std::int64_t>(x.size()); }

}  // namespace

BOOST_AUTO_TEST_CASE(forward_matches_float64_at_any_size_and_thread_count) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target) {
      for (const Activation activation : kActivations)
        for (const std::size_t count : kCounts)
          for (const int threads : {1, 2, 3})
            check_activation_forward({.activation = activation, .count = count, .threads = threads});
    }
  });
}

BOOST_AUTO_TEST_CASE(backward_is_the_numeric_gradient_and_gives_back_the_value) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target) {
      for (const Activation activation : kActivations)
        for (const std::size_t count : kCounts)
          for (const int threads : {1, 2})
            check_activation_backward({.activation = activation, .count = count, .threads = threads});
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

BOOST_AUTO_TEST_CASE(infinities_and_nan) { check_infinities(nullptr); }

BOOST_AUTO_TEST_CASE(nothing_is_written_past_the_end) {
  const auto x = random_values(100, 1);
  std::vector<float> y(101, 77.0F);
  kernels::activation_forward(y.data(), x.data(), 100, Activation::kSilu, DType::kFloat32, on(1));
  BOOST_TEST(y.back() == 77.0F);
}

BOOST_AUTO_TEST_CASE(swiglu_matches_float64) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target) {
      for (const std::size_t N : {1, 7, 300})
        for (const std::size_t C : {1, 7, 64, 65, 100})
          for (const int threads : {1, 2, 3}) check_swiglu(N, C, threads, DType::kFloat32, nullptr);
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
