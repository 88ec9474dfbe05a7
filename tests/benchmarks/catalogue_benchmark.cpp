// Scoring a whole catalogue: the evaluation of ml-1m (6,040 users, histories of 165 left out), and serving a few users from
// large catalogues. GFLOP/s counts 2 N V C.
#include "kernels/catalogue.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;

struct Problem {
  std::int64_t N, V, C;
  Array x{N * C, 1}, w{V * C, 2};
  std::vector<std::int64_t> exclude_offsets, target_offsets;
  std::vector<std::int32_t> exclude, targets;

  Problem(std::int64_t n, std::int64_t v, std::int64_t c) : N(n), V(v), C(c), exclude_offsets{0}, target_offsets{0} {
    const std::int64_t history = std::min<std::int64_t>(165, V / 2);
    for (std::int64_t i = 0; i < N; ++i) {
      for (std::int64_t e = 0; e < history; ++e)
        exclude.push_back(static_cast<std::int32_t>(e * (V / history) + i % (V / history)));
      exclude_offsets.push_back(static_cast<std::int64_t>(exclude.size()));
      targets.push_back(static_cast<std::int32_t>(i * 7919 % V));
      target_offsets.push_back(i + 1);
    }
  }
  Catalogue catalogue() const {
    return {.x = x.data(),
            .w = w.data(),
            .N = N,
            .V = V,
            .C = C,
            .exclude_offsets = exclude_offsets.data(),
            .exclude = exclude.data()};
  }
};

void count_flops(benchmark::State& state) {
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * static_cast<double>(state.range(0) * state.range(1) * state.range(2)),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void top_k(benchmark::State& state) {
  const Problem p(state.range(0), state.range(1), state.range(2));
  constexpr std::int64_t k = 10;
  std::vector<std::int32_t> ids(p.N * k);
  std::vector<float> scores(p.N * k);
  for (auto _ : state) catalogue_top_k(ids.data(), scores.data(), p.catalogue(), k, tradewind::benchmarks::launch());
  count_flops(state);
}

void rank(benchmark::State& state) {
  const Problem p(state.range(0), state.range(1), state.range(2));
  std::vector<std::int32_t> greater(p.N), equal(p.N);
  for (auto _ : state)
    catalogue_rank(greater.data(), equal.data(), p.catalogue(), p.target_offsets.data(), p.targets.data(), p.N,
                   tradewind::benchmarks::launch());
  count_flops(state);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "V", "C"})->UseRealTime()->Unit(benchmark::kMillisecond);
  b->Args({6040, 3416, 64})->Args({256, 54542, 64})->Args({1, 1000000, 64})->Args({64, 1000000, 64});
}
BENCHMARK(top_k)->Apply(shapes);
BENCHMARK(rank)->Apply(shapes);

}  // namespace
