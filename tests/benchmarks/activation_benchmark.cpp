// activation_benchmark: bytes a second of the passes over memory that each op needs.
#include "kernels/activation.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;
using tradewind::benchmarks::launch;

void activation_forward_at(benchmark::State& state, Activation activation) {
  const std::int64_t count = state.range(0) * state.range(1);
  const Array x(count, 1), y(count);
  for (auto _ : state) activation_forward(y.data(), x.data(), count, activation, DType::kFloat32, launch());
  tradewind::benchmarks::count_bytes(state, 8 * count);
}

void activation_both(benchmark::State& state, Activation activation) {
  const std::int64_t count = state.range(0) * state.range(1);
  const Array x(count, 1), dy(count, 2), y(count), dx(count);
  for (auto _ : state) {
    activation_forward(y.data(), x.data(), count, activation, DType::kFloat32, launch());
    activation_backward(dx.data(), nullptr, dy.data(), x.data(), count, activation, Write::kAssign, DType::kFloat32, launch());
  }
  tradewind::benchmarks::count_bytes(state, 20 * count);
}

void swiglu_both(benchmark::State& state) {
  const std::int64_t N = state.range(0), C = state.range(1);
  const Array x(N * 2 * C, 1), dy(N * C, 2), y(N * C), dx(N * 2 * C);
  for (auto _ : state) {
    swiglu_forward(y.data(), x.data(), N, C, DType::kFloat32, launch());
    swiglu_backward(dx.data(), dy.data(), x.data(), N, C, Write::kAssign, DType::kFloat32, launch());
  }
  tradewind::benchmarks::count_bytes(state, 32 * N * C);
}

}  // namespace

BENCHMARK_CAPTURE(activation_forward_at, gelu_tanh, Activation::kGeluTanh)
    ->Args({16384, 1536})
    ->Args({768, 512})
    ->UseRealTime();
BENCHMARK_CAPTURE(activation_both, gelu_tanh, Activation::kGeluTanh)->Args({16384, 1536})->Args({768, 512})->UseRealTime();
BENCHMARK_CAPTURE(activation_both, gelu_exact, Activation::kGeluExact)->Args({16384, 1536})->UseRealTime();
BENCHMARK_CAPTURE(activation_both, silu, Activation::kSilu)->Args({16384, 1536})->UseRealTime();
BENCHMARK(swiglu_both)->Args({16384, 768})->UseRealTime();
