// GB/s counts x and y once each (forward), dy, y and dx (backward).
#include "kernels/softmax.h"

#include <benchmark/benchmark.h>

#include <vector>

namespace {

using namespace tradewind::kernels;

void softmax(benchmark::State& state, bool backward, bool log) {
  const std::int64_t N = state.range(0), C = state.range(1);
  std::vector<float> x(N * C), y(N * C), dx(N * C);
  for (std::int64_t i = 0; i < N * C; ++i) x[i] = static_cast<float>(i * 7919 % 1000) * 0.01F;
  Launch launch;
  launch.threads = 2;
  softmax_forward(y.data(), x.data(), N, C, log, DType::kFloat32, launch);
  for (auto _ : state) {
    if (backward)
      softmax_backward(dx.data(), x.data(), y.data(), N, C, log, Write::kAssign, DType::kFloat32, launch);
    else
      softmax_forward(y.data(), x.data(), N, C, log, DType::kFloat32, launch);
  }
  state.counters["GB/s"] =
      benchmark::Counter((backward ? 12e-9 : 8e-9) * static_cast<double>(N * C), benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "C"})->UseRealTime()->Unit(benchmark::kMillisecond);
  b->Args({16384, 64})->Args({4096, 1024})->Args({256, 50257});
}
BENCHMARK_CAPTURE(softmax, forward, false, false)->Apply(shapes);
BENCHMARK_CAPTURE(softmax, forward_log, false, true)->Apply(shapes);
BENCHMARK_CAPTURE(softmax, backward, true, false)->Apply(shapes);
BENCHMARK_CAPTURE(softmax, backward_log, true, true)->Apply(shapes);

}  // namespace
