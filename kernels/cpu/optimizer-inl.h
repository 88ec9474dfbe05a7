// The optimisers' rules on a contiguous range, compiled once an instruction set: optimizer.cpp applies them to segments,
// sparse_optimizer.cpp to rows. Element by element; Adam's bias corrections are folded into scalars (optimizer.h).

// Include guard, toggled: this file is read once a target.
#if defined(TRADEWIND_KERNELS_CPU_OPTIMIZER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRADEWIND_KERNELS_CPU_OPTIMIZER_INL_H_
#undef TRADEWIND_KERNELS_CPU_OPTIMIZER_INL_H_
#else
#define TRADEWIND_KERNELS_CPU_OPTIMIZER_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <bool kCoupled>
HWY_INLINE void adam_piece(float* HWY_RESTRICT parameter, float* HWY_RESTRICT m, float* HWY_RESTRICT v,
                           const float* HWY_RESTRICT gradient, std::size_t count, float decay, float segment_rate,
                           const cpu::AdamScalars& s) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  const float rate = s.rate * segment_rate;
  const auto scale = hn::Set(d, s.gradient_scale), coupled = hn::Set(d, decay), keep = hn::Set(d, 1.0F - rate * decay);
  const auto b1 = hn::Set(d, s.beta1), a1 = hn::Set(d, s.one_minus_beta1);
  const auto b2 = hn::Set(d, s.beta2), a2 = hn::Set(d, s.one_minus_beta2);
  const auto eps = hn::Set(d, s.epsilon), root = hn::Set(d, s.root_correction2), step = hn::Set(d, rate * s.correction1);
  using V = hn::Vec<decltype(d)>;
  const auto update = [&](V& p, V& mean, V& square, V g) HWY_ATTR {
    g = hn::Mul(g, scale);
    if constexpr (kCoupled)
      g = hn::MulAdd(coupled, p, g);
    else
      p = hn::Mul(p, keep);
    mean = hn::MulAdd(b1, mean, hn::Mul(a1, g));
    square = hn::MulAdd(b2, square, hn::Mul(hn::Mul(a2, g), g));
    p = hn::NegMulAdd(step, hn::Div(mean, hn::MulAdd(hn::Sqrt(square), root, eps)), p);
  };
  std::size_t i = 0;
  for (; i + L <= count; i += L) {
    V p = hn::LoadU(d, parameter + i), mean = hn::LoadU(d, m + i), square = hn::LoadU(d, v + i);
    update(p, mean, square, hn::LoadU(d, gradient + i));
    hn::StoreU(p, d, parameter + i);
    hn::StoreU(mean, d, m + i);
    hn::StoreU(square, d, v + i);
  }
  if (const std::size_t n = count - i; n != 0) {
    V p = load_n(d, parameter + i, n), mean = load_n(d, m + i, n), square = load_n(d, v + i, n);
    update(p, mean, square, load_n(d, gradient + i, n));
    store_n(p, d, parameter + i, n);
    store_n(mean, d, m + i, n);
    store_n(square, d, v + i, n);
  }
}

template <bool kMomentum>
HWY_INLINE void sgd_piece(float* HWY_RESTRICT parameter, float* HWY_RESTRICT buffer, const float* HWY_RESTRICT gradient,
                          std::size_t count, float decay, float segment_rate, const cpu::SgdScalars& s) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  const auto scale = hn::Set(d, s.gradient_scale), coupled = hn::Set(d, decay), step = hn::Set(d, s.rate * segment_rate);
  // In the first step b = g, whatever the buffer holds and whatever the dampening is.
  const auto mu = hn::Set(d, s.momentum), fresh = hn::Set(d, s.first ? 1.0F : s.one_minus_dampening);
  using V = hn::Vec<decltype(d)>;
  const auto update = [&](V& p, V& b, V g) HWY_ATTR {
    g = hn::MulAdd(coupled, p, hn::Mul(g, scale));
    if constexpr (kMomentum) {
      b = s.first ? g : hn::MulAdd(mu, b, hn::Mul(fresh, g));
      g = s.nesterov ? hn::MulAdd(mu, b, g) : b;
    }
    p = hn::NegMulAdd(step, g, p);
  };
  std::size_t i = 0;
  for (; i + L <= count; i += L) {
    V p = hn::LoadU(d, parameter + i), b = kMomentum ? hn::LoadU(d, buffer + i) : hn::Zero(d);
    update(p, b, hn::LoadU(d, gradient + i));
    hn::StoreU(p, d, parameter + i);
    if constexpr (kMomentum) hn::StoreU(b, d, buffer + i);
  }
  if (const std::size_t n = count - i; n != 0) {
    V p = load_n(d, parameter + i, n), b = kMomentum ? load_n(d, buffer + i, n) : hn::Zero(d);
    update(p, b, load_n(d, gradient + i, n));
    store_n(p, d, parameter + i, n);
    if constexpr (kMomentum) store_n(b, d, buffer + i, n);
  }
}

HWY_INLINE void adagrad_piece(float* HWY_RESTRICT parameter, float* HWY_RESTRICT sum, const float* HWY_RESTRICT gradient,
                              std::size_t count, float decay, float segment_rate, const cpu::AdagradScalars& s) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  const auto scale = hn::Set(d, s.gradient_scale), coupled = hn::Set(d, decay), step = hn::Set(d, s.rate * segment_rate);
  const auto eps = hn::Set(d, s.epsilon);
  using V = hn::Vec<decltype(d)>;
  const auto update = [&](V& p, V& square, V g) HWY_ATTR {
    g = hn::MulAdd(coupled, p, hn::Mul(g, scale));
    square = hn::MulAdd(g, g, square);
    p = hn::NegMulAdd(step, hn::Div(g, hn::Add(hn::Sqrt(square), eps)), p);
  };
  std::size_t i = 0;
  for (; i + L <= count; i += L) {
    V p = hn::LoadU(d, parameter + i), square = hn::LoadU(d, sum + i);
    update(p, square, hn::LoadU(d, gradient + i));
    hn::StoreU(p, d, parameter + i);
    hn::StoreU(square, d, sum + i);
  }
  if (const std::size_t n = count - i; n != 0) {
    V p = load_n(d, parameter + i, n), square = load_n(d, sum + i, n);
    update(p, square, load_n(d, gradient + i, n));
    store_n(p, d, parameter + i, n);
    store_n(square, d, sum + i, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels
HWY_AFTER_NAMESPACE();

#endif  // TRADEWIND_KERNELS_CPU_OPTIMIZER_INL_H_
