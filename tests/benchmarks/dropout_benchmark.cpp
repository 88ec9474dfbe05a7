// dropout_benchmark: on a CPU the masks cost more than the memory.
#include "kernels/dropout.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;
using tradewind::benchmarks::launch;

void dropout(benchmark::State& state) {
  const std::int64_t N = state.range(0), C = state.range(1);
  const Array x(N * C, 1), y(N * C);
  const std::vector<std::uint64_t> sample(static_cast<std::size_t>(N), 7);
  const std::vector<std::int32_t> position = tradewind::benchmarks::uniform_ids(N, 1024);
  const StepState step;
  for (auto _ : state)
    dropout_apply(y.data(), x.data(), N, C, {0.2F, 1}, {sample.data(), position.data()}, Write::kAssign, DType::kFloat32,
                  launch(&step));
  tradewind::benchmarks::count_bytes(state, 8 * N * C);
}

}  // namespace

BENCHMARK(dropout)->Args({16384, 384})->Args({25600, 64})->Args({768, 128})->UseRealTime();
