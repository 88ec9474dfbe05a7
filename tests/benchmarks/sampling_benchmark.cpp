// One step of generation: a token for each row.
#include "kernels/sampling.h"

#include <benchmark/benchmark.h>

#include <cmath>
#include <random>
#include <vector>

namespace {

using namespace tradewind::kernels;

void sampling(benchmark::State& state, const SamplingOptions& options) {
  const std::int64_t N = state.range(0), V = state.range(1);
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(N * V);
  for (auto& z : logits) z = normal(engine);
  std::vector<std::uint64_t> samples(N);
  std::vector<std::int32_t> positions(N), next(N);
  StepState step;
  Launch launch;
  launch.step = &step;
  launch.threads = 2;
  for (auto _ : state) {
    for (auto& position : positions) ++position;
    sample(next.data(), logits.data(), N, V, {samples.data(), positions.data()}, options, launch);
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(N), benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "V"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  b->Args({1, 65})->Args({1, 50257})->Args({16, 50257});
}
BENCHMARK_CAPTURE(sampling, greedy, SamplingOptions{.temperature = 0})->Apply(shapes);
BENCHMARK_CAPTURE(sampling, all, SamplingOptions{})->Apply(shapes);
BENCHMARK_CAPTURE(sampling, top_k_50, SamplingOptions{.top_k = 50})->Apply(shapes);
BENCHMARK_CAPTURE(sampling, top_p_095, SamplingOptions{.top_p = 0.95F})->Apply(shapes);

}  // namespace
