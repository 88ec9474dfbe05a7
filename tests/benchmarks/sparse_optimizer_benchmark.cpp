#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels/optimizer.h"
#include "kernels/sparse_optimizer.h"
#include "tests/benchmarks/arrays.h"

namespace tradewind {
namespace {

using kernels::SparseRule;

// A table of a million rows of 64 channels and its states, of which a step looked up some: 100,000 at random. In
// huge pages, as the runtime's allocator gives them.
constexpr std::int64_t kRows = 1'000'000, kChannels = 64;

class HugeArray {
 public:
  explicit HugeArray(std::int64_t count)
      : bytes_((static_cast<std::size_t>(count) * sizeof(float) + kHuge - 1) / kHuge * kHuge),
        data_(static_cast<float*>(std::aligned_alloc(kHuge, bytes_))) {
    madvise(data_, bytes_, MADV_HUGEPAGE);
    std::fill_n(data_, count, 1e-3F);
  }
  ~HugeArray() { std::free(data_); }
  HugeArray(const HugeArray&) = delete;
  HugeArray& operator=(const HugeArray&) = delete;
  float* data() const { return data_; }

 private:
  static constexpr std::size_t kHuge = std::size_t{2} << 20;
  std::size_t bytes_;
  float* data_;
};

// One at random of every kRows / n.
std::vector<std::int32_t> distinct_rows(std::int64_t n) {
  const std::int64_t of = kRows / n;
  auto rows = benchmarks::uniform_ids(n, of);
  for (std::int64_t i = 0; i < n; ++i) rows[static_cast<std::size_t>(i)] += static_cast<std::int32_t>(i * of);
  return rows;
}

void sparse(benchmark::State& state, SparseRule rule) {
  const std::int64_t n = state.range(0);
  const HugeArray table(kRows * kChannels), first(kRows * kChannels), second(kRows * kChannels), values(n * kChannels);
  const auto rows = distinct_rows(n);
  const kernels::StepState step{.step = 10, .learning_rate = 1e-3F};
  const kernels::Launch launch = benchmarks::launch(&step);
  for (auto _ : state)
    kernels::sparse_update(table.data(), first.data(), second.data(),
                           {.rows = rows.data(), .values = values.data(), .count = n}, kRows, kChannels, {.rule = rule},
                           launch);
  const std::int64_t floats = rule == SparseRule::kAdam ? 7 : rule == SparseRule::kAdagrad ? 5 : 3;
  benchmarks::count_bytes(state, 4 * floats * n * kChannels);
}
BENCHMARK_CAPTURE(sparse, adam, SparseRule::kAdam)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sparse, adagrad, SparseRule::kAdagrad)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sparse, rowwise_adagrad, SparseRule::kRowwiseAdagrad)
    ->Arg(100'000)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sparse, sgd, SparseRule::kSgd)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMillisecond);

// What a dense gradient costs: it is cleared, and every row is updated.
void dense_adam(benchmark::State& state) {
  const HugeArray table(kRows * kChannels), first(kRows * kChannels), second(kRows * kChannels), gradient(kRows * kChannels);
  const kernels::StepState step{.step = 10, .learning_rate = 1e-3F};
  const kernels::Launch launch = benchmarks::launch(&step);
  const kernels::Segment all{0, kRows * kChannels, 0.0F};
  for (auto _ : state) kernels::adam_update(table.data(), first.data(), second.data(), gradient.data(), &all, 1, {}, launch);
  benchmarks::count_bytes(state, 28 * kRows * kChannels);
}
BENCHMARK(dense_adam)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tradewind
