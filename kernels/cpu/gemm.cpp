#include "kernels/cpu/gemm.h"

#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "kernels/base/error.h"

namespace tradewind::kernels::cpu {

ScopedThreads::ScopedThreads(int threads) : before_(omp_get_max_threads()) {
  if (threads != before_) omp_set_num_threads(threads);
}

ScopedThreads::~ScopedThreads() {
  if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
}

void gemm(float* c, std::int64_t ldc, GemmOperand a, GemmOperand b, std::int64_t M, std::int64_t N, std::int64_t K, Write write,
          int threads) {
  if (M == 0 || N == 0) return;
  const float beta = write == Write::kAccumulate ? 1.0F : 0.0F;
  if (K == 0) {
    if (write == Write::kAssign)
      for (std::int64_t m = 0; m < M; ++m) std::fill_n(c + m * ldc, N, 0.0F);
    return;
  }
  const ScopedThreads scope(omp_in_parallel() ? 1 : threads);
  const auto status = dnnl::sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', M, N, K, 1.0F, a.data, a.stride, b.data,
                                  b.stride, beta, c, ldc);
  if (status != dnnl::status::success)
    throw InternalError("gemm: oneDNN refused a product of M " + std::to_string(M) + ", N " + std::to_string(N) + ", K " +
                        std::to_string(K) + ", strides " + std::to_string(a.stride) + ", " + std::to_string(b.stride) + ", " +
                        std::to_string(ldc) + " with status " + std::to_string(static_cast<int>(status)));
}

}  // namespace tradewind::kernels::cpu
