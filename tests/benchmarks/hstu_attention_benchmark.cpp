// HSTU attention of the shapes of recommenders, read from a fused u, v, q, k [N, 4 C] as the model does; beside softmax
// attention of the same shapes see attention_benchmark. FLOPs are counted as 2 B H T^2 D forward (half of the square, D = Dv)
// and 5 / 2 times as many backward.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/hstu_attention.h"

namespace tradewind::kernels {
namespace {

struct Problem {
  std::int64_t B, H, T, D;
  std::vector<std::int64_t> offsets, times;
  std::vector<float> uvqk, duvqk, out, dout, position, time, dposition, dtime;
  HstuAttentionShape shape{};
  HstuAttentionOptions options{};
  Launch launch{};

  /// Arguments: B, H, T, D, time bias, threads.
  explicit Problem(const benchmark::State& state) : B(state.range(0)), H(state.range(1)), T(state.range(2)), D(state.range(3)) {
    const auto C = static_cast<std::size_t>(H * D), N = static_cast<std::size_t>(B * T);
    std::mt19937 engine(1);
    const auto fill = [&](std::vector<float>& x, std::size_t count) {
      x.resize(count);
      for (float& y : x) y = static_cast<float>(engine()) / 2147483648.0F - 1.0F;
    };
    fill(uvqk, N * 4 * C);
    fill(dout, N * C);
    fill(position, static_cast<std::size_t>(T));
    fill(time, static_cast<std::size_t>(TimeBuckets::kMost));
    duvqk.resize(uvqk.size()), out.resize(dout.size()), dposition.resize(position.size()), dtime.resize(time.size());
    for (std::int64_t b = 0; b <= B; ++b) offsets.push_back(b * T);
    for (std::size_t n = 0, now = 0; n < N; ++n, now += engine() % 8 == 0 ? engine() % 1'000'000 : engine() % 300)
      times.push_back(static_cast<std::int64_t>(now));
    const std::int64_t row = 4 * H * D;
    shape = {.B = B,
             .offsets = offsets.data(),
             .max_length = T,
             .H = H,
             .D = D,
             .Dv = D,
             .q_stride = row,
             .k_stride = row,
             .v_stride = row,
             .out_stride = H * D};
    options = {.scale = 1.0F / static_cast<float>(T), .position_bias = position.data(), .positions = T};
    if (state.range(4) != 0) {
      options.time_bias = time.data();
      options.time_buckets = TimeBuckets::kMost;
      options.query_times = options.key_times = times.data();
    }
    launch.threads = static_cast<int>(state.range(5));
  }
  void forward() {
    const float* x = uvqk.data() + H * D;
    hstu_attention_forward(out.data(), x + H * D, x + 2 * H * D, x, shape, options, launch);
  }
  void backward() {
    const float* x = uvqk.data() + H * D;
    float* dx = duvqk.data() + H * D;
    hstu_attention_backward(dx + H * D, dx + 2 * H * D, dx,
                            {.position = dposition.data(), .time = options.time_bias == nullptr ? nullptr : dtime.data()},
                            dout.data(), x + H * D, x + 2 * H * D, x, shape, options, launch);
  }
  double flops() const { return 2.0 * static_cast<double>(B * H * T * T * D); }
};

void count(benchmark::State& state, double flops) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::OneK::kIs1000);
}

void hstu_attention_forward_only(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) p.forward();
  count(state, p.flops());
}

void hstu_attention_both(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    p.forward();
    p.backward();
  }
  count(state, 3.5 * p.flops());
}

void shapes(benchmark::internal::Benchmark* b) {
  for (const int time : {0, 1})
    for (const auto& s : {std::vector<std::int64_t>{128, 1, 200, 64}, {128, 1, 50, 128}, {32, 4, 512, 32}})
      b->Args({s[0], s[1], s[2], s[3], time, 2});
  b->ArgNames({"B", "H", "T", "D", "time", "threads"})->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(hstu_attention_forward_only)->Apply(shapes);
BENCHMARK(hstu_attention_both)->Apply(shapes);

}  // namespace
}  // namespace tradewind::kernels
