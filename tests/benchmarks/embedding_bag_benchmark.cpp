// embedding_bag_benchmark: lookups of several tables, their gradient, and the row-wise Adagrad update fused into it.
// GB/s counts what must move: forward N + B T rows, backward N read and N written (no row twice), update N read, 2 N more.
#include "kernels/embedding_bag.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;
using tradewind::benchmarks::launch;

// Arguments: T, rows of each, C, B, ids a bag, mode.
struct Arrays {
  std::int64_t T, V, C, B, N;
  Array table, moment, out;
  std::vector<std::int64_t> row_offsets, bag_offsets;
  std::vector<std::int32_t> ids, argmax, rows;
  BagShape shape{};
  BagOptions options{};
  StepState step{};
  explicit Arrays(const benchmark::State& state)
      : T(state.range(0)),
        V(T * state.range(1)),
        C(state.range(2)),
        B(state.range(3)),
        N(T * B * state.range(4)),
        table(V * C, 1),
        moment(V, 0),
        out(B * T * C, 2),
        ids(tradewind::benchmarks::uniform_ids(N, state.range(1))),
        argmax(static_cast<std::size_t>(B * T * C)),
        rows(static_cast<std::size_t>(N)) {
    for (std::int64_t t = 0; t <= T; ++t) row_offsets.push_back(t * state.range(1));
    for (std::int64_t bag = 0; bag <= T * B; ++bag) bag_offsets.push_back(bag * state.range(4));
    shape = {.T = T,
             .B = B,
             .C = C,
             .V = V,
             .N = N,
             .row_offsets = row_offsets.data(),
             .bag_offsets = bag_offsets.data(),
             .ids = ids.data(),
             .stride = T * C};
    options.mode = static_cast<BagMode>(state.range(5));
    step.learning_rate = 1e-3F;
  }
  std::int32_t* chosen() { return options.mode == BagMode::kMax ? argmax.data() : nullptr; }
  void forward() { embedding_bag_forward(out.data(), chosen(), table.data(), shape, options, launch()); }
};

void forward(benchmark::State& state) {
  Arrays a(state);
  for (auto _ : state) a.forward();
  tradewind::benchmarks::count_bytes(state, 4 * a.C * (a.N + a.B * a.T));
}

void backward(benchmark::State& state) {
  Arrays a(state);
  a.forward();
  const Array values(a.N * a.C);
  std::vector<std::int64_t> begins(static_cast<std::size_t>(a.T + 1));
  for (auto _ : state)
    embedding_bag_backward({a.rows.data(), values.data(), begins.data()}, nullptr, a.out.data(), nullptr, a.chosen(), a.shape,
                           a.options, Write::kAssign, launch());
  tradewind::benchmarks::count_bytes(state, 8 * a.C * a.N);
}

void update(benchmark::State& state) {
  Arrays a(state);
  a.forward();
  for (auto _ : state)
    embedding_bag_update(a.table.data(), a.moment.data(), nullptr, a.out.data(), a.chosen(), a.shape, a.options, Write::kAssign,
                         {}, launch(&a.step));
  tradewind::benchmarks::count_bytes(state, 12 * a.C * a.N);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->Args({26, 100000, 16, 2048, 1, 0})  // DLRM
      ->Args({26, 100000, 64, 2048, 1, 0})
      ->Args({4, 100000, 64, 1024, 20, 1})
      ->Args({4, 100000, 64, 1024, 20, 2})
      ->Args({26, 3, 64, 2048, 1, 0})  // hot rows alone
      ->UseRealTime();
}

}  // namespace

BENCHMARK(forward)->Apply(shapes);
BENCHMARK(backward)->Apply(shapes);
BENCHMARK(update)->Apply(shapes);
