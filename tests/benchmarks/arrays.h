// Arrays, threads and counters that the benchmarks of the memory-bound ops share.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels/base/launch.h"

namespace tradewind::benchmarks {

/// Floats in the kernels' own workspace (aligned, touched), which is how training holds them.
class Array {
 public:
  explicit Array(std::int64_t count, std::uint32_t seed = 0)
      : bytes_(static_cast<std::size_t>(count) * sizeof(float)),
        data_(static_cast<float*>(kernels::heap_scratch().acquire(bytes_))) {
    std::uint32_t state = seed * 2654435761U + 1;
    for (std::int64_t i = 0; i < count; ++i) {
      state = state * 1664525U + 1013904223U;
      data_[i] = seed == 0 ? 0.0F : static_cast<float>(static_cast<std::int32_t>(state)) * 1e-9F;
    }
  }
  ~Array() { kernels::heap_scratch().release(data_, bytes_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  float* data() const { return data_; }

 private:
  std::size_t bytes_;
  float* data_;
};

/// Threads from OMP_NUM_THREADS, or 2.
inline kernels::Launch launch(const kernels::StepState* step = nullptr) {
  static const char* const threads = std::getenv("OMP_NUM_THREADS");
  kernels::Launch launch;
  launch.threads = threads != nullptr ? std::atoi(threads) : 2;
  launch.step = step;
  return launch;
}

/// Reports GB/s, `bytes` being what one iteration must read and write at least.
inline void count_bytes(benchmark::State& state, std::int64_t bytes) {
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(bytes) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

inline std::vector<std::int32_t> uniform_ids(std::int64_t N, std::int64_t V) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(N));
  std::uint64_t state = 1;
  for (auto& id : out) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    id = static_cast<std::int32_t>((state >> 33) % static_cast<std::uint64_t>(V));
  }
  return out;
}

}  // namespace tradewind::benchmarks
