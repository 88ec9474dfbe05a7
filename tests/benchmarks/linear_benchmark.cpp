// The three products of a linear layer; GFLOP/s counts 2 M N K each.
#include "kernels/linear.h"

#include <benchmark/benchmark.h>

#include <array>
#include <vector>

namespace {

using namespace tradewind::kernels;

enum class Product { kForward, kForwardGelu, kInput, kWeight };

void linear(benchmark::State& state, Product product) {
  const LinearShape s{state.range(0), state.range(2), state.range(1)};
  std::vector<float> x(s.M * s.K), w(s.N * s.K), b(s.N), y(s.M * s.N), dw(s.N * s.K), pre(s.M * s.N);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) * 0.1F - 0.8F;
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 13) * 0.1F - 0.6F;
  Launch launch;
  launch.threads = static_cast<int>(state.range(3));
  for (auto _ : state) {
    switch (product) {
      case Product::kForward: linear_forward(y.data(), nullptr, x.data(), w.data(), b.data(), s, {}, launch); break;
      case Product::kForwardGelu:
        linear_forward(y.data(), pre.data(), x.data(), w.data(), b.data(), s, {.activation = Activation::kGeluTanh}, launch);
        break;
      case Product::kInput: linear_backward_input(x.data(), y.data(), w.data(), s, Write::kAssign, {}, launch); break;
      case Product::kWeight:
        linear_backward_weight(dw.data(), b.data(), y.data(), x.data(), s, Write::kAssign, {}, launch);
        break;
    }
  }
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * static_cast<double>(s.M * s.N * s.K), benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"M", "K", "N", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const auto& [M, K, N] : {std::array{768, 128, 512},
                                {768, 512, 128},
                                {768, 128, 384},
                                {16384, 384, 1536},
                                {16384, 1536, 384},
                                {16384, 384, 1152},
                                {25600, 64, 192}})
    b->Args({M, K, N, 2});
}
BENCHMARK_CAPTURE(linear, forward_bias, Product::kForward)->Apply(shapes);
BENCHMARK_CAPTURE(linear, forward_bias_gelu, Product::kForwardGelu)->Apply(shapes);
BENCHMARK_CAPTURE(linear, backward_input, Product::kInput)->Apply(shapes);
BENCHMARK_CAPTURE(linear, backward_weight_bias, Product::kWeight)->Apply(shapes);

}  // namespace
