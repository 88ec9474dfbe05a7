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

#include "kernels/cpu/optimizer-inl.h"

#ifndef TRADEWIND_KERNELS_CPU_OPTIMIZER_ONCE_
#define TRADEWIND_KERNELS_CPU_OPTIMIZER_ONCE_
namespace tradewind::kernels::cpu {

/// Positions [begin, end) of the segments' common index space.
struct Part {
  const Segment* segments;
  std::int64_t segment_count, begin, end;
};

/// Elements that one block of squared_norm sums by itself.
inline constexpr std::int64_t kNormBlock = 16384;

}  // namespace tradewind::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using cpu::AdagradScalars;
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

void adam_part(float* parameter, float* m, float* v, const float* gradient, const Part& part, const AdamScalars& s) {
  for_each_piece(part, [&](const Segment& segment, std::size_t at, std::size_t count) HWY_ATTR {
    if (s.decoupled)
      adam_piece<false>(parameter + at, m + at, v + at, gradient + at, count, segment.weight_decay, segment.rate, s);
    else
      adam_piece<true>(parameter + at, m + at, v + at, gradient + at, count, segment.weight_decay, segment.rate, s);
  });
}

void sgd_part(float* parameter, float* buffer, const float* gradient, const Part& part, const SgdScalars& s) {
  for_each_piece(part, [&](const Segment& segment, std::size_t at, std::size_t count) HWY_ATTR {
    if (s.momentum != 0.0F)
      sgd_piece<true>(parameter + at, buffer + at, gradient + at, count, segment.weight_decay, segment.rate, s);
    else
      sgd_piece<false>(parameter + at, nullptr, gradient + at, count, segment.weight_decay, segment.rate, s);
  });
}

void adagrad_part(float* parameter, float* sum, const float* gradient, const Part& part, const AdagradScalars& s) {
  for_each_piece(part, [&](const Segment& segment, std::size_t at, std::size_t count) HWY_ATTR {
    adagrad_piece(parameter + at, sum + at, gradient + at, count, segment.weight_decay, segment.rate, s);
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
HWY_EXPORT(adagrad_part);
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

// update(part) for parts that the threads share, and then their bfloat16 copy.
template <class Update>
void for_parts(const float* parameter, const Segment* segments, std::int64_t segment_count, void* copy, const Launch& launch,
               const Update& update) {
  parallel_pieces(total_of(segments, segment_count), kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    const Part part{segments, segment_count, begin, end};
    update(part);
    copy_part(copy, parameter, part);
  });
}

}  // namespace

AdamScalars adam_scalars(const AdamOptions& options, const StepState& step) {
  const double b1 = options.beta1, b2 = options.beta2, t = static_cast<double>(step.step);
  return {.beta1 = options.beta1,
          .one_minus_beta1 = static_cast<float>(1 - b1),
          .beta2 = options.beta2,
          .one_minus_beta2 = static_cast<float>(1 - b2),
          .epsilon = options.epsilon,
          .gradient_scale = step.gradient_scale,
          .rate = step.learning_rate,
          .correction1 = static_cast<float>(1 / (1 - std::pow(b1, t))),
          .root_correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(b2, t))),
          .decoupled = options.decoupled};
}

void adam_update(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                 std::int64_t segment_count, const AdamOptions& options, const Launch& launch) {
  const AdamScalars scalars = adam_scalars(options, *launch.step);
  for_parts(parameter, segments, segment_count, options.copy, launch, [&](const Part& part) {
    HWY_DYNAMIC_DISPATCH(adam_part)(parameter, m, v, gradient, part, scalars);
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
  for_parts(parameter, segments, segment_count, options.copy, launch, [&](const Part& part) {
    HWY_DYNAMIC_DISPATCH(sgd_part)(parameter, momentum, gradient, part, scalars);
  });
}

void adagrad_update(float* parameter, float* sum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                    const AdagradOptions& options, const Launch& launch) {
  const AdagradScalars scalars{
      .epsilon = options.epsilon, .gradient_scale = launch.step->gradient_scale, .rate = launch.step->learning_rate};
  for_parts(parameter, segments, segment_count, options.copy, launch, [&](const Part& part) {
    HWY_DYNAMIC_DISPATCH(adagrad_part)(parameter, sum, gradient, part, scalars);
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
