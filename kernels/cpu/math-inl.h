// exp, log, tanh, erf and sigmoid of float32 vectors, compiled once an instruction set.
//
// Each is within 1e-6 of the true value, relative (tests/kernels/math_test.cpp measures 1e-7 to 3e-7 and holds them to it).
// NaN in gives NaN out. Coefficients: minimax in relative error by iteratively reweighted least squares in float64, rounded.

// Include guard, toggled: this file is read once a target.
#if defined(TRADEWIND_KERNELS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRADEWIND_KERNELS_CPU_MATH_INL_H_
#undef TRADEWIND_KERNELS_CPU_MATH_INL_H_
#else
#define TRADEWIND_KERNELS_CPU_MATH_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// min(x, limit) and max(x, -limit), but NaN where x is NaN: x86 returns the second operand then.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V cap(D d, V x, float limit) {
  const V most = hn::Set(d, limit);
#if HWY_TARGET <= HWY_AVX2
  return hn::Min(most, x);
#else
  return hn::IfThenElse(hn::Lt(most, x), most, x);
#endif
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V clamp(D d, V x, float limit) {
  const V least = hn::Set(d, -limit);
#if HWY_TARGET <= HWY_AVX2
  return hn::Max(least, cap(d, x, limit));
#else
  return cap(d, hn::IfThenElse(hn::Lt(x, least), least, x), limit);
#endif
}

/// e^x. 0 below -87.33 (so exp(-inf) = 0; no subnormal results), inf from 88.38 on.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fast_exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto lowest = hn::Set(d, -87.33F);
  // x = n ln 2 + r. Adding 1.5 * 2^23 rounds to an integer that then sits in the low bits of the mantissa.
  const auto round = hn::Set(d, 12582912.0F);
  const V capped = cap(d, x, 88.5F);  // where n is 128 and 2^n comes out as inf
  const V shifted = hn::MulAdd(capped, hn::Set(d, 1.44269504F), round);
  const V n = hn::Sub(shifted, round);
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), capped);  // ln 2 in two parts; n times the first is exact
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
  V p = hn::MulAdd(hn::Set(d, 0.00138145394F), r, hn::Set(d, 0.00836874545F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.041668389F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665211F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.49999994F));
  p = hn::MulAdd(p, hn::Mul(r, r), r);
  // 2^n by its exponent bits; the low bits of `shifted` are those of n, and the shift drops the rest.
  const auto two_n = hn::BitCast(d, hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23)));
  return hn::IfThenZeroElse(hn::Lt(x, lowest), hn::Mul(hn::Add(p, hn::Set(d, 1.0F)), two_n));
}

/// 1 / (1 + e^-x). 0 below -88.38.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fast_sigmoid(D d, V x) {
  const auto one = hn::Set(d, 1.0F);
  return hn::Div(one, hn::Add(one, fast_exp(d, hn::Neg(x))));
}

/// x P(x^2) / Q(x^2), constant from |x| = 9.01 on, where tanh rounds to 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fast_tanh(D d, V x) {
  const V c = clamp(d, x, 9.01F);
  const V t = hn::Mul(c, c);
  V p = hn::MulAdd(hn::Set(d, -1.22246943e-11F), t, hn::Set(d, 3.06135668e-08F));
  p = hn::MulAdd(p, t, hn::Set(d, 2.80192999e-05F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.00386891374F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.136803821F));
  p = hn::Mul(hn::MulAdd(p, t, hn::Set(d, 1.0F)), c);
  V q = hn::MulAdd(hn::Set(d, 1.28819488e-06F), t, hn::Set(d, 0.000393966504F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.0272479821F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.470137149F));
  return hn::Div(p, hn::MulAdd(q, t, hn::Set(d, 1.0F)));
}

/// x P(x^2) / Q(x^2), constant from |x| = 3.92 on, where 1 - erf < 3e-8.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fast_erf(D d, V x) {
  const V c = clamp(d, x, 3.92F);
  const V t = hn::Mul(c, c);
  V p = hn::MulAdd(hn::Set(d, 2.05008632e-06F), t, hn::Set(d, 0.000284882117F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0037656012F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0527486727F));
  p = hn::MulAdd(p, t, hn::Set(d, 0.190406144F));
  p = hn::Mul(hn::MulAdd(p, t, hn::Set(d, 1.12837911F)), c);
  V q = hn::MulAdd(hn::Set(d, 3.80916754e-05F), t, hn::Set(d, 0.00116253132F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.014969185F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.114108972F));
  q = hn::MulAdd(q, t, hn::Set(d, 0.502075791F));
  return hn::Div(p, hn::MulAdd(q, t, hn::Set(d, 1.0F)));
}

/// ln x. -inf at 0 (subnormals count as 0), NaN below, inf at inf.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V fast_log(D d, V x) {
  const hn::RebindToSigned<D> di;
  // x = 2^n m with m in [sqrt 1/2, sqrt 2): subtracting the bits of sqrt 1/2 borrows from the exponent where m is below it.
  const auto root_half = hn::Set(di, 0x3F3504F3);
  const auto bits = hn::Sub(hn::BitCast(di, x), root_half);
  const V n = hn::ConvertTo(d, hn::ShiftRight<23>(bits));
  const V f = hn::Sub(hn::BitCast(d, hn::Add(hn::And(bits, hn::Set(di, 0x7FFFFF)), root_half)), hn::Set(d, 1.0F));
  V p = hn::MulAdd(hn::Set(d, -0.0763565525F), f, hn::Set(d, 0.127633274F));
  p = hn::MulAdd(p, f, hn::Set(d, -0.131605819F));
  p = hn::MulAdd(p, f, hn::Set(d, 0.142015532F));
  p = hn::MulAdd(p, f, hn::Set(d, -0.166232988F));
  p = hn::MulAdd(p, f, hn::Set(d, 0.200012341F));
  p = hn::MulAdd(p, f, hn::Set(d, -0.250008225F));
  p = hn::MulAdd(p, f, hn::Set(d, 0.333333313F));
  // f - f^2/2 + f^3 P(f) + n ln 2, small terms first.
  const V square = hn::Mul(f, f);
  V y = hn::Mul(hn::Mul(p, f), square);
  y = hn::MulAdd(n, hn::Set(d, -2.12194440e-4F), y);
  y = hn::NegMulAdd(hn::Set(d, 0.5F), square, y);
  y = hn::MulAdd(n, hn::Set(d, 0.693359375F), hn::Add(y, f));
  const auto infinity = hn::Inf(d);
  y = hn::IfThenElse(hn::Lt(x, hn::Set(d, 1.17549435e-38F)), hn::Neg(infinity), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::NaN(d), y);
  // inf and NaN are their own logarithms.
  return hn::IfThenElse(hn::Lt(x, infinity), y, x);
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels
HWY_AFTER_NAMESPACE();

#endif  // TRADEWIND_KERNELS_CPU_MATH_INL_H_
