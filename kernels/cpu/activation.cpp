// Activations on the CPU: one pass, arithmetic hidden behind memory.
//
// Both GELU derivatives come from what the value needs anyway. The tanh form is computed as x sigmoid(2 u), since
// (1 + tanh u) / 2 = sigmoid(2 u): one exp, and no cancellation for negative x.
// Large outputs that nothing aliases are written past the cache, which saves reading them first (a third of the traffic).
#include "kernels/cpu/activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

// value(d, x) = act(x); both(d, x, y) sets y = act(x) and returns act'(x).
struct None {
  template <class D, class V>
  static HWY_INLINE V value(D, V x) {
    return x;
  }
  template <class D, class V>
  static HWY_INLINE V both(D d, V x, V& y) {
    y = x;
    return hn::Set(d, 1.0F);
  }
};

struct Relu {
  // A comparison and not Max: NaN must stay NaN.
  template <class D, class V>
  static HWY_INLINE V value(D d, V x) {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  }
  template <class D, class V>
  static HWY_INLINE V both(D d, V x, V& y) {
    y = value(d, x);
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0F));
  }
};

struct GeluTanh {
  static constexpr float kA = 1.5957691216F;  // 2 sqrt(2 / pi)
  static constexpr float kB = 0.0713548163F;  // kA * 0.044715
  template <class D, class V>
  static HWY_INLINE V value(D d, V x) {
    const V t = hn::MulAdd(hn::Set(d, -kB), hn::Mul(x, x), hn::Set(d, -kA));
    const V one = hn::Set(d, 1.0F);
    return hn::Div(bounded(d, x), hn::Add(one, fast_exp(d, hn::Mul(t, x))));
  }
  template <class D, class V>
  static HWY_INLINE V both(D d, V x, V& y) {
    const V one = hn::Set(d, 1.0F), square = hn::Mul(x, x);
    const V t = hn::MulAdd(hn::Set(d, -kB), square, hn::Set(d, -kA));
    const V s = hn::Div(one, hn::Add(one, fast_exp(d, hn::Mul(t, x))));
    y = hn::Mul(bounded(d, x), s);
    // s + x s (1 - s) (kA + 3 kB x^2)
    const V slope = hn::MulAdd(hn::Set(d, 3 * kB), square, hn::Set(d, kA));
    return hn::MulAdd(hn::Mul(y, slope), hn::Sub(one, s), s);
  }
  // -inf would make -inf * 0; below -1e4 the value is 0 anyway.
  template <class D, class V>
  static HWY_INLINE V bounded(D d, V x) {
    const V least = hn::Set(d, -1e4F);
    return hn::IfThenElse(hn::Lt(x, least), least, x);
  }
};

struct GeluExact {
  template <class D, class V>
  static HWY_INLINE V value(D d, V x) {
    const V half = hn::Set(d, 0.5F);
    return hn::Mul(x, hn::MulAdd(half, fast_erf(d, hn::Mul(x, hn::Set(d, 0.7071067812F))), half));
  }
  template <class D, class V>
  static HWY_INLINE V both(D d, V x, V& y) {
    const V half = hn::Set(d, 0.5F);
    const V cdf = hn::MulAdd(half, fast_erf(d, hn::Mul(x, hn::Set(d, 0.7071067812F))), half);
    y = hn::Mul(x, cdf);
    const V density = hn::Mul(hn::Set(d, 0.3989422804F), fast_exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5F))));
    return hn::MulAdd(x, density, cdf);
  }
};

struct Silu {
  template <class D, class V>
  static HWY_INLINE V value(D d, V x) {
    return hn::Div(x, hn::Add(hn::Set(d, 1.0F), fast_exp(d, hn::Neg(x))));
  }
  template <class D, class V>
  static HWY_INLINE V both(D d, V x, V& y) {
    const V s = fast_sigmoid(d, x);
    y = hn::Mul(x, s);
    return hn::MulAdd(y, hn::Sub(hn::Set(d, 1.0F), s), s);
  }
};

// f(kind) with the struct that `activation` names.
template <class F>
HWY_INLINE void with_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::kNone: return f(None());
    case Activation::kRelu: return f(Relu());
    case Activation::kGeluTanh: return f(GeluTanh());
    case Activation::kGeluExact: return f(GeluExact());
    case Activation::kSilu: return f(Silu());
  }
}

template <class A, bool kStream>
HWY_INLINE void forward_range(float* y, const float* x, std::size_t count) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 2 * L <= count; i += 2 * L) {
    const auto a = A::value(d, hn::LoadU(d, x + i)), b = A::value(d, hn::LoadU(d, x + i + L));
    if constexpr (kStream) {
      hn::Stream(a, d, y + i);
      hn::Stream(b, d, y + i + L);
    } else {
      hn::StoreU(a, d, y + i);
      hn::StoreU(b, d, y + i + L);
    }
  }
  for (; i < count; i += L) {
    const std::size_t n = HWY_MIN(L, count - i);
    store_n(A::value(d, load_n(d, x + i, n)), d, y + i, n);
  }
}

template <class A, bool kStream, bool kValue, bool kAdd>
HWY_INLINE void backward_range(float* dx, float* y, const float* dy, const float* x, std::size_t count) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + L <= count; i += L) {
    auto value = hn::Zero(d);
    const auto slope = A::both(d, hn::LoadU(d, x + i), value);
    const auto g = hn::LoadU(d, dy + i);
    const auto out = kAdd ? hn::MulAdd(g, slope, hn::LoadU(d, dx + i)) : hn::Mul(g, slope);
    if constexpr (kStream)
      hn::Stream(out, d, dx + i);
    else
      hn::StoreU(out, d, dx + i);
    if constexpr (kValue) hn::StoreU(value, d, y + i);
  }
  if (const std::size_t n = count - i; n != 0) {
    auto value = hn::Zero(d);
    const auto slope = A::both(d, load_n(d, x + i, n), value);
    const auto g = load_n(d, dy + i, n);
    store_n(kAdd ? hn::MulAdd(g, slope, load_n(d, dx + i, n)) : hn::Mul(g, slope), d, dx + i, n);
    if constexpr (kValue) store_n(value, d, y + i, n);
  }
}

void forward_part(float* y, const float* x, std::size_t count, Activation activation, bool stream) {
  with_activation(activation, [&](auto kind) HWY_ATTR {
    using A = decltype(kind);
    if (stream)
      forward_range<A, true>(y, x, count);
    else
      forward_range<A, false>(y, x, count);
  });
  if (stream) hwy::FlushStream();
}

void backward_part(float* dx, float* y, const float* dy, const float* x, std::size_t count, Activation activation, bool add,
                   bool stream) {
  with_activation(activation, [&](auto kind) HWY_ATTR {
    using A = decltype(kind);
    if (y != nullptr) {
      if (add)
        backward_range<A, false, true, true>(dx, y, dy, x, count);
      else
        backward_range<A, false, true, false>(dx, y, dy, x, count);
    } else if (add) {
      backward_range<A, false, false, true>(dx, y, dy, x, count);
    } else if (stream) {
      backward_range<A, true, false, false>(dx, y, dy, x, count);
    } else {
      backward_range<A, false, false, false>(dx, y, dy, x, count);
    }
  });
  if (stream) hwy::FlushStream();
}

void swiglu_forward_rows(float* y, const float* x, std::size_t N, std::size_t C) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  for (std::size_t n = 0; n < N; ++n, y += C, x += 2 * C) {
    std::size_t c = 0;
    for (; c + L <= C; c += L) hn::StoreU(hn::Mul(Silu::value(d, hn::LoadU(d, x + c)), hn::LoadU(d, x + C + c)), d, y + c);
    if (const std::size_t k = C - c; k != 0)
      store_n(hn::Mul(Silu::value(d, load_n(d, x + c, k)), load_n(d, x + C + c, k)), d, y + c, k);
  }
}

void swiglu_backward_rows(float* dx, const float* dy, const float* x, std::size_t N, std::size_t C, bool add) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  for (std::size_t n = 0; n < N; ++n, dy += C, x += 2 * C, dx += 2 * C) {
    for (std::size_t c = 0; c < C; c += L) {
      const std::size_t k = HWY_MIN(L, C - c);
      const bool whole = k == L;
      const auto load = [&](const float* p) HWY_ATTR { return whole ? hn::LoadU(d, p) : load_n(d, p, k); };
      auto silu = hn::Zero(d);
      const auto slope = Silu::both(d, load(x + c), silu);
      const auto g = load(dy + c);
      auto gate = hn::Mul(hn::Mul(g, load(x + C + c)), slope), up = hn::Mul(g, silu);
      if (add) {
        gate = hn::Add(gate, load(dx + c));
        up = hn::Add(up, load(dx + C + c));
      }
      if (whole) {
        hn::StoreU(gate, d, dx + c);
        hn::StoreU(up, d, dx + C + c);
      } else {
        store_n(gate, d, dx + c, k);
        store_n(up, d, dx + C + c, k);
      }
    }
  }
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(forward_part);
HWY_EXPORT(backward_part);
HWY_EXPORT(swiglu_forward_rows);
HWY_EXPORT(swiglu_backward_rows);

void activation_forward(float* y, const float* x, std::int64_t count, Activation activation, const Launch& launch) {
  const bool stream = y != x && pays_to_stream(y, count);
  parallel_pieces(count, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_part)(y + begin, x + begin, static_cast<std::size_t>(end - begin), activation, stream);
  });
}

void activation_backward(float* dx, float* y, const float* dy, const float* x, std::int64_t count, Activation activation,
                         Write write, const Launch& launch) {
  const bool add = write == Write::kAccumulate;
  const bool stream = !add && y == nullptr && dx != dy && dx != x && pays_to_stream(dx, count);
  parallel_pieces(count, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_part)
    (dx + begin, y == nullptr ? nullptr : y + begin, dy + begin, x + begin, static_cast<std::size_t>(end - begin), activation,
     add, stream);
  });
}

void swiglu_forward(float* y, const float* x, std::int64_t N, std::int64_t C, const Launch& launch) {
  parallel_pieces(N, rows_per_grain(2 * C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(swiglu_forward_rows)
    (y + begin * C, x + begin * 2 * C, static_cast<std::size_t>(end - begin), static_cast<std::size_t>(C));
  });
}

void swiglu_backward(float* dx, const float* dy, const float* x, std::int64_t N, std::int64_t C, Write write,
                     const Launch& launch) {
  parallel_pieces(N, rows_per_grain(2 * C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(swiglu_backward_rows)
    (dx + begin * 2 * C, dy + begin * C, x + begin * 2 * C, static_cast<std::size_t>(end - begin), static_cast<std::size_t>(C),
     write == Write::kAccumulate);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
