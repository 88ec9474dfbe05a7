// Every element is one dot product along K in a fixed order: one vector accumulator, lanes added at the end, the rest of K
// behind them. Register blocks of kRows x kColumns only decide how often x and w are loaded, never the order of an element's
// additions, so the same bits come out of every block, of the ragged ones at the edges and of a single row too. (A library's
// product chooses its blocking along K by M, N and K.)
//
// Bound: with few rows, reading w once, 4 N K bytes; threads take columns, and all rows pass over a block of columns while it
// is in L2. With many rows two thirds of the loads of the products themselves: 12 products of 7 loads.
#include "kernels/cpu/row_products.h"

#include <algorithm>

#include "kernels/base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_products.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <int kRows, int kColumns>
void block(float* HWY_RESTRICT y, const float* HWY_RESTRICT x, const float* HWY_RESTRICT w, const float* bias, std::int64_t K,
           std::int64_t ldx, std::int64_t ldy) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  V sum[kRows][kColumns];
  for (auto& row : sum)
    for (V& s : row) s = hn::Zero(d);
  std::int64_t k = 0;
  for (; k + L <= K; k += L) {
    V right[kColumns];
    for (int n = 0; n < kColumns; ++n) right[n] = hn::LoadU(d, w + n * K + k);
    for (int m = 0; m < kRows; ++m) {
      const V left = hn::LoadU(d, x + m * ldx + k);
      for (int n = 0; n < kColumns; ++n) sum[m][n] = hn::MulAdd(left, right[n], sum[m][n]);
    }
  }
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kColumns; ++n) {
      float total = hn::GetLane(hn::SumOfLanes(d, sum[m][n]));
      for (std::int64_t i = k; i < K; ++i) total += x[m * ldx + i] * w[n * K + i];
      y[m * ldy + n] = bias != nullptr ? total + bias[n] : total;
    }
}

template <int kRows>
void columns(float* y, const float* x, const float* w, const float* bias, std::int64_t N, std::int64_t K, std::int64_t ldx,
             std::int64_t ldy) {
  constexpr int kColumns = 12 / kRows;
  std::int64_t n = 0;
  for (; n + kColumns <= N; n += kColumns)
    block<kRows, kColumns>(y + n, x, w + n * K, bias != nullptr ? bias + n : nullptr, K, ldx, ldy);
  for (; n < N; ++n) block<kRows, 1>(y + n, x, w + n * K, bias != nullptr ? bias + n : nullptr, K, ldx, ldy);
}

void products(float* y, const float* x, const float* w, const float* bias, std::int64_t M, std::int64_t N, std::int64_t K,
              std::int64_t ldx, std::int64_t ldy) {
  constexpr std::int64_t kBlockBytes = 128 * 1024;  // of w: a part of L2
  const std::int64_t width = std::max<std::int64_t>(12, kBlockBytes / (4 * K) / 12 * 12);
  for (std::int64_t n = 0; n < N; n += width) {
    const std::int64_t count = std::min(width, N - n);
    const float* b = bias != nullptr ? bias + n : nullptr;
    std::int64_t m = 0;
    for (; m + 4 <= M; m += 4) columns<4>(y + m * ldy + n, x + m * ldx, w + n * K, b, count, K, ldx, ldy);
    for (; m < M; ++m) columns<1>(y + m * ldy + n, x + m * ldx, w + n * K, b, count, K, ldx, ldy);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {

HWY_EXPORT(products);

void row_products(float* y, const float* x, const float* w, const float* bias, std::int64_t M, std::int64_t N, std::int64_t K,
                  std::int64_t ldx, std::int64_t ldy, int threads) {
  constexpr std::int64_t kLeast = 1 << 15;  // products that a thread is worth
  const std::int64_t grain = std::max<std::int64_t>(12, kLeast / std::max<std::int64_t>(1, M * K) / 12 * 12);
  parallel_ranges(N, grain, threads, [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
    HWY_DYNAMIC_DISPATCH(products)
    (y + begin, x, w + begin * K, bias != nullptr ? bias + begin : nullptr, M, end - begin, K, ldx, ldy);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
