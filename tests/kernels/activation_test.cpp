#include "kernels/activation.h"

#include "kernels/base/error.h"
#include "tests/kernels/activation_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

constexpr std::size_t kCounts[] = {1, 7, 64, 65, 100, 40001};

Launch on(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

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
