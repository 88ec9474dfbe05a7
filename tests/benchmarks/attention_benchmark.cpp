// Attention of the shapes that models here use, causal, read from a fused projection [N, 3C] as models do; or ("apart") from
// arrays of q, k and v in which every head of a sequence is a block of its own, [B, H, T, D] as PyTorch's benchmark has them.
// FLOPs are counted as 2 B H T^2 D forward (half of the square) and three times as many forward and backward.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/attention.h"

namespace tradewind::kernels {
namespace {

struct Problem {
  std::int64_t B, H, T, D;
  std::vector<std::int64_t> offsets;
  std::vector<float> qkv, dqkv, out, dout, lse;
  StepState step{};
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  AttentionShape shape{};
  AttentionOptions options{};
  Launch launch{};
  std::int64_t step_between = 0;  // floats from q to k to v

  Problem(std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t d, float dropout, int threads, bool apart)
      : B(b), H(h), T(t), D(d) {
    const auto C = static_cast<std::size_t>(H * D), N = static_cast<std::size_t>(B * T);
    for (std::int64_t i = 0; i <= B; ++i) offsets.push_back(i * T);
    std::mt19937 engine(1);
    const auto fill = [&](std::vector<float>& x, std::size_t count) {
      x.resize(count);
      for (float& y : x) y = static_cast<float>(engine()) / 2147483648.0F - 1.0F;
    };
    fill(qkv, N * 3 * C);
    fill(dout, N * C);
    dqkv.resize(qkv.size());
    out.resize(dout.size());
    lse.resize(N * static_cast<std::size_t>(H));
    for (std::size_t n = 0; n < N; ++n) {
      sample.push_back(n / static_cast<std::size_t>(T));
      position.push_back(static_cast<std::int32_t>(n % static_cast<std::size_t>(T)));
    }
    const std::int64_t row = 3 * H * D;
    shape = {.B = B,
             .q_offsets = offsets.data(),
             .k_offsets = offsets.data(),
             .max_q = T,
             .max_k = T,
             .H = H,
             .H_kv = H,
             .D = D,
             .q_stride = row,
             .k_stride = row,
             .v_stride = row,
             .out_stride = H * D};
    options.scale = 1.0F / std::sqrt(static_cast<float>(D));
    options.dropout.p = dropout;
    options.keys = {sample.data(), position.data()};
    if (apart) {  // a head is a sequence of its own
      for (std::int64_t i = B + 1; i <= B * H; ++i) offsets.push_back(i * T);
      shape.B = B * H, shape.H = shape.H_kv = 1;
      shape.q_offsets = shape.k_offsets = offsets.data();
      shape.q_stride = shape.k_stride = shape.v_stride = shape.out_stride = D;
      sample.resize(N * static_cast<std::size_t>(H));
      position.resize(sample.size());
    }
    step_between = apart ? B * H * T * D : H * D;
    launch.step = &step;
    launch.threads = threads;
  }
  void forward() {
    const float* q = qkv.data();
    attention_forward(out.data(), lse.data(), q, q + step_between, q + 2 * step_between, shape, options, launch);
  }
  void backward() {
    const float* q = qkv.data();
    float* dq = dqkv.data();
    attention_backward(dq, dq + step_between, dq + 2 * step_between, nullptr, dout.data(), out.data(), lse.data(), q,
                       q + step_between, q + 2 * step_between, shape, options, launch);
  }
};

void count(benchmark::State& state, double flops) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::OneK::kIs1000);
}

// Arguments: B, H, T, D, dropout in percent, threads, apart.
Problem problem_of(const benchmark::State& state) {
  return {state.range(0),
          state.range(1),
          state.range(2),
          state.range(3),
          static_cast<float>(state.range(4)) / 100.0F,
          static_cast<int>(state.range(5)),
          state.range(6) != 0};
}

void attention_forward_only(benchmark::State& state) {
  Problem p = problem_of(state);
  for (auto _ : state) p.forward();
  count(state, 2.0 * static_cast<double>(p.B * p.H * p.T * p.T * p.D));
}

void attention_both(benchmark::State& state) {
  Problem p = problem_of(state);
  for (auto _ : state) {
    p.forward();
    p.backward();
  }
  count(state, 6.0 * static_cast<double>(p.B * p.H * p.T * p.T * p.D));
}

/// Generation: one query a sequence against T cached keys. Bound by reading them: bytes are counted.
void attention_generate(benchmark::State& state) {
  Problem p = problem_of(state);
  std::vector<std::int64_t> queries;
  for (std::int64_t b = 0; b <= p.B; ++b) queries.push_back(b);
  p.shape.q_offsets = queries.data();
  p.shape.max_q = 1;
  for (auto _ : state) p.forward();
  state.counters["GB/s"] = benchmark::Counter(8e-9 * static_cast<double>(p.B * p.H * p.T * p.D),
                                              benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::OneK::kIs1000);
}

void shapes(benchmark::internal::Benchmark* b) {
  for (const int dropout : {0, 10})
    for (const auto& s : {std::vector<std::int64_t>{12, 4, 64, 32}, {64, 6, 256, 64}, {128, 1, 200, 64}, {4, 12, 1024, 64}})
      for (const int apart : {0, 1})
        if (apart == 0 || dropout == 0) b->Args({s[0], s[1], s[2], s[3], dropout, 2, apart});
  b->Args({1, 1, 4096, 64, 0, 2, 0});  // one long sequence: split within
  b->ArgNames({"B", "H", "T", "D", "dropout%", "threads", "apart"})->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(attention_forward_only)->Apply(shapes);
BENCHMARK(attention_both)->Apply(shapes);
BENCHMARK(attention_generate)
    ->Args({1, 12, 1024, 64, 0, 2, 0})
    ->Args({16, 6, 256, 64, 0, 2, 0})
    ->ArgNames({"B", "H", "T", "D", "dropout%", "threads", "apart"})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tradewind::kernels
