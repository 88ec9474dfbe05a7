// The three products of a linear layer are oneDNN's (kernels/cpu/gemm.h); ours are the passes around them.
//
// Forward without bias and activation is one product. Otherwise rows are taken in chunks whose output stays in the last
// level of cache, and bias and activation follow each chunk. A chunk is no shorter than kChunkRows, because every product
// packs w anew. The column sums of dbias go over blocks of kSumRows rows whose sums are then added: shorter chains of
// additions, so less rounding. Threads own row ranges; their partial sums are merged in thread order.
#include "kernels/cpu/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// y[m, n] += bias[n]
void add_bias(float* HWY_RESTRICT y, const float* HWY_RESTRICT bias, std::int64_t rows, std::int64_t N, std::int64_t ldy) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t m = 0; m < rows; ++m) {
    float* row = y + m * ldy;
    std::int64_t n = 0;
    for (; n + L <= N; n += L) hn::StoreU(hn::Add(hn::LoadU(d, row + n), hn::LoadU(d, bias + n)), d, row + n);
    for (; n < N; ++n) row[n] += bias[n];
  }
}

// sum[n] += sum over rows of x[m, n]
void column_sums_of_rows(float* HWY_RESTRICT sum, const float* HWY_RESTRICT x, std::int64_t rows, std::int64_t N,
                         std::int64_t ldx) {
  constexpr std::int64_t kSumRows = 64;
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t m0 = 0; m0 < rows; m0 += kSumRows) {
    const std::int64_t m1 = std::min(rows, m0 + kSumRows);
    std::int64_t n = 0;
    for (; n + 4 * L <= N; n += 4 * L) {
      auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
      for (std::int64_t m = m0; m < m1; ++m) {
        const float* from = x + m * ldx + n;
        s0 = hn::Add(s0, hn::LoadU(d, from));
        s1 = hn::Add(s1, hn::LoadU(d, from + L));
        s2 = hn::Add(s2, hn::LoadU(d, from + 2 * L));
        s3 = hn::Add(s3, hn::LoadU(d, from + 3 * L));
      }
      hn::StoreU(hn::Add(s0, hn::LoadU(d, sum + n)), d, sum + n);
      hn::StoreU(hn::Add(s1, hn::LoadU(d, sum + n + L)), d, sum + n + L);
      hn::StoreU(hn::Add(s2, hn::LoadU(d, sum + n + 2 * L)), d, sum + n + 2 * L);
      hn::StoreU(hn::Add(s3, hn::LoadU(d, sum + n + 3 * L)), d, sum + n + 3 * L);
    }
    for (; n + L <= N; n += L) {
      auto s = hn::Zero(d);
      for (std::int64_t m = m0; m < m1; ++m) s = hn::Add(s, hn::LoadU(d, x + m * ldx + n));
      hn::StoreU(hn::Add(s, hn::LoadU(d, sum + n)), d, sum + n);
    }
    for (; n < N; ++n) {
      float s = 0;
      for (std::int64_t m = m0; m < m1; ++m) s += x[m * ldx + n];
      sum[n] += s;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(add_bias);
HWY_EXPORT(column_sums_of_rows);

constexpr std::int64_t kChunkRows = 512;
// dw is a long sum into few elements: threads split the sum, each into a dw of its own, where that is small enough (64 MiB).
// oneDNN alone gives them parts of dw instead, and each reads x or dy whole: 129 to 145 GFLOP/s at 25600x64x192, 168 so.
constexpr std::int64_t kLeastPartRows = 128;
constexpr std::int64_t kPartialElements = std::int64_t{16} << 20;
constexpr std::int64_t kChunkElements = std::int64_t{1} << 20;  // of y: 4 MiB

void column_sums(float* sum, const float* x, const LinearShape& s, Write write, const Launch& launch) {
  const std::int64_t grain = std::max<std::int64_t>(64, 16384 / s.N);
  const auto parts = static_cast<std::size_t>(launch.threads), N = static_cast<std::size_t>(s.N);
  const ScratchArray<float> partial(launch, parts * N);
  std::fill_n(partial.get(), parts * N, 0.0F);
  parallel_ranges(s.M, grain, launch.threads, [&](std::int64_t begin, std::int64_t end, int thread) {
    add_column_sums(partial.get() + thread * s.N, x + begin * s.ldy, end - begin, s.N, s.ldy);
  });
  for (std::size_t n = 0; n < N; ++n) {
    float total = partial[n];
    for (std::size_t part = 1; part < parts; ++part) total += partial[part * N + n];
    sum[n] = write == Write::kAccumulate ? sum[n] + total : total;
  }
}

}  // namespace

void add_column_sums(float* sum, const float* x, std::int64_t rows, std::int64_t N, std::int64_t ldx) {
  HWY_DYNAMIC_DISPATCH(column_sums_of_rows)(sum, x, rows, N, ldx);
}

void linear_forward(float* y, float* pre, const float* x, const float* w, const float* bias, const LinearShape& s,
                    Activation activation, const Launch& launch) {
  float* product = pre != nullptr ? pre : y;
  const bool activate = activation != Activation::kNone || product != y;
  const bool epilogue = bias != nullptr || activate;
  const std::int64_t chunk = epilogue ? std::max(kChunkRows, kChunkElements / s.N) : s.M;
  for (std::int64_t m0 = 0; m0 < s.M; m0 += chunk) {
    const std::int64_t rows = std::min(chunk, s.M - m0);
    float* z = product + m0 * s.ldy;
    gemm(z, s.ldy, {x + m0 * s.ldx, s.ldx}, {w, s.K, true}, rows, s.N, s.K, Write::kAssign, launch.threads);
    if (!epilogue) continue;
    // A thread's own launch: activation_forward must not open a parallel region of its own here.
    Launch alone = launch;
    alone.threads = 1;
    parallel_ranges(
        rows, std::max<std::int64_t>(1, 8192 / s.N), launch.threads, [&](std::int64_t begin, std::int64_t end, int) {
          if (bias != nullptr) HWY_DYNAMIC_DISPATCH(add_bias)(z + begin * s.ldy, bias, end - begin, s.N, s.ldy);
          if (!activate) return;
          float* out = y + m0 * s.ldy;
          if (s.ldy == s.N) {
            activation_forward(out + begin * s.ldy, z + begin * s.ldy, (end - begin) * s.N, activation, DType::kFloat32, alone);
          } else {
            for (std::int64_t m = begin; m < end; ++m)
              activation_forward(out + m * s.ldy, z + m * s.ldy, s.N, activation, DType::kFloat32, alone);
          }
        });
  }
}

void linear_backward_input(float* dx, const float* dy, const float* w, const LinearShape& s, Write write,
                           const Launch& launch) {
  gemm(dx, s.ldx, {dy, s.ldy}, {w, s.K}, s.M, s.K, s.N, write, launch.threads);
}

void linear_backward_weight(float* dw, float* dbias, const float* dy, const float* x, const LinearShape& s, Write write,
                            const Launch& launch) {
  const std::int64_t own = s.N * s.K, part_rows = (s.M + launch.threads - 1) / launch.threads;
  const auto parts = part_rows == 0 ? 1 : static_cast<int>((s.M + part_rows - 1) / part_rows);
  if (parts == 1 || part_rows < kLeastPartRows || (parts - 1) * own > kPartialElements) {
    gemm(dw, s.K, {dy, s.ldy, true}, {x, s.ldx}, s.N, s.K, s.M, write, launch.threads);
  } else {
    // The first part writes dw itself. The others' are added in their order.
    const ScratchArray<float> partial(launch, static_cast<std::size_t>((parts - 1) * own));
    parallel_ranges(s.M, part_rows, parts, [&](std::int64_t begin, std::int64_t end, int part) {
      gemm(part == 0 ? dw : partial.get() + (part - 1) * own, s.K, {dy + begin * s.ldy, s.ldy, true},
           {x + begin * s.ldx, s.ldx}, s.N, s.K, end - begin, part == 0 ? write : Write::kAssign, 1);
    });
    parallel_ranges(own, 4096, launch.threads, [&](std::int64_t begin, std::int64_t end, int) {
      for (int part = 1; part < parts; ++part)
        for (std::int64_t i = begin; i < end; ++i) dw[i] += partial[static_cast<std::size_t>((part - 1) * own + i)];
    });
  }
  if (dbias != nullptr) column_sums(dbias, dy, s, write, launch);
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
