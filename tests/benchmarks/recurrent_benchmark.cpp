// A GRU or LSTM layer with its input's product, forward and with all gradients; GFLOP/s counts 2 G H (K + H) a row forward,
// three times that with backward.
#include "kernels/recurrent.h"

#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/linear.h"

namespace {

using namespace tradewind::kernels;

void recurrent(benchmark::State& state, RecurrentKind kind, bool train) {
  const std::int64_t S = state.range(0), T = state.range(1), K = state.range(2), H = state.range(3);
  const std::int64_t G = recurrent_gates(kind);
  std::vector<std::int64_t> offsets;
  for (std::int64_t s = 0; s <= S; ++s) offsets.push_back(s * T);
  const auto order = recurrent_order(offsets);
  const std::int64_t N = order.N;
  const auto values = [](std::int64_t count) {
    std::vector<float> x(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 23) * 0.02F - 0.2F;
    return x;
  };
  const auto x = values(N * K), w_ih = values(G * H * K), b = values(G * H), w_hh = values(G * H * H), dh = values(N * H);
  std::vector<float> gates(N * 4 * H), h(N * H), cell(kind == RecurrentKind::kLstm ? N * H : 0), dx(N * K), dw_ih(G * H * K),
      dw(G * H * H), db(G * H), db_ih(G * H);
  float* c = cell.empty() ? nullptr : cell.data();
  Launch launch;
  launch.threads = static_cast<int>(state.range(4));
  const LinearShape inputs{.M = N, .N = G * H, .K = K, .ldy = 4 * H};
  const RecurrentShape shape{.kind = kind, .H = H, .order = &order};
  for (auto _ : state) {
    linear_forward(gates.data(), nullptr, x.data(), w_ih.data(), b.data(), inputs, {}, launch);
    recurrent_forward(h.data(), c, gates.data(), w_hh.data(), b.data(), {}, shape, launch);
    if (!train) continue;
    recurrent_backward({.dw = dw.data(), .db = db.data()}, gates.data(), {.h = h.data(), .dh = dh.data(), .cell = c},
                       w_hh.data(), {}, shape, Write::kAssign, launch);
    linear_backward_weight(dw_ih.data(), db_ih.data(), gates.data(), x.data(), inputs, Write::kAssign, {}, launch);
    linear_backward_input(dx.data(), gates.data(), w_ih.data(), inputs, Write::kAssign, {}, launch);
  }
  state.counters["GFLOP/s"] = benchmark::Counter((train ? 6e-9 : 2e-9) * static_cast<double>(N * G * H * (K + H)),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"B", "T", "K", "H", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  b->Args({128, 50, 64, 128, 2})->Args({128, 200, 64, 64, 2})->Args({128, 50, 64, 128, 1});
}
BENCHMARK_CAPTURE(recurrent, gru_forward, RecurrentKind::kGru, false)->Apply(shapes);
BENCHMARK_CAPTURE(recurrent, gru_train, RecurrentKind::kGru, true)->Apply(shapes);
BENCHMARK_CAPTURE(recurrent, lstm_forward, RecurrentKind::kLstm, false)->Apply(shapes);
BENCHMARK_CAPTURE(recurrent, lstm_train, RecurrentKind::kLstm, true)->Apply(shapes);

}  // namespace
