// The activations of kernels/activation.h on a device: value(x) = act(x); both(x, y) sets y = act(x) and returns act'(x).
//
// One exponential and one reciprocal an element, of a unit in the last place or two each, since 17 to 34 elements arrive from
// memory in the time of one such instruction of an SM's 16 a clock. (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)) has no
// cancellation. NaN stays NaN.
#pragma once

#include <cmath>

#include "kernels/activation.h"
#include "kernels/cuda/device/simt.cuh"

namespace tradewind::kernels {

namespace detail {
inline constexpr float kLog2OfE = 1.44269504088896341F;
}

/// e^x; its relative error grows as |x| 1e-7.
TRADEWIND_DEVICE float exponential(float x) { return exp2_approximate(x * detail::kLog2OfE); }
TRADEWIND_DEVICE float sigmoid(float x) { return reciprocal_approximate(1.0F + exponential(-x)); }

struct Identity {
  static TRADEWIND_DEVICE float value(float x) { return x; }
  static TRADEWIND_DEVICE float both(float x, float& y) {
    y = x;
    return 1.0F;
  }
};

struct Relu {
  static TRADEWIND_DEVICE float value(float x) { return x < 0.0F ? 0.0F : x; }  // and not fmaxf, which passes over a NaN
  static TRADEWIND_DEVICE float both(float x, float& y) {
    y = value(x);
    return x > 0.0F ? 1.0F : 0.0F;
  }
};

struct GeluTanh {
  static constexpr float kA = 1.5957691216F;  // 2 sqrt(2 / pi)
  static constexpr float kB = 0.0713548163F;  // kA * 0.044715
  static TRADEWIND_DEVICE float value(float x) { return bounded(x) * sigmoid(x * (kA + kB * x * x)); }
  static TRADEWIND_DEVICE float both(float x, float& y) {
    const float square = x * x, s = sigmoid(x * (kA + kB * square));
    y = bounded(x) * s;
    return s + y * (kA + 3 * kB * square) * (1.0F - s);
  }
  // -inf would make -inf * 0; below -1e4 the value is 0 anyway.
  static TRADEWIND_DEVICE float bounded(float x) { return x < -1e4F ? -1e4F : x; }
};

struct GeluExact {
  static TRADEWIND_DEVICE float value(float x) { return x * (0.5F + 0.5F * erff(x * 0.7071067812F)); }
  static TRADEWIND_DEVICE float both(float x, float& y) {
    const float cdf = 0.5F + 0.5F * erff(x * 0.7071067812F);
    y = x * cdf;
    return cdf + x * 0.3989422804F * exponential(-0.5F * x * x);
  }
};

struct Silu {
  static TRADEWIND_DEVICE float value(float x) { return x * sigmoid(x); }
  static TRADEWIND_DEVICE float both(float x, float& y) {
    const float s = sigmoid(x);
    y = x * s;
    return s + y * (1.0F - s);
  }
};

/// Calls f(kind) with the struct that `activation`, the same in all threads, names: one branch for all elements of a thread.
template <class F>
TRADEWIND_DEVICE void with_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::kNone: return f(Identity());
    case Activation::kRelu: return f(Relu());
    case Activation::kGeluTanh: return f(GeluTanh());
    case Activation::kGeluExact: return f(GeluExact());
    case Activation::kSilu: return f(Silu());
  }
}

}  // namespace tradewind::kernels
