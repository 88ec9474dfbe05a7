// One row of a softmax, compiled once an instruction set: its maximum and sum, then exponentials in place.
// A row of a few thousand elements stays in the first level of cache between the passes.

// Include guard, toggled: this file is read once a target.
#if defined(TRADEWIND_KERNELS_CPU_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRADEWIND_KERNELS_CPU_SOFTMAX_INL_H_
#undef TRADEWIND_KERNELS_CPU_SOFTMAX_INL_H_
#else
#define TRADEWIND_KERNELS_CPU_SOFTMAX_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The largest of x[0, count), and -infinity for none. Where x holds a NaN the result may be any of its elements.
HWY_INLINE float row_max(const float* x, std::int64_t count) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto m0 = hn::Set(d, -std::numeric_limits<float>::infinity()), m1 = m0, m2 = m0, m3 = m0;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + L));
    m2 = hn::Max(m2, hn::LoadU(d, x + i + 2 * L));
    m3 = hn::Max(m3, hn::LoadU(d, x + i + 3 * L));
  }
  for (; i + L <= count; i += L) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  float most = hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3))));
  for (; i < count; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

/// Sums are float32 within blocks of a row and float64 over them: a vocabulary is too long for one chain of float32 additions.
constexpr std::int64_t kSumBlock = 2048;

/// The sum of x[0, count), for one block.
HWY_INLINE float block_sum(const float* x, std::int64_t count) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    s0 = hn::Add(s0, hn::LoadU(d, x + i));
    s1 = hn::Add(s1, hn::LoadU(d, x + i + L));
    s2 = hn::Add(s2, hn::LoadU(d, x + i + 2 * L));
    s3 = hn::Add(s3, hn::LoadU(d, x + i + 3 * L));
  }
  for (; i + L <= count; i += L) s0 = hn::Add(s0, hn::LoadU(d, x + i));
  if (i < count) s1 = hn::Add(s1, load_n(d, x + i, static_cast<std::size_t>(count - i)));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

/// The sum of exp(x[i] - shift), for one block; the terms are left in y where kStore.
template <bool kStore>
HWY_INLINE float block_exp_sum(float* y, const float* x, std::int64_t count, float shift) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto off = hn::Set(d, shift);
  auto s0 = hn::Zero(d), s1 = s0;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {  // four chains: one exponential is mostly waiting for the step before
    const auto e0 = fast_exp(d, hn::Sub(hn::LoadU(d, x + i), off));
    const auto e1 = fast_exp(d, hn::Sub(hn::LoadU(d, x + i + L), off));
    const auto e2 = fast_exp(d, hn::Sub(hn::LoadU(d, x + i + 2 * L), off));
    const auto e3 = fast_exp(d, hn::Sub(hn::LoadU(d, x + i + 3 * L), off));
    if constexpr (kStore) {
      hn::StoreU(e0, d, y + i);
      hn::StoreU(e1, d, y + i + L);
      hn::StoreU(e2, d, y + i + 2 * L);
      hn::StoreU(e3, d, y + i + 3 * L);
    }
    s0 = hn::Add(s0, hn::Add(e0, e2));
    s1 = hn::Add(s1, hn::Add(e1, e3));
  }
  for (; i < count; i += L) {
    const auto n = static_cast<std::size_t>(count - i < L ? count - i : L);
    // Lanes past the end must add nothing: exp of 0 - shift is not 0.
    const auto e = hn::IfThenElseZero(hn::FirstN(d, n), fast_exp(d, hn::Sub(load_n(d, x + i, n), off)));
    if constexpr (kStore) store_n(e, d, y + i, n);
    s0 = hn::Add(s0, e);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
}

/// The sum of x[0, count).
HWY_INLINE double row_sum(const float* x, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; i += kSumBlock) sum += block_sum(x + i, count - i < kSumBlock ? count - i : kSumBlock);
  return sum;
}

/// The sum of exp(x[i] - shift); the terms are left in y where kStore. y may be x.
template <bool kStore>
HWY_INLINE double row_exp_sum(float* y, const float* x, std::int64_t count, float shift) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; i += kSumBlock)
    sum += block_exp_sum<kStore>(y + i, x + i, count - i < kSumBlock ? count - i : kSumBlock, shift);
  return sum;
}

/// y[i] = x[i] factor + term. y may be x.
HWY_INLINE void row_scale_add(float* y, const float* x, std::int64_t count, float factor, float term) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto a = hn::Set(d, factor), b = hn::Set(d, term);
  std::int64_t i = 0;
  for (; i + L <= count; i += L) hn::StoreU(hn::MulAdd(hn::LoadU(d, x + i), a, b), d, y + i);
  if (i < count) {
    const auto n = static_cast<std::size_t>(count - i);
    store_n(hn::MulAdd(load_n(d, x + i, n), a, b), d, y + i, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels
HWY_AFTER_NAMESPACE();

#endif  // TRADEWIND_KERNELS_CPU_SOFTMAX_INL_H_
