// norm_benchmark: layer norm and RMS norm, alone and fused with the residual branch.
#include "kernels/norm.h"

#include "tests/benchmarks/arrays.h"

namespace {

using namespace tradewind::kernels;
using tradewind::benchmarks::Array;
using tradewind::benchmarks::launch;

struct Arrays {
  std::int64_t N, C;
  Array x, y, dy, dx, w, b, dw, db, mean, rstd;
  explicit Arrays(const benchmark::State& state)
      : N(state.range(0)),
        C(state.range(1)),
        x(N * C, 1),
        y(N * C),
        dy(N * C, 2),
        dx(N * C),
        w(C, 3),
        b(C, 4),
        dw(C),
        db(C),
        mean(N),
        rstd(N) {}
};

void layer_norm_forward(benchmark::State& state) {
  const Arrays a(state);
  for (auto _ : state)
    norm_forward(a.y.data(), a.mean.data(), a.rstd.data(), a.x.data(), a.w.data(), a.b.data(), a.N, a.C, {}, launch());
  tradewind::benchmarks::count_bytes(state, 8 * a.N * a.C);
}

void norm_both(benchmark::State& state, NormKind kind) {
  const Arrays a(state);
  const NormOptions options{.kind = kind};
  const bool layer = kind == NormKind::kLayerNorm;
  float* mean = layer ? a.mean.data() : nullptr;
  for (auto _ : state) {
    norm_forward(a.y.data(), mean, a.rstd.data(), a.x.data(), a.w.data(), layer ? a.b.data() : nullptr, a.N, a.C, options,
                 launch());
    norm_backward(a.dx.data(), a.dw.data(), layer ? a.db.data() : nullptr, a.dy.data(), a.x.data(), mean, a.rstd.data(),
                  a.w.data(), a.N, a.C, Write::kAssign, Write::kAssign, options, launch());
  }
  tradewind::benchmarks::count_bytes(state, 20 * a.N * a.C);
}

// state.range(2): dropout in per cent.
void residual_norm_both(benchmark::State& state) {
  const Arrays a(state);
  const Array residual(a.N * a.C, 5), s(a.N * a.C), dresidual(a.N * a.C);
  const std::vector<std::uint64_t> sample(static_cast<std::size_t>(a.N), 7);
  const std::vector<std::int32_t> position = tradewind::benchmarks::uniform_ids(a.N, 1024);
  const RowKeys keys{sample.data(), position.data()};
  const Dropout dropout{static_cast<float>(state.range(2)) / 100, 1};
  const StepState step;
  for (auto _ : state) {
    residual_norm_forward(s.data(), a.y.data(), a.mean.data(), a.rstd.data(), residual.data(), a.x.data(), a.w.data(),
                          a.b.data(), a.N, a.C, dropout, keys, {}, launch(&step));
    residual_norm_backward(dresidual.data(), dropout.p > 0 ? a.dx.data() : nullptr, a.dw.data(), a.db.data(), a.dy.data(),
                           dresidual.data(), s.data(), a.mean.data(), a.rstd.data(), a.w.data(), a.N, a.C, dropout, keys,
                           Write::kAssign, {}, launch(&step));
  }
  tradewind::benchmarks::count_bytes(state, (dropout.p > 0 ? 36 : 32) * a.N * a.C);
}

}  // namespace

BENCHMARK(layer_norm_forward)->Args({16384, 384})->Args({25600, 64})->Args({768, 128})->UseRealTime();
BENCHMARK_CAPTURE(norm_both, layer_norm, NormKind::kLayerNorm)
    ->Args({16384, 384})
    ->Args({25600, 64})
    ->Args({768, 128})
    ->UseRealTime();
BENCHMARK_CAPTURE(norm_both, rms_norm, NormKind::kRmsNorm)->Args({16384, 384})->UseRealTime();
BENCHMARK(residual_norm_both)
    ->Args({16384, 384, 0})
    ->Args({16384, 384, 20})
    ->Args({768, 128, 0})
    ->Args({25600, 64, 20})
    ->UseRealTime();
