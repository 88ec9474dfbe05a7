// The three products of a linear layer.
//
// Where the weights are small beside the cache (the layers of small models, where PyTorch loses most), the right factor is
// packed once by all threads and each takes rows of its own (kernels/cpu/packed_gemm.h); bias is added in registers, the
// activation follows while a block of rows is in L2. Where there are few rows, dw takes those of x as right factor, and each
// thread makes elements of dw (and dbias) of its own: no partial sums, the same bits whatever the threads.
//
// Elsewhere oneDNN multiplies, whose two-level packing wins there, and ours are the passes around it: rows are taken in chunks
// whose output stays in the last level of cache. The column sums of dbias go over blocks of kSumRows rows whose sums are then
// added: shorter chains of additions, so less rounding.
#include "kernels/cpu/linear.h"

#include <algorithm>

#include "kernels/base/parallel.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/packed_gemm.h"
#include "kernels/cpu/row_products.h"

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

constexpr std::int64_t kGrain = 12;  // rows of C that a thread takes at least: a multiple of every register block's rows

/// Whether packing whole pays: few enough weights to stay in the caches, enough rows to earn the packing back.
bool pack_whole(const LinearShape& s) {
  constexpr std::int64_t kMostWeights = 128 * 1024, kLeastRows = 48;
  return s.M >= kLeastRows && s.N * s.K <= kMostWeights && s.K >= 8;
}

/// y (=, +=) op(a) op(b) + bias by row blocks; `after(begin, end)` follows each block on the thread that made it.
template <class After>
void multiply_rows(float* c, std::int64_t ldc, GemmOperand a, GemmOperand b, const float* bias, std::int64_t M, std::int64_t N,
                   std::int64_t K, Write write, const Launch& launch, After&& after) {
  const std::int64_t panels = packed_panels(N);
  const ScratchArray<float> packed(launch, static_cast<std::size_t>(packed_elements(K, N)));
  const PackedFactor factor{.data = packed.get(), .K = K, .N = N};
  WorkQueue queue(M, kGrain, kBlockRows, launch.threads);
  parallel_team(launch.threads, [&](int thread, int team, auto meet) {
    const auto [first, last] = share_of(panels, 1, thread, team);
    pack_panels(factor, b, first, last);
    meet();
    for (Share rows = queue.take(); rows.begin < rows.end; rows = queue.take()) {
      const std::int64_t m = rows.begin;
      multiply_packed(c + m * ldc, ldc, {a.data + m * a.stride, a.stride}, factor, bias, rows.end - m, 0, panels, write);
      after(m, rows.end);
    }
  });
}

/// Rows above which multiply_weight loses: threads read what others have packed, and that no longer stays in their caches.
constexpr std::int64_t kMostPackedRows = 2048;

/// dw (=, +=) dy^T x, and dbias, from rows of x that all threads pack. Threads take rows of dw, and where these are few, parts
/// of them.
void multiply_weight(float* dw, float* dbias, const float* dy, const float* x, const LinearShape& s, Write write,
                     const Launch& launch) {
  const std::int64_t panels = packed_panels(s.K), left = left_elements(s.M);
  const std::int64_t groups = (s.N + kGrain - 1) / kGrain;
  const std::int64_t parts = std::clamp<std::int64_t>(2 * launch.threads / groups, 1, panels);
  const ScratchArray<float> packed(launch, static_cast<std::size_t>(packed_elements(s.M, s.K)));
  const ScratchArray<float> lefts(launch, static_cast<std::size_t>(launch.threads * left));
  const PackedFactor factor{.data = packed.get(), .K = s.M, .N = s.K};
  WorkQueue queue(parts * groups, 1, parts == 1 ? kBlockRows / kGrain : 1, launch.threads);
  parallel_team(launch.threads, [&](int thread, int team, auto meet) {
    const auto [first, last] = share_of(panels, 1, thread, team);
    pack_panels(factor, {x, s.ldx}, first, last);
    meet();
    for (Share work = queue.take(); work.begin < work.end; work = queue.take()) {
      const std::int64_t part = work.begin / groups;
      const std::int64_t n0 = work.begin % groups * kGrain, n1 = std::min(s.N, n0 + (work.end - work.begin) * kGrain);
      float* sums = part == 0 && dbias != nullptr ? dbias + n0 : nullptr;
      if (sums != nullptr && write == Write::kAssign) std::fill_n(sums, n1 - n0, 0.0F);
      const auto [p0, p1] = share_of(panels, 1, static_cast<int>(part), static_cast<int>(parts));
      multiply_packed(dw + n0 * s.K, s.K, {dy + n0, s.ldy, true}, factor, nullptr, n1 - n0, p0, p1, write,
                      {.data = lefts.get() + thread * left, .sums = sums});
    }
  });
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
  // A thread's own launch: activation_forward must not open a parallel region of its own here.
  Launch alone = launch;
  alone.threads = 1;
  const auto activate_rows = [&](std::int64_t begin, std::int64_t end) {
    if (s.ldy == s.N)
      return activation_forward(y + begin * s.ldy, product + begin * s.ldy, (end - begin) * s.N, activation, DType::kFloat32,
                                alone);
    for (std::int64_t m = begin; m < end; ++m)
      activation_forward(y + m * s.ldy, product + m * s.ldy, s.N, activation, DType::kFloat32, alone);
  };
  if (launch.stable_rows) {
    row_products(product, x, w, bias, s.M, s.N, s.K, s.ldx, s.ldy, launch.threads);
    if (activate) activate_rows(0, s.M);
    return;
  }
  if (pack_whole(s)) {
    multiply_rows(product, s.ldy, {x, s.ldx}, {w, s.K, true}, bias, s.M, s.N, s.K, Write::kAssign, launch,
                  [&](std::int64_t begin, std::int64_t end) {
                    if (activate) activate_rows(begin, end);
                  });
    return;
  }
  const std::int64_t chunk = epilogue ? std::max(kChunkRows, kChunkElements / s.N) : s.M;
  for (std::int64_t m0 = 0; m0 < s.M; m0 += chunk) {
    const std::int64_t rows = std::min(chunk, s.M - m0);
    float* z = product + m0 * s.ldy;
    gemm(z, s.ldy, {x + m0 * s.ldx, s.ldx}, {w, s.K, true}, rows, s.N, s.K, Write::kAssign, launch.threads);
    if (!epilogue) continue;
    parallel_pieces(rows, std::max<std::int64_t>(1, 8192 / s.N), launch.threads, [&](std::int64_t begin, std::int64_t end) {
      if (bias != nullptr) HWY_DYNAMIC_DISPATCH(add_bias)(z + begin * s.ldy, bias, end - begin, s.N, s.ldy);
      if (activate) activate_rows(m0 + begin, m0 + end);
    });
  }
}

void linear_backward_input(float* dx, const float* dy, const float* w, const LinearShape& s, Write write,
                           const Launch& launch) {
  if (pack_whole(s)) {
    multiply_rows(dx, s.ldx, {dy, s.ldy}, {w, s.K}, nullptr, s.M, s.K, s.N, write, launch, [](std::int64_t, std::int64_t) {});
    return;
  }
  gemm(dx, s.ldx, {dy, s.ldy}, {w, s.K}, s.M, s.K, s.N, write, launch.threads);
}

void linear_backward_weight(float* dw, float* dbias, const float* dy, const float* x, const LinearShape& s, Write write,
                            const Launch& launch) {
  if (pack_whole(s) && s.M <= kMostPackedRows) return multiply_weight(dw, dbias, dy, x, s, write, launch);
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
    parallel_pieces(own, 4096, launch.threads, [&](std::int64_t begin, std::int64_t end) {
      for (int part = 1; part < parts; ++part)
        for (std::int64_t i = begin; i < end; ++i) dw[i] += partial[static_cast<std::size_t>((part - 1) * own + i)];
    });
  }
  if (dbias != nullptr) column_sums(dbias, dy, s, write, launch);
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
