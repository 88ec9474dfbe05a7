// C in registers: R rows by two vectors, one row of a panel and one broadcast element of A a time. With 16 registers R is 6
// (12 sums, 2 columns, 1 element): 12 multiply-adds for 8 loads, so two FMA units are busy and two load ports keep up. With 32
// registers R is 12. A panel of at most kMaxDepth rows (20 KiB at 8 lanes) stays in L1 while the rows of a block of C pass it;
// the block's rows of A (kBlockRows x kMaxDepth, 120 KiB) stay in L2 for all panels; the packed factor streams once a block, at
// 4 / (2 kBlockRows) bytes a FLOP. A is read where it is; only a transposed A, whose columns lie a row apart, is packed (R
// elements side by side), block by block.
#include "kernels/cpu/packed_gemm.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D32 = hn::ScalableTag<float>;
using V32 = hn::Vec<D32>;
constexpr std::int64_t kLanes = HWY_LANES(float);
constexpr std::int64_t kColumns = 2 * kLanes;
constexpr int kRows = kLanes >= 16 ? 12 : 6;
static_assert(kBlockRows % kRows == 0);
constexpr std::int64_t kMaxDepth = 320;

/// Depth of a block: K in equal parts, so that no part is too short to hide the tile of C being loaded and stored.
std::int64_t block_depth(std::int64_t K) {
  const std::int64_t blocks = (K + kMaxDepth - 1) / kMaxDepth;
  return std::max<std::int64_t>(1, (K + blocks - 1) / blocks);
}

/// Where the tile of C begins and what it gets: added to what is there, or assigned; bias is null or this panel's.
struct Tile {
  float* c;
  std::int64_t ldc;
  std::int64_t columns;  // of the panel that exist
  bool accumulate;
  const float* bias;
};

/// R rows of A against one panel. Element (r, k) of A is at a[r * lda + k], or at a[k * kRows + r] where it is packed.
template <int R, bool kPackedLeft>
HWY_NOINLINE void multiply_tile(const Tile& tile, const float* HWY_RESTRICT a, std::int64_t lda, const float* HWY_RESTRICT b,
                                std::int64_t depth) {
  const D32 d;
  V32 sum[R][2];
  for (int r = 0; r < R; ++r) __builtin_prefetch(tile.c + r * tile.ldc, 1);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = hn::Zero(d);
  for (std::int64_t k = 0; k < depth; ++k, b += kColumns) {
    const V32 b0 = hn::Load(d, b), b1 = hn::Load(d, b + kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const V32 left = hn::Set(d, kPackedLeft ? a[k * kRows + r] : a[r * lda + k]);
      sum[r][0] = hn::MulAdd(left, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(left, b1, sum[r][1]);
    }
  }
  if (tile.columns == kColumns) {
    const V32 bias0 = tile.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, tile.bias);
    const V32 bias1 = tile.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, tile.bias + kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      float* row = tile.c + r * tile.ldc;
      V32 y0 = hn::Add(sum[r][0], bias0), y1 = hn::Add(sum[r][1], bias1);
      if (tile.accumulate) {
        y0 = hn::Add(y0, hn::LoadU(d, row));
        y1 = hn::Add(y1, hn::LoadU(d, row + kLanes));
      }
      hn::StoreU(y0, d, row);
      hn::StoreU(y1, d, row + kLanes);
    }
    return;
  }
  HWY_ALIGN float rest[R * kColumns];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    hn::Store(sum[r][0], d, rest + r * kColumns);
    hn::Store(sum[r][1], d, rest + r * kColumns + kLanes);
  }
  for (int r = 0; r < R; ++r)
    for (std::int64_t n = 0; n < tile.columns; ++n) {
      float& to = tile.c[r * tile.ldc + n];
      const float y = rest[r * kColumns + n] + (tile.bias == nullptr ? 0.0F : tile.bias[n]);
      to = tile.accumulate ? y + to : y;
    }
}

/// The last rows of a block: fewer than kRows.
template <int R, bool kPackedLeft>
void multiply_rest(std::int64_t rows, const Tile& tile, const float* a, std::int64_t lda, const float* b, std::int64_t depth) {
  if constexpr (R > 0) {
    if (rows == R) return multiply_tile<R, kPackedLeft>(tile, a, lda, b, depth);
    multiply_rest<R - 1, kPackedLeft>(rows, tile, a, lda, b, depth);
  }
}

/// left[group][k][r] = a[k * stride + group * kRows + r] of `rows` columns of the stored matrix; sums[r] += column r where sums
/// is not null. A group is moved as one vector whose last lanes are overwritten by the next row's, so only the very last row
/// needs care not to read behind the matrix. Chains of additions are kSumRows long, so that they round less.
HWY_NOINLINE void pack_left(float* HWY_RESTRICT left, float* HWY_RESTRICT sums, const float* HWY_RESTRICT a,
                            std::int64_t stride, std::int64_t rows, std::int64_t depth) {
  constexpr std::int64_t kSumRows = 64;
  const hn::CappedTag<float, kRows >= 12 ? 16 : 8> d;
  constexpr std::int64_t kWidth = static_cast<std::int64_t>(hn::MaxLanes(d));
  for (std::int64_t m = 0; m < rows; m += kRows, left += depth * kRows) {
    const std::int64_t columns = std::min<std::int64_t>(kRows, rows - m);
    const float* from = a + m;
    std::int64_t k = 0;
    // Vectors as wide as a group, and columns enough that none but the last row's would leave the matrix.
    if (kWidth >= kRows && (columns == kRows || stride >= kWidth)) {
      HWY_ALIGN float lanes[kWidth];
      while (k + 1 < depth) {
        auto sum = hn::Zero(d);
        for (const std::int64_t stop = std::min(depth - 1, k + kSumRows); k < stop; ++k) {
          const auto v = hn::LoadU(d, from + k * stride);
          hn::StoreU(v, d, left + k * kRows);
          sum = hn::Add(sum, v);
        }
        if (sums == nullptr) continue;
        hn::Store(sum, d, lanes);
        for (std::int64_t r = 0; r < columns; ++r) sums[m + r] += lanes[r];
      }
    }
    for (; k < depth; ++k)
      for (std::int64_t r = 0; r < columns; ++r) {
        left[k * kRows + r] = from[k * stride + r];
        if (sums != nullptr) sums[m + r] += from[k * stride + r];
      }
  }
}

template <bool kPackedLeft>
void multiply_block(float* c, std::int64_t ldc, const float* a, std::int64_t lda, const float* b, const float* bias,
                    std::int64_t rows, std::int64_t N, std::int64_t depth, bool accumulate) {
  for (std::int64_t n = 0; n < N; n += kColumns, b += depth * kColumns) {
    Tile tile{c + n, ldc, std::min(kColumns, N - n), accumulate, bias == nullptr ? nullptr : bias + n};
    std::int64_t m = 0;
    for (; m + kRows <= rows; m += kRows, tile.c += kRows * ldc)
      multiply_tile<kRows, kPackedLeft>(tile, kPackedLeft ? a + m * depth : a + m * lda, lda, b, depth);
    if (m < rows)
      multiply_rest<kRows - 1, kPackedLeft>(rows - m, tile, kPackedLeft ? a + m * depth : a + m * lda, lda, b, depth);
  }
}

/// Rows of the stored matrix become columns: 4 x 4 blocks are transposed in registers.
void pack_transposed(float* HWY_RESTRICT to, const float* HWY_RESTRICT b, std::int64_t stride, std::int64_t depth,
                     std::int64_t columns) {
  std::int64_t n = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> pairs;
  for (; n + 4 <= columns; n += 4) {
    const float *r0 = b + n * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
    float* out = to + n;
    std::int64_t k = 0;
    for (; k + 4 <= depth; k += 4, out += 4 * kColumns) {
      const auto a0 = hn::LoadU(d, r0 + k), a1 = hn::LoadU(d, r1 + k), a2 = hn::LoadU(d, r2 + k), a3 = hn::LoadU(d, r3 + k);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, a0, a1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, a2, a3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, a0, a1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, a2, a3));
      hn::Store(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, out);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, out + kColumns);
      hn::Store(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, out + 2 * kColumns);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, out + 3 * kColumns);
    }
    for (; k < depth; ++k, out += kColumns) {
      out[0] = r0[k];
      out[1] = r1[k];
      out[2] = r2[k];
      out[3] = r3[k];
    }
  }
#endif
  for (; n < columns; ++n)
    for (std::int64_t k = 0; k < depth; ++k) to[k * kColumns + n] = b[n * stride + k];
}

void pack_plain(float* HWY_RESTRICT to, const float* HWY_RESTRICT b, std::int64_t stride, std::int64_t depth,
                std::int64_t columns) {
  const D32 d;
  if (columns == kColumns) {
    for (std::int64_t k = 0; k < depth; ++k, to += kColumns, b += stride) {
      hn::Store(hn::LoadU(d, b), d, to);
      hn::Store(hn::LoadU(d, b + kLanes), d, to + kLanes);
    }
    return;
  }
  for (std::int64_t k = 0; k < depth; ++k) std::copy_n(b + k * stride, columns, to + k * kColumns);
}

}  // namespace

std::int64_t columns() { return kColumns; }
std::int64_t left_depth(std::int64_t K) { return block_depth(K); }

void pack(const PackedFactor& to, GemmOperand b, std::int64_t begin, std::int64_t end) {
  const std::int64_t padded = (to.N + kColumns - 1) / kColumns * kColumns, most = block_depth(to.K);
  for (std::int64_t k = 0; k < to.K; k += most) {
    const std::int64_t depth = std::min(most, to.K - k);
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t n = p * kColumns, width = std::min(kColumns, to.N - n);
      float* panel = to.data + k * padded + p * depth * kColumns;
      // Columns that do not exist are never stored; zeros keep the arithmetic on them free of NaN and of slow denormals.
      if (width < kColumns) std::fill_n(panel, depth * kColumns, 0.0F);
      if (b.transposed)
        pack_transposed(panel, b.data + n * b.stride + k, b.stride, depth, width);
      else
        pack_plain(panel, b.data + k * b.stride + n, b.stride, depth, width);
    }
  }
}

void multiply(float* c, std::int64_t ldc, GemmOperand a, const PackedFactor& b, const float* bias, std::int64_t M,
              std::int64_t begin, std::int64_t end, bool accumulate, const LeftPanel& left) {
  const std::int64_t padded = (b.N + kColumns - 1) / kColumns * kColumns, most = block_depth(b.K);
  const std::int64_t first = begin * kColumns, columns = std::min(b.N, end * kColumns) - first;
  for (std::int64_t m = 0; m < M; m += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, M - m);
    float* block = c + m * ldc + first;
    for (std::int64_t k = 0; k < b.K; k += most) {
      const std::int64_t depth = std::min(most, b.K - k);
      const float* panels = b.data + k * padded + first * depth;
      const float* bias_here = k == 0 && bias != nullptr ? bias + first : nullptr;
      const bool add = accumulate || k > 0;
      if (a.transposed) {
        pack_left(left.data, left.sums == nullptr ? nullptr : left.sums + m, a.data + k * a.stride + m, a.stride, rows, depth);
        multiply_block<true>(block, ldc, left.data, 0, panels, bias_here, rows, columns, depth, add);
      } else {
        multiply_block<false>(block, ldc, a.data + m * a.stride + k, a.stride, panels, bias_here, rows, columns, depth, add);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(columns);
HWY_EXPORT(left_depth);
HWY_EXPORT(pack);
HWY_EXPORT(multiply);

}  // namespace

std::int64_t packed_columns() { return HWY_DYNAMIC_DISPATCH(columns)(); }

std::int64_t packed_panels(std::int64_t N) { return (N + packed_columns() - 1) / packed_columns(); }

std::int64_t packed_elements(std::int64_t K, std::int64_t N) { return packed_panels(N) * packed_columns() * K; }

void pack_panels(const PackedFactor& to, GemmOperand b, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(pack)(to, b, begin, end);
}

std::int64_t left_elements(std::int64_t K) { return kBlockRows * HWY_DYNAMIC_DISPATCH(left_depth)(K); }

void multiply_packed(float* c, std::int64_t ldc, GemmOperand a, const PackedFactor& b, const float* bias, std::int64_t M,
                     std::int64_t begin, std::int64_t end, Write write, const LeftPanel& left) {
  HWY_DYNAMIC_DISPATCH(multiply)(c, ldc, a, b, bias, M, begin, end, write == Write::kAccumulate, left);
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
