// Loss over candidates with both gradients: a step of SASRec on ml-1m (13,720 positions) with a negative a position, gSASRec's
// 256, and 3,000 that all share; two-tower sizes with a table of a million rows, dense and sparse.
#include "kernels/candidate_loss.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;

struct Problem {
  std::int64_t N, V, C, n;
  Array x{N * C, 1}, w{V * C, 2}, loss{N}, dx{N * C};
  std::vector<std::int32_t> targets, negatives;
  StepState step;
  Launch launch = tradewind::benchmarks::launch(&step);

  Problem(const benchmark::State& state, bool shared)
      : N(state.range(0)), V(state.range(1)), C(state.range(2)), n(state.range(3)) {
    targets = tradewind::benchmarks::uniform_ids(N, V);
    negatives = tradewind::benchmarks::uniform_ids(shared ? n : N * n, V);
  }
  CandidateBatch batch() const {
    return {
        .x = x.data(), .w = w.data(), .targets = targets.data(), .negatives = negatives.data(), .N = N, .V = V, .C = C, .n = n};
  }
};

void train(benchmark::State& state, CandidateLossKind kind, bool shared) {
  Problem p(state, shared);
  const Array dw(p.V * p.C);
  for (auto _ : state)
    candidate_loss(p.loss.data(), p.dx.data(), dw.data(), nullptr, p.batch(), Write::kAssign,
                   {.kind = kind, .shared_negatives = shared}, p.launch);
  state.counters["GFLOP/s"] =
      benchmark::Counter(6e-9 * static_cast<double>(p.N * (1 + p.n) * p.C), benchmark::Counter::kIsIterationInvariantRate);
}

void train_sparse(benchmark::State& state, bool shared) {
  Problem p(state, shared);
  const CandidateLossOptions options{.kind = CandidateLossKind::kSoftmax, .shared_negatives = shared};
  const std::int64_t most = candidate_count(p.batch(), options);
  std::vector<std::int32_t> rows(most);
  const Array values(most * p.C);
  for (auto _ : state)
    candidate_loss_sparse(p.loss.data(), p.dx.data(), rows.data(), values.data(), nullptr, p.batch(), Write::kAssign, options,
                          p.launch);
}

void sizes(benchmark::internal::Benchmark* b, std::int64_t N, std::int64_t V, std::int64_t C, std::int64_t n) {
  b->ArgNames({"N", "V", "C", "n"})->UseRealTime()->Unit(benchmark::kMillisecond)->Args({N, V, C, n});
}
BENCHMARK_CAPTURE(train, bce, CandidateLossKind::kBce, false)->Apply([](auto* b) { sizes(b, 13720, 3417, 64, 1); });
BENCHMARK_CAPTURE(train, gbce, CandidateLossKind::kGbce, false)->Apply([](auto* b) { sizes(b, 13720, 3417, 128, 256); });
BENCHMARK_CAPTURE(train, softmax_shared, CandidateLossKind::kSoftmax, true)->Apply([](auto* b) {
  sizes(b, 13720, 3417, 64, 3000);
});
BENCHMARK_CAPTURE(train, bpr, CandidateLossKind::kBpr, false)->Apply([](auto* b) { sizes(b, 2048, 1000000, 64, 1); });
BENCHMARK_CAPTURE(train_sparse, own, false)->Apply([](auto* b) { sizes(b, 8192, 1000000, 64, 16); });
BENCHMARK_CAPTURE(train_sparse, shared, true)->Apply([](auto* b) { sizes(b, 8192, 1000000, 64, 2048); });

}  // namespace
