// Optimiser updates on the CPU: one pass over memory, which bounds them.
//
// The segments are one index space: positions 0 .. total are dealt out to the threads once a call, wherever segments begin and
// end, so a hundred small ones cost as much as one of their size. Updates are element by element: the same bits for any split.
//
// Adam's bias corrections are computed in float64 and folded into scalars:
//   p (1 - rate decay) - (rate / (1 - b1^t)) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
#include "kernels/cpu/optimizer.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tail-inl.h"

#ifndef TRADEWIND_KERNELS_CPU_OPTIMIZER_ONCE_
#define TRADEWIND_KERNELS_CPU_OPTIMIZER_ONCE_
namespace tradewind::kernels::cpu {

/// Positions [begin, end) of the segments' common index space.
struct Part {
  const Segment* segments;
  std::int64_t segment_count, begin, end;
};

struct AdamScalars {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon, gradient_scale, rate, correction1, root_correction2;
  bool decoupled;
};

struct SgdScalars {
  float momentum, one_minus_dampening, gradient_scale, rate;
  bool nesterov, first;
};

/// Elements that one block of squared_norm sums by itself.
inline constexpr std::int64_t kNormBlock = 16384;

}  // namespace tradewind::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using cpu::AdamScalars;
using cpu::Part;
using cpu::SgdScalars;

// body(segment, first element, elements) for each piece of the part.
template <class Body>
HWY_INLINE void for_each_piece(const Part& part, const Body& body) {
  std::int64_t position = 0;
  for (std::int64_t i = 0; i < part.segment_count && position < part.end; ++i) {
    const Segment& s = part.segments[i];
    const std::int64_t next = position + (s.end - s.begin);
    const std::int64_t from = HWY_MAX(part.begin, position), to = HWY_MIN(part.end, next);
    if (from < to) body(s, static_cast<std::size_t>(s.begin + from - position), static_cast<std::size_t>(to - from));
    position = next;
  }
}

template <bool kCoupled>
HWY_INLINE void adam_piece(float* HWY_RESTRICT parameter, float* HWY_RESTRICT m, float* HWY_RESTRICT v,
                           const float* HWY_RESTRICT gradient, std::size_t count, float decay, float segment_rate,
                           const AdamScalars& s) {
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

void adam_part(float* parameter, float* m, float* v, const float* gradient, const Part& part, const AdamScalars& s) {
  for_each_piece(part, [&](const Segment& segment, std::size_t at, std::size_t count) HWY_ATTR {
    if (s.decoupled)
      adam_piece<false>(parameter + at, m + at, v + at, gradient + at, count, segment.weight_decay, segment.rate, s);
    else
      adam_piece<true>(parameter + at, m + at, v + at, gradient + at, count, segment.weight_decay, segment.rate, s);
  });
}

template <bool kMomentum>
HWY_INLINE void sgd_piece(float* HWY_RESTRICT parameter, float* HWY_RESTRICT buffer, const float* HWY_RESTRICT gradient,
                          std::size_t count, float decay, float segment_rate, const SgdScalars& s) {
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

void sgd_part(float* parameter, float* buffer, const float* gradient, const Part& part, const SgdScalars& s) {
  for_each_piece(part, [&](const Segment& segment, std::size_t at, std::size_t count) HWY_ATTR {
    if (s.momentum != 0.0F)
      sgd_piece<true>(parameter + at, buffer + at, gradient + at, count, segment.weight_decay, segment.rate, s);
    else
      sgd_piece<false>(parameter + at, nullptr, gradient + at, count, segment.weight_decay, segment.rate, s);
  });
}

double norm_block(const float* x, std::size_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  const std::size_t L = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  const auto wide = [&](const float* p) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(half, p)); };
  std::size_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    const auto a = wide(x + i), b = wide(x + i + L), c = wide(x + i + 2 * L), e = wide(x + i + 3 * L);
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
    s2 = hn::MulAdd(c, c, s2);
    s3 = hn::MulAdd(e, e, s3);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/base/bfloat16.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(adam_part);
HWY_EXPORT(sgd_part);
HWY_EXPORT(norm_block);

namespace {

// The bfloat16 copy of what a part updated.
void copy_part(void* copy, const float* parameter, const Part& part) {
  if (copy == nullptr) return;
  std::int64_t position = 0;
  for (std::int64_t i = 0; i < part.segment_count && position < part.end; ++i) {
    const Segment& s = part.segments[i];
    const std::int64_t offset = s.begin - position, next = position + (s.end - s.begin);
    for (std::int64_t k = std::max(part.begin, position); k < std::min(part.end, next); ++k)
      static_cast<std::uint16_t*>(copy)[k + offset] = bfloat16_bits(parameter[k + offset]);
    position = next;
  }
}

std::int64_t total_of(const Segment* segments, std::int64_t count) {
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += segments[i].end - segments[i].begin;
  return total;
}

}  // namespace

void adam_update(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                 std::int64_t segment_count, const AdamOptions& options, const Launch& launch) {
  const double b1 = options.beta1, b2 = options.beta2, t = static_cast<double>(launch.step->step);
  const AdamScalars scalars{.beta1 = options.beta1,
                            .one_minus_beta1 = static_cast<float>(1 - b1),
                            .beta2 = options.beta2,
                            .one_minus_beta2 = static_cast<float>(1 - b2),
                            .epsilon = options.epsilon,
                            .gradient_scale = launch.step->gradient_scale,
                            .rate = launch.step->learning_rate,
                            .correction1 = static_cast<float>(1 / (1 - std::pow(b1, t))),
                            .root_correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(b2, t))),
                            .decoupled = options.decoupled};
  parallel_pieces(total_of(segments, segment_count), kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    const Part part{segments, segment_count, begin, end};
    HWY_DYNAMIC_DISPATCH(adam_part)(parameter, m, v, gradient, part, scalars);
    copy_part(options.copy, parameter, part);
  });
}

void sgd_update(float* parameter, float* momentum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                const SgdOptions& options, const Launch& launch) {
  const SgdScalars scalars{.momentum = options.momentum,
                           .one_minus_dampening = 1.0F - options.dampening,
                           .gradient_scale = launch.step->gradient_scale,
                           .rate = launch.step->learning_rate,
                           .nesterov = options.nesterov,
                           .first = launch.step->step == 1};
  parallel_pieces(total_of(segments, segment_count), kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    const Part part{segments, segment_count, begin, end};
    HWY_DYNAMIC_DISPATCH(sgd_part)(parameter, momentum, gradient, part, scalars);
    copy_part(options.copy, parameter, part);
  });
}

void squared_norm(double* sum, const float* x, std::int64_t count, const Launch& launch) {
  const std::int64_t blocks = (count + kNormBlock - 1) / kNormBlock;
  const ScratchArray<double> sums(launch, static_cast<std::size_t>(blocks));
  parallel_pieces(blocks, 1, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      sums[static_cast<std::size_t>(b)] = HWY_DYNAMIC_DISPATCH(norm_block)(
          x + b * kNormBlock, static_cast<std::size_t>(std::min(kNormBlock, count - b * kNormBlock)));
  });
  double total = 0;
  for (std::int64_t b = 0; b < blocks; ++b) total += sums[static_cast<std::size_t>(b)];
  *sum = total;
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
