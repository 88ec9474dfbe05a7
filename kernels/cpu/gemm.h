// The one door to oneDNN's float32 matrix product. Row-major; every CPU op that multiplies matrices comes through here.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels::cpu {

/// op(A) is A where `transposed` is false, else A stored as its transpose; `stride` counts elements between stored rows.
struct GemmOperand {
  const float* data;
  std::int64_t stride;
  bool transposed = false;
};

/// c [M, N] (row stride ldc) (=, +=) op(a) [M, K] op(b) [K, N], on `threads` OpenMP threads (one, the caller's, inside a
/// parallel region). Same bits for the same shape, strides, threads and instruction set. K = 0 gives zeros.
void gemm(float* c, std::int64_t ldc, GemmOperand a, GemmOperand b, std::int64_t M, std::int64_t N, std::int64_t K, Write write,
          int threads);

/// Sets the threads that OpenMP regions of the calling thread use, for as long as it lives: libraries read this setting.
class ScopedThreads {
 public:
  explicit ScopedThreads(int threads);
  ~ScopedThreads();
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
};

}  // namespace tradewind::kernels::cpu
