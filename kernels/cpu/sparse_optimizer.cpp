// Sparse optimiser updates on the CPU.
//
// Threads share the rows of the gradient. A random row of a large table is a cache miss and a page walk, and so is the same row
// of each of its states: all of them are asked for kAhead rows before they are needed, so that several are under way at once.
// The rules are those of optimizer-inl.h, a row a range; row-wise Adagrad alone needs a row's sum first, while the row of the
// gradient is in the first-level cache.
#include "kernels/cpu/sparse_optimizer.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sparse_optimizer.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/optimizer-inl.h"

#ifndef TRADEWIND_KERNELS_CPU_SPARSE_OPTIMIZER_ONCE_
#define TRADEWIND_KERNELS_CPU_SPARSE_OPTIMIZER_ONCE_
namespace tradewind::kernels::cpu {

/// What a call updates, and by what.
struct SparseWork {
  float *table, *first, *second;
  SparseRows gradient;
  std::size_t C;
  SparseRule rule;
  AdamScalars adam;
  AdagradScalars adagrad;
  SgdScalars sgd;
};

}  // namespace tradewind::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using cpu::SparseWork;
constexpr std::int64_t kAhead = 12;  // rows asked for in advance

HWY_INLINE void prefetch_row(const float* row, std::size_t C) {
  // The first lines; the hardware follows a longer row by itself.
  for (std::size_t c = 0; c < C && c < 256; c += 16) hwy::Prefetch(row + c);
}

HWY_INLINE void rowwise_adagrad(float* HWY_RESTRICT row, float* HWY_RESTRICT sum, const float* HWY_RESTRICT gradient,
                                std::size_t C, const cpu::AdagradScalars& s) {
  const hn::ScalableTag<float> d;
  const std::size_t L = hn::Lanes(d);
  const auto scale = hn::Set(d, s.gradient_scale);
  auto squares = hn::Zero(d);
  std::size_t c = 0;
  for (; c + L <= C; c += L) {
    const auto g = hn::Mul(hn::LoadU(d, gradient + c), scale);
    squares = hn::MulAdd(g, g, squares);
  }
  if (const std::size_t n = C - c; n != 0) {
    const auto g = hn::Mul(load_n(d, gradient + c, n), scale);
    squares = hn::MulAdd(g, g, squares);
  }
  *sum += hn::GetLane(hn::SumOfLanes(d, squares)) / static_cast<float>(C);
  const auto rate = hn::Set(d, s.rate / (std::sqrt(*sum) + s.epsilon));
  for (c = 0; c + L <= C; c += L)
    hn::StoreU(hn::NegMulAdd(rate, hn::Mul(hn::LoadU(d, gradient + c), scale), hn::LoadU(d, row + c)), d, row + c);
  if (const std::size_t n = C - c; n != 0)
    store_n(hn::NegMulAdd(rate, hn::Mul(load_n(d, gradient + c, n), scale), load_n(d, row + c, n)), d, row + c, n);
}

// body(place of the row in table and states, its gradient) for rows [begin, end) of the gradient.
template <bool kFirst, bool kSecond, class Body>
HWY_INLINE void for_rows(const SparseWork& w, std::int64_t begin, std::int64_t end, const Body& body) {
  for (std::int64_t i = begin; i < end; ++i) {
    if (i + kAhead < end) {
      const std::size_t next = static_cast<std::size_t>(w.gradient.rows[i + kAhead]) * w.C;
      prefetch_row(w.table + next, w.C);
      if constexpr (kFirst) prefetch_row(w.first + next, w.C);
      if constexpr (kSecond) prefetch_row(w.second + next, w.C);
    }
    body(static_cast<std::size_t>(w.gradient.rows[i]) * w.C, w.gradient.values + static_cast<std::size_t>(i) * w.C);
  }
}

void update_rows(const SparseWork& w, std::int64_t begin, std::int64_t end) {
  switch (w.rule) {
    case SparseRule::kSgd:
      return for_rows<false, false>(w, begin, end, [&](std::size_t at, const float* g) HWY_ATTR {
        sgd_piece<false>(w.table + at, nullptr, g, w.C, 0.0F, 1.0F, w.sgd);
      });
    case SparseRule::kAdagrad:
      return for_rows<true, false>(w, begin, end, [&](std::size_t at, const float* g) HWY_ATTR {
        adagrad_piece(w.table + at, w.first + at, g, w.C, 0.0F, 1.0F, w.adagrad);
      });
    case SparseRule::kRowwiseAdagrad:
      return for_rows<false, false>(w, begin, end, [&](std::size_t at, const float* g) HWY_ATTR {
        rowwise_adagrad(w.table + at, w.first + at / w.C, g, w.C, w.adagrad);
      });
    case SparseRule::kAdam:
      return for_rows<true, true>(w, begin, end, [&](std::size_t at, const float* g) HWY_ATTR {
        adam_piece<false>(w.table + at, w.first + at, w.second + at, g, w.C, 0.0F, 1.0F, w.adam);
      });
  }
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/base/bfloat16.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(update_rows);

void sparse_update(float* table, float* first, float* second, const SparseRows& gradient, std::int64_t C,
                   const SparseUpdateOptions& options, const Launch& launch) {
  const StepState& step = *launch.step;
  SparseWork work{.table = table,
                  .first = first,
                  .second = second,
                  .gradient = gradient,
                  .C = static_cast<std::size_t>(C),
                  .rule = options.rule,
                  .adam = adam_scalars({.beta1 = options.beta1, .beta2 = options.beta2, .epsilon = options.epsilon}, step),
                  .adagrad = {.epsilon = options.epsilon, .gradient_scale = step.gradient_scale, .rate = step.learning_rate},
                  .sgd = {.momentum = 0.0F,
                          .one_minus_dampening = 1.0F,
                          .gradient_scale = step.gradient_scale,
                          .rate = step.learning_rate,
                          .nesterov = false,
                          .first = false}};
  // m^ / (sqrt(v^) + eps') with eps' = eps / sqrt(1 - b2^t) is SparseAdam's step.
  work.adam.epsilon *= work.adam.root_correction2;
  auto* const copy = static_cast<std::uint16_t*>(options.copy);
  parallel_pieces(gradient.count, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(update_rows)(work, begin, end);
    for (std::int64_t i = begin; copy != nullptr && i < end; ++i)
      for (std::int64_t at = gradient.rows[i] * C, c = 0; c < C; ++c) copy[at + c] = bfloat16_bits(table[at + c]);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
