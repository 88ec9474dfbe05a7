#include <benchmark/benchmark.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels/optimizer.h"

namespace tradewind {
namespace {

using kernels::Segment;

// Memory as the runtime's allocator gives it: huge pages. Seven streams miss the TLB all the time with small ones.
class HugeArray {
 public:
  HugeArray(std::size_t count, float value)
      : bytes_((count * sizeof(float) + kHuge - 1) / kHuge * kHuge),
        data_(static_cast<float*>(std::aligned_alloc(kHuge, bytes_))) {
    madvise(data_, bytes_, MADV_HUGEPAGE);
    std::fill_n(data_, count, value);
  }
  ~HugeArray() { std::free(data_); }
  HugeArray(const HugeArray&) = delete;
  HugeArray& operator=(const HugeArray&) = delete;
  float* data() { return data_; }

 private:
  static constexpr std::size_t kHuge = std::size_t{2} << 20;
  std::size_t bytes_;
  float* data_;
};

struct Setup {
  Setup(std::int64_t count, std::int64_t segments_asked, int threads)
      : parameter(static_cast<std::size_t>(count), 0.5F),
        m(static_cast<std::size_t>(count), 0.0F),
        v(static_cast<std::size_t>(count), 0.0F),
        gradient(static_cast<std::size_t>(count), 1e-3F) {
    state.learning_rate = 1e-3F;
    state.step = 10;
    launch.step = &state;
    launch.threads = threads;
    for (std::int64_t i = 0; i < segments_asked; ++i)
      segments.push_back({count * i / segments_asked, count * (i + 1) / segments_asked, i % 2 == 0 ? 0.1F : 0.0F});
  }
  std::int64_t count() const { return static_cast<std::int64_t>(segments.size()); }
  HugeArray parameter, m, v, gradient;
  std::vector<Segment> segments;
  kernels::StepState state;
  kernels::Launch launch;
};

void report(benchmark::State& state, double bytes) {
  state.counters["GB/s"] =
      benchmark::Counter(bytes * static_cast<double>(state.iterations()) * 1e-9, benchmark::Counter::kIsRate);
}

// Parameters, segments, threads.
void adamw(benchmark::State& state) {
  Setup s(state.range(0), state.range(1), static_cast<int>(state.range(2)));
  for (auto _ : state)
    kernels::adam_update(s.parameter.data(), s.m.data(), s.v.data(), s.gradient.data(), s.segments.data(), s.count(), {},
                         s.launch);
  report(state, 28.0 * static_cast<double>(state.range(0)));
}
BENCHMARK(adamw)
    ->Args({10'000'000, 1, 1})
    ->Args({10'000'000, 1, 2})
    ->Args({10'000'000, 200, 2})
    ->Args({800'000, 50, 2})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void sgd_momentum(benchmark::State& state) {
  Setup s(state.range(0), 1, static_cast<int>(state.range(1)));
  for (auto _ : state)
    kernels::sgd_update(s.parameter.data(), s.m.data(), s.gradient.data(), s.segments.data(), 1, {.momentum = 0.9F}, s.launch);
  report(state, 20.0 * static_cast<double>(state.range(0)));
}
BENCHMARK(sgd_momentum)->Args({10'000'000, 2})->UseRealTime()->Unit(benchmark::kMillisecond);

void squared_norm(benchmark::State& state) {
  Setup s(state.range(0), 1, static_cast<int>(state.range(1)));
  double sum = 0;
  for (auto _ : state) kernels::squared_norm(&sum, s.gradient.data(), state.range(0), s.launch);
  benchmark::DoNotOptimize(sum);
  report(state, 4.0 * static_cast<double>(state.range(0)));
}
BENCHMARK(squared_norm)->Args({10'000'000, 2})->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tradewind
