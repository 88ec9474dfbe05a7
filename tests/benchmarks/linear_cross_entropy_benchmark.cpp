// Forward and backward of the language-model head with its loss. GFLOP/s counts 6 N C V (2 N C V where only evaluated).
// `products` are the three products alone, on logits that are kept: what the head cannot be faster than.
#include "kernels/linear_cross_entropy.h"

#include <benchmark/benchmark.h>

#include <array>
#include <random>
#include <vector>

#include "kernels/linear.h"

namespace {

using namespace tradewind::kernels;

void head(benchmark::State& state, bool train) {
  const std::int64_t N = state.range(0), C = state.range(1), V = state.range(2);
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(N * C), w(V * C), loss(N), dx(N * C), dw(V * C);
  std::vector<std::int32_t> targets(N);
  for (auto& value : x) value = normal(engine);
  for (auto& value : w) value = normal(engine) * 0.1F;
  for (auto& target : targets) target = static_cast<std::int32_t>(engine() % V);
  StepState step;
  Launch launch;
  launch.step = &step;
  launch.threads = static_cast<int>(state.range(3));
  for (auto _ : state)
    linear_cross_entropy(loss.data(), nullptr, nullptr, train ? dx.data() : nullptr, train ? dw.data() : nullptr, nullptr,
                         x.data(), w.data(), nullptr, targets.data(), N, V, C, Write::kAssign, {}, launch);
  state.counters["GFLOP/s"] =
      benchmark::Counter((train ? 6e-9 : 2e-9) * static_cast<double>(N * C * V), benchmark::Counter::kIsIterationInvariantRate);
}

void products(benchmark::State& state) {
  const LinearShape shape{.M = state.range(0), .N = state.range(2), .K = state.range(1)};
  std::vector<float> x(shape.M * shape.K, 0.5F), w(shape.N * shape.K, 0.25F), z(shape.M * shape.N), dx(x.size()), dw(w.size());
  Launch launch;
  launch.threads = static_cast<int>(state.range(3));
  for (auto _ : state) {
    linear_forward(z.data(), nullptr, x.data(), w.data(), nullptr, shape, {}, launch);
    linear_backward_input(dx.data(), z.data(), w.data(), shape, Write::kAssign, {}, launch);
    linear_backward_weight(dw.data(), nullptr, z.data(), x.data(), shape, Write::kAssign, {}, launch);
  }
  state.counters["GFLOP/s"] = benchmark::Counter(6e-9 * static_cast<double>(shape.M * shape.N * shape.K),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "C", "V", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2})
    for (const auto& [N, C, V] : {std::array{4096, 128, 65}, {2048, 64, 3417}, {13720, 64, 3424}, {1024, 768, 50257}})
      b->Args({N, C, V, threads});
}
BENCHMARK_CAPTURE(head, train, true)->Apply(shapes);
BENCHMARK_CAPTURE(head, evaluate, false)->Apply(shapes);
BENCHMARK(products)->Apply(shapes);

}  // namespace
