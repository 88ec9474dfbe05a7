// Building blocks of the CPU attention kernels, once a Highway target: packing, small products in registers, dropout rows.
//
// Packed rows have padded_D floats (a multiple of 16, zeros behind D); a transposed tile is [D][kTile]; scores are
// [kTile][kTile]. All are aligned to 64 bytes.
#if defined(TRADEWIND_ATTENTION_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef TRADEWIND_ATTENTION_TILE_INL_H
#undef TRADEWIND_ATTENTION_TILE_INL_H
#else
#define TRADEWIND_ATTENTION_TILE_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/attention_plan.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using detail::kTile;
using detail::Range;
using detail::Sequence;

using D32 = hn::ScalableTag<float>;
using V32 = hn::Vec<D32>;
// A full vector's lanes; 1, 8 or 16 here, so that it divides the 16 of padded_D and kTile.
constexpr std::int64_t kLanes = HWY_LANES(float);
constexpr std::int64_t kRows = 6;  // rows of a register block: 6 x 2 accumulators, 2 columns, 1 broadcast of 16 registers
constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr float kLog2E = 1.44269504088896341F;
constexpr float kLn2 = 0.693147180559945309F;

/// 2^x for x < 127.5, relative error at most 2e-7; shorter than fast_exp of math-inl.h, as scores are kept in the log2 domain.
/// Fades to exactly 0 below 2^-126; -infinity gives 0 and NaN gives NaN. Adding 1.5 * 2^23 rounds x to the integer n, which
/// then sits in the low bits and is added to the exponent of 2^(x - n): degree 5, minimax in relative error, constant 1.
HWY_INLINE V32 fast_exp2(D32 d, V32 x) {
  const hn::RebindToSigned<D32> di;
  const V32 magic = hn::Set(d, 12582912.0F);
  const V32 least = hn::Set(d, -127.0F);  // 2^-127 comes out as the bits of 0
#if HWY_TARGET <= HWY_AVX2
  x = hn::Max(least, x);  // x86 returns the second operand where one is NaN
#else
  x = hn::IfThenElse(hn::Lt(x, least), least, x);
#endif
  const V32 shifted = hn::Add(x, magic), f = hn::Sub(x, hn::Sub(shifted, magic));
  V32 p = hn::Set(d, 0.0013264714507386088F);
  p = hn::MulAdd(p, f, hn::Set(d, 0.009671512991189957F));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550733953714371F));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022242426872253F));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931470036506653F));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0F));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

/// What the accumulators of a product start with: zero, C, or C times a factor a row.
enum class Start { kZero, kLoad, kScale };

/// Where element (m, k) of the left factor lies: rows of length `lead`, or transposed, columns of it.
enum class Left { kPlain, kTransposed };

/// C[m][n] = start + sum_k A(m, k) B[k][n] for M rows and NV vectors; A is broadcast, B streams, C stays in registers.
template <int M, int NV, Left kLeft>
HWY_INLINE void register_block(Start start, const float* HWY_RESTRICT a, std::int64_t lda, const float* HWY_RESTRICT b,
                               std::int64_t ldb, float* HWY_RESTRICT c, std::int64_t ldc, std::int64_t depth,
                               const float* HWY_RESTRICT factor) {
  const D32 d;
  V32 sum[M][NV];
  if (start == Start::kZero) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) sum[m][n] = hn::Zero(d);
  } else {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const V32 f = hn::Set(d, start == Start::kScale ? factor[m] : 1.0F);
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) sum[m][n] = hn::Mul(f, hn::Load(d, c + m * ldc + n * kLanes));
    }
  }
  for (std::int64_t k = 0; k < depth; ++k, b += ldb) {
    V32 column[NV];
#pragma GCC unroll 8
    for (int n = 0; n < NV; ++n) column[n] = hn::Load(d, b + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const V32 left = hn::Set(d, kLeft == Left::kPlain ? a[m * lda + k] : a[k * lda + m]);
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) sum[m][n] = hn::MulAdd(left, column[n], sum[m][n]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < NV; ++n) hn::Store(sum[m][n], d, c + m * ldc + n * kLanes);
}

template <int M, Left kLeft>
HWY_NOINLINE void register_row(Start start, const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float* c,
                               std::int64_t ldc, std::int64_t columns, std::int64_t depth, const float* factor) {
  std::int64_t n = 0;
  for (; n + 2 * kLanes <= columns; n += 2 * kLanes)
    register_block<M, 2, kLeft>(start, a, lda, b + n, ldb, c + n, ldc, depth, factor);
  for (; n < columns; n += kLanes) register_block<M, 1, kLeft>(start, a, lda, b + n, ldb, c + n, ldc, depth, factor);
}

/// Up to kRows rows of C, `columns` (a multiple of kLanes) wide.
template <Left kLeft>
HWY_INLINE void product(std::int64_t rows, Start start, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
                        float* c, std::int64_t ldc, std::int64_t columns, std::int64_t depth, const float* factor = nullptr) {
  switch (rows) {
    case 6: return register_row<6, kLeft>(start, a, lda, b, ldb, c, ldc, columns, depth, factor);
    case 5: return register_row<5, kLeft>(start, a, lda, b, ldb, c, ldc, columns, depth, factor);
    case 4: return register_row<4, kLeft>(start, a, lda, b, ldb, c, ldc, columns, depth, factor);
    case 3: return register_row<3, kLeft>(start, a, lda, b, ldb, c, ldc, columns, depth, factor);
    case 2: return register_row<2, kLeft>(start, a, lda, b, ldb, c, ldc, columns, depth, factor);
    case 1: return register_row<1, kLeft>(start, a, lda, b, ldb, c, ldc, columns, depth, factor);
    default: return;
  }
}

/// to[i][0..padded) = factor * from row i, zeros behind D.
HWY_INLINE void pack_rows(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::int64_t stride, std::int64_t rows,
                          std::int64_t D, std::int64_t padded, float factor) {
  const D32 d;
  const V32 f = hn::Set(d, factor);
  for (std::int64_t i = 0; i < rows; ++i, to += padded, from += stride) {
    std::int64_t c = 0;
    for (; c + kLanes <= D; c += kLanes) hn::Store(hn::Mul(f, hn::LoadU(d, from + c)), d, to + c);
    for (; c < D; ++c) to[c] = factor * from[c];
    for (; c < padded; ++c) to[c] = 0;
  }
}

/// Row i of the output = factor * packed row i, without the padding.
HWY_INLINE void unpack_rows(float* HWY_RESTRICT to, std::int64_t stride, const float* HWY_RESTRICT from, std::int64_t padded,
                            std::int64_t rows, std::int64_t D, float factor) {
  const D32 d;
  const V32 f = hn::Set(d, factor);
  for (std::int64_t i = 0; i < rows; ++i, to += stride, from += padded) {
    std::int64_t c = 0;
    for (; c + kLanes <= D; c += kLanes) hn::StoreU(hn::Mul(f, hn::Load(d, from + c)), d, to + c);
    for (; c < D; ++c) to[c] = factor * from[c];
  }
}

/// to[c][j] = from row j, column c, for up to kTile rows; zeros behind the last row. 4 x 4 blocks in 128-bit registers.
HWY_INLINE void pack_transposed(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::int64_t stride, std::int64_t rows,
                                std::int64_t D) {
  std::int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d4;
  const hn::FixedTag<double, 2> d2;
  for (; j + 4 <= rows; j += 4) {
    const float* row = from + j * stride;
    std::int64_t c = 0;
    for (; c + 4 <= D; c += 4) {
      const auto r0 = hn::LoadU(d4, row + c), r1 = hn::LoadU(d4, row + stride + c);
      const auto r2 = hn::LoadU(d4, row + 2 * stride + c), r3 = hn::LoadU(d4, row + 3 * stride + c);
      const auto a = hn::BitCast(d2, hn::InterleaveLower(d4, r0, r1)), b = hn::BitCast(d2, hn::InterleaveLower(d4, r2, r3));
      const auto e = hn::BitCast(d2, hn::InterleaveUpper(d4, r0, r1)), f = hn::BitCast(d2, hn::InterleaveUpper(d4, r2, r3));
      float* HWY_RESTRICT t = to + c * kTile + j;
      hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, a, b)), d4, t);
      hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, a, b)), d4, t + kTile);
      hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, e, f)), d4, t + 2 * kTile);
      hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, e, f)), d4, t + 3 * kTile);
    }
    for (; c < D; ++c)
      for (std::int64_t k = 0; k < 4; ++k) to[c * kTile + j + k] = row[k * stride + c];
  }
#endif
  for (; j < rows; ++j)
    for (std::int64_t c = 0; c < D; ++c) to[c * kTile + j] = from[j * stride + c];
  if (rows < kTile)
    for (std::int64_t c = 0; c < D; ++c)
      for (std::int64_t k = rows; k < kTile; ++k) to[c * kTile + k] = 0;
}

/// row[j] += bias[j] log2(e) for j in [begin, end): the log2 domain of the scores. Reads nothing outside.
HWY_INLINE void add_bias(float* HWY_RESTRICT row, const float* HWY_RESTRICT bias, std::int64_t begin, std::int64_t end) {
  const D32 d;
  std::int64_t j = begin;
  for (; j + kLanes <= end; j += kLanes)
    hn::StoreU(hn::MulAdd(hn::LoadU(d, bias + j), hn::Set(d, kLog2E), hn::LoadU(d, row + j)), d, row + j);
  for (; j < end; ++j) row[j] += bias[j] * kLog2E;
}

/// row[j] = value outside of [begin, end), within [first, last), multiples of kLanes.
HWY_INLINE void mask_row(float* HWY_RESTRICT row, std::int64_t first, std::int64_t last, std::int64_t begin, std::int64_t end,
                         float value) {
  const D32 d;
  const V32 low = hn::Set(d, static_cast<float>(begin)), high = hn::Set(d, static_cast<float>(end)), v = hn::Set(d, value);
  for (std::int64_t j = first; j < last; j += kLanes) {
    if (j >= begin && j + kLanes <= end) continue;
    const V32 at = hn::Iota(d, static_cast<float>(j));
    const auto seen = hn::And(hn::Ge(at, low), hn::Lt(at, high));
    hn::Store(hn::IfThenElse(seen, hn::Load(d, row + j), v), d, row + j);
  }
}

/// Rows of the arrays that the next (sequence, head) reads or writes, brought into the cache while this one computes: a head's
/// rows are short and far apart, so the hardware does not foresee them. 128 x 1 heads of 200 x 64 go forward in 4.65 ms instead
/// of 5.4, and both ways in 15.7 instead of 17; small heads lose (64 x 32, 5 %), so they are left out.
class Ahead {
 public:
  static constexpr std::int64_t kLeast = 8192;  // floats of a head
  Ahead(std::int64_t rows, std::int64_t columns) : rows_(rows * columns < kLeast ? 0 : rows), columns_(columns) {}
  void reads(const float* rows, std::int64_t stride) { inputs_[input_count_++] = {rows, stride}; }
  void writes(const float* rows, std::int64_t stride) { outputs_[output_count_++] = {rows, stride}; }
  /// Asks for `count` more rows of each.
  HWY_INLINE void advance(std::int64_t count) {
    for (const std::int64_t end = std::min(rows_, row_ + count); row_ < end; ++row_) {
      for (int i = 0; i < input_count_; ++i)
        for (std::int64_t c = 0; c < columns_; c += 16) __builtin_prefetch(inputs_[i].at + row_ * inputs_[i].stride + c, 0, 2);
      for (int i = 0; i < output_count_; ++i)
        for (std::int64_t c = 0; c < columns_; c += 16)
          __builtin_prefetch(outputs_[i].at + row_ * outputs_[i].stride + c, 1, 2);
    }
  }

 private:
  struct Rows {
    const float* at;
    std::int64_t stride;
  };
  Rows inputs_[5] = {}, outputs_[3] = {};
  int input_count_ = 0, output_count_ = 0;
  std::int64_t rows_, columns_, row_ = 0;
};

/// One mask of dropout: the key of a head, what is dropped, and how kept values are scaled.
struct DropoutHead {
  PhiloxKey key;
  std::uint32_t threshold;
  float scale;
};

/// keep[0..kTile) = scale or 0, the mask of keys `tile * kTile ..` for one query row. Philox in 64-bit lanes, of which the low
/// halves are the words: a product then needs no shuffle, and what is left in the high halves is never read.
HWY_INLINE void dropout_row(float* HWY_RESTRICT keep, const DropoutHead& head, std::uint64_t sample, std::int32_t position,
                            std::int64_t tile) {
#if HWY_TARGET == HWY_SCALAR
  for (std::int64_t j = 0; j < kTile; ++j) {
    const std::uint32_t column = static_cast<std::uint32_t>(tile * kTile + j);
    const std::uint32_t number = dropout_number(head.key, sample, static_cast<std::uint32_t>(position), column);
    keep[j] = number < head.threshold ? 0.0F : head.scale;
  }
#else
  const hn::CappedTag<std::uint32_t, 8> du;
  const hn::RepartitionToWide<decltype(du)> dw;
  const hn::RebindToSigned<decltype(du)> di;
  const hn::RebindToFloat<decltype(du)> df;
  using W = hn::Vec<decltype(dw)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(du));
  const auto m0 = hn::BitCast(du, hn::Set(dw, kPhiloxM0)), m1 = hn::BitCast(du, hn::Set(dw, kPhiloxM1));
  const auto threshold = hn::Set(di, static_cast<std::int32_t>(head.threshold));
  const auto scale = hn::Set(df, head.scale);
  for (std::int64_t r = 0; r < 8; r += lanes) {
    const W lane = hn::Iota(dw, 0);
    W w0[2], w1[2], w2[2], w3[2];  // even counters, odd counters
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      w0[odd] = hn::Add(hn::Add(lane, lane), hn::Set(dw, static_cast<std::uint64_t>(tile * 8 + r + odd)));
      w1[odd] = hn::Set(dw, static_cast<std::uint32_t>(position));
      w2[odd] = hn::Set(dw, static_cast<std::uint32_t>(sample));
      w3[odd] = hn::Set(dw, sample >> 32);
    }
    PhiloxKey key = head.key;
    for (int round = 0; round < 10; ++round, key.k0 += kPhiloxW0, key.k1 += kPhiloxW1) {
      const W k0 = hn::Set(dw, key.k0), k1 = hn::Set(dw, key.k1);
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        const W p0 = hn::MulEven(hn::BitCast(du, w0[odd]), m0), p1 = hn::MulEven(hn::BitCast(du, w2[odd]), m1);
        w0[odd] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), w1[odd]), k0);
        w2[odd] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), w3[odd]), k1);
        w1[odd] = p1;
        w3[odd] = p0;
      }
    }
    const W low = hn::Set(dw, 0xFFFFFFFFULL);
    const W* words[4] = {w0, w1, w2, w3};
#pragma GCC unroll 4
    for (int w = 0; w < 4; ++w) {
      const auto word = hn::BitCast(du, hn::Or(hn::And(words[w][0], low), hn::ShiftLeft<32>(words[w][1])));
      const auto first = hn::BitCast(di, hn::And(word, hn::Set(du, 0xFFFFU))),
                 second = hn::BitCast(di, hn::ShiftRight<16>(word));
      const auto drop_first = hn::RebindMask(df, hn::Lt(first, threshold));
      const auto drop_second = hn::RebindMask(df, hn::Lt(second, threshold));
      hn::StoreU(hn::IfThenZeroElse(drop_first, scale), df, keep + 8 * w + r);
      hn::StoreU(hn::IfThenZeroElse(drop_second, scale), df, keep + 32 + 8 * w + r);
    }
  }
#endif
}

HWY_INLINE DropoutHead dropout_head(const detail::AttentionProblem& problem, std::int64_t h) {
  const std::uint32_t threshold = dropout_threshold(problem.options.dropout.p);
  return {problem.dropout_key(h), threshold, dropout_scale(threshold)};
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
