// Rotary embedding on the CPU.
//
// Sines of float64 cost more than the rotation, and there is one a pair of every row. So a position is split as
// 64 a + b: tables of e^(i 64 a w) and e^(i b w) (w the frequency of a pair) hold few rows, and one complex product in float64
// gives the angle's cosine and sine to 3e-16, rounded to float32 once. A row's angles serve all of its heads.
#include "kernels/cpu/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// cosine, sine [P] of the product of two unit complex numbers a pair: coarse and fine hold P cosines, then P sines.
void combine(float* HWY_RESTRICT cosine, float* HWY_RESTRICT sine, const double* HWY_RESTRICT coarse,
             const double* HWY_RESTRICT fine, std::size_t P, float sign) {
  for (std::size_t i = 0; i < P; ++i) {  // the compiler vectorises this
    const double ac = coarse[i], as = coarse[P + i], bc = fine[i], bs = fine[P + i];
    cosine[i] = static_cast<float>(ac * bc - as * bs);
    sine[i] = sign * static_cast<float>(as * bc + ac * bs);
  }
}

// Pairs (i, i + P) of each head.
void rotate_half(float* x, const float* cosine, const float* sine, std::size_t heads, std::size_t P) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  for (std::size_t h = 0; h < heads; ++h, x += 2 * P) {
    std::size_t i = 0;
    for (; i + L <= P; i += L) {
      const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + P + i), c = hn::LoadU(d, cosine + i), s = hn::LoadU(d, sine + i);
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + P + i);
    }
    for (; i < P; ++i) {
      const float a = x[i], b = x[P + i];
      x[i] = a * cosine[i] - b * sine[i];
      x[P + i] = b * cosine[i] + a * sine[i];
    }
  }
}

// Pairs (2 i, 2 i + 1).
void rotate_interleaved(float* x, const float* cosine, const float* sine, std::size_t heads, std::size_t P) {
  for (std::size_t h = 0; h < heads; ++h, x += 2 * P) {
    std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::ScalableTag<float> d;
    const std::size_t L = hn::Lanes(d);
    for (; i + L <= P; i += L) {
      auto a = hn::Zero(d), b = hn::Zero(d);
      hn::LoadInterleaved2(d, x + 2 * i, a, b);
      const auto c = hn::LoadU(d, cosine + i), s = hn::LoadU(d, sine + i);
      hn::StoreInterleaved2(hn::NegMulAdd(b, s, hn::Mul(a, c)), hn::MulAdd(a, s, hn::Mul(b, c)), d, x + 2 * i);
    }
#endif
    for (; i < P; ++i) {
      const float a = x[2 * i], b = x[2 * i + 1];
      x[2 * i] = a * cosine[i] - b * sine[i];
      x[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
  }
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>

#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(combine);
HWY_EXPORT(rotate_half);
HWY_EXPORT(rotate_interleaved);

namespace {
constexpr std::int64_t kFine = 64;  // positions of the fine table

// P cosines, then P sines, of position * frequency.
void fill_row(double* row, std::int64_t position, const double* frequency, std::int64_t P) {
  for (std::int64_t i = 0; i < P; ++i) {
    const double angle = static_cast<double>(position) * frequency[i];
    row[i] = std::cos(angle);
    row[P + i] = std::sin(angle);
  }
}

}  // namespace

void rope_apply(float* x, const std::int32_t* position, std::int64_t N, std::int64_t heads, std::int64_t D, std::int64_t stride,
                const RopeOptions& options, const Launch& launch) {
  const std::int64_t P = D / 2;
  const std::int64_t coarse_rows = *std::max_element(position, position + N) / kFine + 1;
  // A few rows far out (generation) are cheaper without tables: two table rows each. The bits are the same.
  const bool tables = coarse_rows + kFine < 2 * N;
  const std::int64_t rows = tables ? coarse_rows + kFine : 2 * launch.threads;
  const ScratchArray<double> frequency(launch, static_cast<std::size_t>(P));
  for (std::int64_t i = 0; i < P; ++i)
    frequency[static_cast<std::size_t>(i)] = std::pow(options.theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
  const ScratchArray<double> table(launch, static_cast<std::size_t>(rows * D));
  const ScratchArray<float> angles(launch, static_cast<std::size_t>(launch.threads * D));
  double* const fine = table.get() + coarse_rows * D;
  if (tables)
    parallel_pieces(rows, std::max<std::int64_t>(1, 2048 / P), launch.threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        fill_row(table.get() + r * D, r < coarse_rows ? r * kFine : r - coarse_rows, frequency.get(), P);
    });
  const float sign = options.backward ? -1.0F : 1.0F;
  const auto pairs = static_cast<std::size_t>(P), count = static_cast<std::size_t>(heads);
  parallel_ranges(N, rows_per_grain(heads * D), launch.threads, [&](std::int64_t begin, std::int64_t end, int thread) {
    float *cosine = angles.get() + thread * D, *sine = cosine + P;
    double* own = table.get() + 2 * thread * D;  // without tables
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t a = position[n] / kFine, b = position[n] % kFine;
      if (!tables) {
        fill_row(own, a * kFine, frequency.get(), P);
        fill_row(own + D, b, frequency.get(), P);
      }
      if (n == begin || position[n] != position[n - 1]) HWY_DYNAMIC_DISPATCH(combine)
      (cosine, sine, tables ? table.get() + a * D : own, tables ? fine + b * D : own + D, pairs, sign);
      if (options.layout == RopeLayout::kHalf)
        HWY_DYNAMIC_DISPATCH(rotate_half)(x + n * stride, cosine, sine, count, pairs);
      else
        HWY_DYNAMIC_DISPATCH(rotate_interleaved)(x + n * stride, cosine, sine, count, pairs);
    }
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
