// The optimisers' rules on one element, as the kernels of optimizer.cu apply them to segments and those of sparse_optimizer.cu
// to rows. A rule says how many states it has, what changes from step to step (read from memory: steps are captured), and how
// an element and its states become the next. Mathematics: kernels/optimizer.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/device/simt.cuh"
#include "kernels/optimizer.h"

namespace tradewind::kernels::detail {
namespace {

/// b^t in float64; exact where t is 0 or 1, else within a few units in the last place.
TRADEWIND_DEVICE double power(double b, std::int64_t t) {
  double result = 1;
  for (; t > 0; t /= 2, b *= b)
    if (t % 2 != 0) result *= b;
  return result;
}

/// `first` and `second` are m and v. epsilon_hat: epsilon is added before the bias correction of v, as SparseAdam does.
struct Adam {
  static constexpr int kStates = 2;
  float beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;
  std::int32_t decoupled, epsilon_hat;
  double beta1_exactly, beta2_exactly;

  struct Step {
    float gradient_scale, rate, correction1, root_correction2, epsilon;
  };
  TRADEWIND_DEVICE Step at(const StepState* step) const {
    const std::int64_t t = load(&step->step);
    const auto root = static_cast<float>(1 / sqrt(1 - power(beta2_exactly, t)));
    return {load(&step->gradient_scale), load(&step->learning_rate), static_cast<float>(1 / (1 - power(beta1_exactly, t))),
            root, epsilon_hat != 0 ? epsilon * root : epsilon};
  }
  TRADEWIND_DEVICE bool reads_states(const Step&) const { return true; }
  TRADEWIND_DEVICE void update(float& p, float& m, float& v, float g, float decay, float rate, const Step& s) const {
    g *= s.gradient_scale;
    if (decoupled != 0)
      p *= 1.0F - rate * decay;
    else
      g += decay * p;
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * g * g;
    p -= rate * s.correction1 * (m / (sqrtf(v) * s.root_correction2 + s.epsilon));
  }
};

/// SGD with momentum, or (kMomentum false) without, when there is no state.
template <bool kMomentum>
struct Sgd {
  static constexpr int kStates = kMomentum ? 1 : 0;
  float momentum, one_minus_dampening;
  std::int32_t nesterov;

  struct Step {
    float gradient_scale, rate;
    std::int32_t first;
  };
  TRADEWIND_DEVICE Step at(const StepState* step) const {
    return {load(&step->gradient_scale), load(&step->learning_rate), load(&step->step) == 1 ? 1 : 0};
  }
  /// In the first step b = g, whatever the buffer holds.
  TRADEWIND_DEVICE bool reads_states(const Step& s) const { return s.first == 0; }
  TRADEWIND_DEVICE void update(float& p, float& b, float&, float g, float decay, float rate, const Step& s) const {
    g = decay * p + g * s.gradient_scale;
    if constexpr (kMomentum) {
      b = s.first != 0 ? g : momentum * b + one_minus_dampening * g;
      g = nesterov != 0 ? momentum * b + g : b;
    }
    p -= rate * g;
  }
};

/// `first` is the sum of squares.
struct Adagrad {
  static constexpr int kStates = 1;
  float epsilon;

  struct Step {
    float gradient_scale, rate;
  };
  TRADEWIND_DEVICE Step at(const StepState* step) const { return {load(&step->gradient_scale), load(&step->learning_rate)}; }
  TRADEWIND_DEVICE bool reads_states(const Step&) const { return true; }
  TRADEWIND_DEVICE void update(float& p, float& sum, float&, float g, float decay, float rate, const Step& s) const {
    g = decay * p + g * s.gradient_scale;
    sum += g * g;
    p -= rate * (g / (sqrtf(sum) + epsilon));
  }
};

inline Adam adam_rule(const AdamOptions& o, bool epsilon_hat) {
  const double b1 = o.beta1, b2 = o.beta2;
  return {.beta1 = o.beta1,
          .one_minus_beta1 = static_cast<float>(1 - b1),
          .beta2 = o.beta2,
          .one_minus_beta2 = static_cast<float>(1 - b2),
          .epsilon = o.epsilon,
          .decoupled = o.decoupled ? 1 : 0,
          .epsilon_hat = epsilon_hat ? 1 : 0,
          .beta1_exactly = b1,
          .beta2_exactly = b2};
}

}  // namespace
}  // namespace tradewind::kernels::detail
