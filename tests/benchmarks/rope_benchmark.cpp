// rope_benchmark: rotation in place of the heads of packed rows.
#include "kernels/rope.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;
using tradewind::benchmarks::launch;

// Arguments: N, heads, D; rows of a sequence of 256.
void rope(benchmark::State& state, RopeLayout layout) {
  const std::int64_t N = state.range(0), heads = state.range(1), D = state.range(2);
  const Array x(N * heads * D, 1);
  std::vector<std::int32_t> position(static_cast<std::size_t>(N));
  for (std::size_t n = 0; n < position.size(); ++n) position[n] = static_cast<std::int32_t>(n % 256);
  for (auto _ : state) rope_apply(x.data(), position.data(), N, heads, D, heads * D, {.layout = layout}, launch());
  tradewind::benchmarks::count_bytes(state, 8 * N * heads * D);
}

}  // namespace

BENCHMARK_CAPTURE(rope, half, RopeLayout::kHalf)->Args({16384, 6, 64})->Args({1, 6, 64})->UseRealTime();
BENCHMARK_CAPTURE(rope, interleaved, RopeLayout::kInterleaved)->Args({16384, 6, 64})->UseRealTime();
