// embedding_benchmark: lookup and gradients; `both` writes the whole dense gradient, as PyTorch does.
#include "kernels/embedding.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;
using tradewind::benchmarks::launch;

// Arguments: V, C, N.
struct Arrays {
  std::int64_t V, C, N;
  Array table, y, dy;
  std::vector<std::int32_t> ids;
  explicit Arrays(const benchmark::State& state)
      : V(state.range(0)),
        C(state.range(1)),
        N(state.range(2)),
        table(V * C, 1),
        y(N * C),
        dy(N * C, 2),
        ids(tradewind::benchmarks::uniform_ids(N, V)) {}
};

void forward(benchmark::State& state) {
  const Arrays a(state);
  for (auto _ : state)
    embedding_forward(a.y.data(), a.table.data(), a.ids.data(), a.N, a.V, a.C, Write::kAssign, DType::kFloat32, launch());
  tradewind::benchmarks::count_bytes(state, 8 * a.N * a.C);
}

void both_dense(benchmark::State& state) {
  const Arrays a(state);
  const Array dtable(a.V * a.C);
  for (auto _ : state) {
    embedding_forward(a.y.data(), a.table.data(), a.ids.data(), a.N, a.V, a.C, Write::kAssign, DType::kFloat32, launch());
    embedding_backward_dense(dtable.data(), a.dy.data(), a.ids.data(), a.N, a.V, a.C, Write::kAssign, DType::kFloat32,
                             launch());
  }
  tradewind::benchmarks::count_bytes(state, 12 * a.N * a.C + 4 * a.V * a.C);
}

void backward_dense(benchmark::State& state) {
  const Arrays a(state);
  const Array dtable(a.V * a.C);
  for (auto _ : state)
    embedding_backward_dense(dtable.data(), a.dy.data(), a.ids.data(), a.N, a.V, a.C, Write::kAssign, DType::kFloat32,
                             launch());
  tradewind::benchmarks::count_bytes(state, 4 * a.N * a.C + 4 * a.V * a.C);
}

void backward_sparse(benchmark::State& state) {
  const Arrays a(state);
  const Array values(a.N * a.C);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(a.N));
  for (auto _ : state)
    embedding_backward_sparse(rows.data(), values.data(), a.dy.data(), a.ids.data(), a.N, a.V, a.C, DType::kFloat32, launch());
  tradewind::benchmarks::count_bytes(state, 8 * a.N * a.C);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->Args({3417, 64, 25600})->Args({1000000, 64, 53248})->Args({50257, 768, 4096})->Args({65, 128, 768})->UseRealTime();
}

}  // namespace

BENCHMARK(forward)->Apply(shapes);
BENCHMARK(both_dense)->Apply(shapes);
BENCHMARK(backward_dense)
    ->Args({3417, 64, 25600})
    ->Args({65, 128, 768})
    ->Args({65, 384, 16384})
    ->Args({256, 384, 16384})
    ->UseRealTime();
BENCHMARK(backward_sparse)->Args({1000000, 64, 53248})->UseRealTime();
