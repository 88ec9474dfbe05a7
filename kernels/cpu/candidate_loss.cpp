// Negatives of its own a row: a thread takes a row of x, multiplies it with the rows of its candidates, makes the loss and the
// gradients of the logits of them, and mixes the same rows, now in its cache, into dx. What is left for the table is a weight
// and an id a candidate (candidate_gradient.h).
//
// Negatives that rows share are gathered once and scored by the matrix product, a chunk of rows at a time; their gradient is a
// product too. The positives' rows and these n sums then go to the table as terms of one id each.
//
// A negative that is not there has the logit -infinity, which adds 0 to every loss and gets the gradient 0. Logits and sums of
// a row are float32 in vectors, in blocks as in softmax-inl.h; what there is once a row is float64.
#include "kernels/cpu/candidate_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/parallel.h"
#include "kernels/cpu/candidate_gradient.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/memory.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/candidate_loss.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/softmax-inl.h"

#ifndef TRADEWIND_CANDIDATE_LOSS_ONCE
#define TRADEWIND_CANDIDATE_LOSS_ONCE
namespace tradewind::kernels::cpu {
/// What a row leaves for the table: an id and a weight a candidate, the target first. Null without a gradient.
struct CandidateTerms {
  std::int32_t* ids;
  float* weights;
};
/// Rows of one chunk that share their negatives: logits z [rows, n], `stride` floats apart, of products alone.
struct SharedChunk {
  float* z;
  std::int64_t stride, begin, end;
  const float* shift;  // [n]: what is added to a logit; -infinity where there is no negative
};
inline constexpr float kAbsent = -std::numeric_limits<float>::infinity();
}  // namespace tradewind::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
namespace vec = tradewind::kernels::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

HWY_INLINE float dot(const float* a, const float* b, std::int64_t C) {
  const D d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  V s0 = hn::Zero(d), s1 = s0;
  std::int64_t c = 0;
  for (; c + 2 * L <= C; c += 2 * L) {
    s0 = hn::MulAdd(hn::LoadU(d, a + c), hn::LoadU(d, b + c), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + c + L), hn::LoadU(d, b + c + L), s1);
  }
  for (; c < C; c += L) {
    const auto k = static_cast<std::size_t>(std::min(L, C - c));
    s0 = hn::MulAdd(vec::load_n(d, a + c, k), vec::load_n(d, b + c, k), s0);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
}

/// to (=, +=) positive w[target] + sum of weights[j] w[ids[j]]; ids of -1 are passed over.
HWY_INLINE void mix_rows(float* to, bool add, const CandidateProblem& p, std::int32_t target, float positive,
                         const std::int32_t* ids, const float* weights, std::int64_t count) {
  constexpr std::int64_t kVectors = 8;
  const D d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t C = p.batch.C;
  const float* w = p.w();
  for (std::int64_t c = 0; c < C; c += kVectors * L) {
    const std::int64_t width = std::min(C - c, kVectors * L), vectors = (width + L - 1) / L;
    HWY_ALIGN float sum[kVectors * hn::MaxLanes(d)];
    const auto take = [&](const float* row, float weight, bool first) {
      const V factor = hn::Set(d, weight);
      for (std::int64_t i = 0; i < vectors; ++i) {
        const V x = vec::load_n(d, row + i * L, static_cast<std::size_t>(std::min(L, width - i * L)));
        hn::Store(first ? hn::Mul(factor, x) : hn::MulAdd(factor, x, hn::Load(d, sum + i * L)), d, sum + i * L);
      }
    };
    take(w + target * C + c, positive, true);
    for (std::int64_t j = 0; j < count; ++j)
      if (ids[j] >= 0) take(w + ids[j] * C + c, weights[j], false);
    for (std::int64_t i = 0; i < width; ++i) to[c + i] = add ? to[c + i] + sum[i] : sum[i];
  }
}

struct TermSums {
  double softplus = 0, sigmoid = 0;
};

/// Sums of softplus(z[j] - shift) and sigmoid(z[j] - shift); z[j] becomes factor sigmoid(z[j] - shift) where kGradient.
template <bool kGradient>
HWY_INLINE TermSums softplus_terms(float* z, std::int64_t count, float shift, float factor) {
  const D d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const V one = hn::Set(d, 1.0F), off = hn::Set(d, shift), scale = hn::Set(d, factor);
  TermSums out;
  for (std::int64_t begin = 0; begin < count; begin += vec::kSumBlock) {
    V softplus = hn::Zero(d), sigmoid = hn::Zero(d);
    const std::int64_t end = std::min(count, begin + vec::kSumBlock);
    for (std::int64_t i = begin; i < end; i += L) {
      const auto k = static_cast<std::size_t>(std::min(L, end - i));
      const V x = hn::Sub(vec::load_n(d, z + i, k), off);
      const V e = vec::fast_exp(d, hn::Neg(hn::Abs(x))), above = hn::Add(one, e);
      // log(1 + e); where e is too small for the sum, its first two terms.
      const V series = hn::Mul(e, hn::NegMulAdd(hn::Set(d, 0.5F), e, one));
      const V log = hn::IfThenElse(hn::Lt(e, hn::Set(d, 1e-3F)), series, vec::fast_log(d, above));
      const V probability = hn::Div(hn::IfThenElse(hn::Ge(x, hn::Zero(d)), one, e), above);
      const auto there = hn::FirstN(d, k);
      softplus = hn::Add(softplus, hn::IfThenElseZero(there, hn::Add(log, hn::Max(hn::Zero(d), x))));
      sigmoid = hn::Add(sigmoid, hn::IfThenElseZero(there, probability));
      if constexpr (kGradient) vec::store_n(hn::Mul(scale, probability), d, z + i, k);
    }
    out.softplus += hn::GetLane(hn::SumOfLanes(d, softplus));
    out.sigmoid += hn::GetLane(hn::SumOfLanes(d, sigmoid));
  }
  return out;
}

template <bool kGradient>
HWY_INLINE double softmax_loss(float& positive, float* z, std::int64_t n, double factor) {
  const float most = std::max(vec::row_max(z, n), positive);
  const double other = vec::row_exp_sum<kGradient>(z, z, n, most), sum = std::exp(static_cast<double>(positive) - most) + other;
  const double loss = most + std::log(sum) - positive;
  if constexpr (kGradient) {
    vec::row_scale_add(z, z, n, static_cast<float>(factor / sum), 0.0F);
    positive = static_cast<float>(-factor * other / sum);
  }
  return loss;
}

/// The loss of one row from its logits, `present` negatives among z[0, n); they become the gradients of the products.
template <bool kGradient>
HWY_INLINE double row_loss(const CandidateProblem& p, float& positive, float* z, std::int64_t present) {
  const CandidateLossOptions& o = p.options;
  const std::int64_t n = p.batch.n;
  const double factor = static_cast<double>(p.loss_scale) * o.scale;
  if (o.kind == CandidateLossKind::kSoftmax) return softmax_loss<kGradient>(positive, z, n, factor);
  const double m = static_cast<double>(present);
  const double of_positive = o.mean == CandidateMean::kCandidates ? 1 / (1 + m) : 1.0;
  const double of_negatives = o.mean == CandidateMean::kNegatives ? 1 / std::max(m, 1.0) : of_positive;
  const auto scaled = static_cast<float>(factor * of_negatives);
  if (o.kind == CandidateLossKind::kBpr) {
    const TermSums sums = softplus_terms<kGradient>(z, n, positive, scaled);
    if constexpr (kGradient) positive = static_cast<float>(-factor * of_negatives * sums.sigmoid);
    return of_negatives * sums.softplus;
  }
  const TermSums sums = softplus_terms<kGradient>(z, n, 0.0F, scaled);
  const double z0 = positive, weight = of_positive * p.beta;
  if constexpr (kGradient) positive = static_cast<float>(-factor * weight / (1 + std::exp(z0)));
  return weight * (std::max(-z0, 0.0) + std::log1p(std::exp(-std::abs(z0)))) + of_negatives * sums.softplus;
}

HWY_INLINE double loss_of(const CandidateProblem& p, float& positive, float* z, std::int64_t present) {
  return p.gradient ? row_loss<true>(p, positive, z, present) : row_loss<false>(p, positive, z, present);
}

/// Bias less log_q.
HWY_INLINE float shift_of(const CandidateBatch& b, std::int32_t id) {
  return (b.bias == nullptr ? 0.0F : b.bias[id]) - (b.log_q == nullptr ? 0.0F : b.log_q[id]);
}
HWY_INLINE bool is_hit(const CandidateBatch& b, std::int32_t negative, std::int32_t target) {
  return b.identity == nullptr ? negative == target : b.identity[negative] == b.identity[target];
}
HWY_INLINE float score(const CandidateProblem& p, std::int64_t n, std::int32_t id) {
  const std::int64_t C = p.batch.C;
  return p.options.scale * dot(p.x() + n * C, p.w() + id * C, C) + shift_of(p.batch, id);
}

}  // namespace

/// Rows [begin, end), each with negatives of its own. z: n floats, without a gradient.
void own_rows(const CandidateProblem& p, const CandidateTerms& terms, float* z, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kAhead = 8, kCached = std::int64_t{128} << 10;  // rows asked for; floats that need no asking
  const CandidateBatch& b = p.batch;
  const std::int32_t none = p.options.ignore_index;
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int32_t target = b.targets[n], *negatives = b.negatives + n * b.n;
    std::int32_t* ids = p.gradient ? terms.ids + n * (1 + b.n) : nullptr;
    float* weights = p.gradient ? terms.weights + n * (1 + b.n) : z - 1;
    if (target == none) {
      p.loss[n] = 0;
      if (p.dx != nullptr) std::fill_n(p.dx + n * b.C, b.C, 0.0F);
      if (p.gradient) std::fill_n(ids, 1 + b.n, -1);
      continue;
    }
    std::int64_t present = 0;
    float positive = score(p, n, target);
    for (std::int64_t j = 0; j < b.n; ++j) {
      if (b.V * b.C > kCached && j + kAhead < b.n && negatives[j + kAhead] != none)
        for (std::int64_t c = 0; c < std::min<std::int64_t>(b.C, 256); c += 16)
          hwy::Prefetch(p.w() + negatives[j + kAhead] * b.C + c);
      const bool here = negatives[j] != none && !(p.options.remove_hits && is_hit(b, negatives[j], target));
      present += here;
      weights[1 + j] = here ? score(p, n, negatives[j]) : kAbsent;
      if (p.gradient) ids[1 + j] = here ? negatives[j] : -1;
    }
    p.loss[n] = static_cast<float>(loss_of(p, positive, weights + 1, present));
    if (!p.gradient) continue;
    ids[0] = target, weights[0] = positive;
    if (p.dx != nullptr) mix_rows(p.dx + n * b.C, false, p, target, positive, ids + 1, weights + 1, b.n);
  }
}

/// Rows [begin, end) of a chunk whose products with the shared negatives are there; they become gradients. positives [N].
void shared_rows(const CandidateProblem& p, const CandidateTerms& positives, const SharedChunk& chunk, std::int64_t begin,
                 std::int64_t end) {
  const CandidateBatch& b = p.batch;
  for (std::int64_t n = begin; n < end; ++n) {
    float* z = chunk.z + (n - chunk.begin) * chunk.stride;
    const std::int32_t target = b.targets[n];
    if (target == p.options.ignore_index) {
      p.loss[n] = 0;
      if (!p.gradient) continue;
      std::fill_n(z, b.n, 0.0F);
      positives.ids[n] = -1, positives.weights[n] = 0;
      continue;
    }
    std::int64_t present = 0;
    for (std::int64_t j = 0; j < b.n; ++j) {
      const bool here = chunk.shift[j] != kAbsent && !(p.options.remove_hits && is_hit(b, b.negatives[j], target));
      present += here;
      z[j] = here ? p.options.scale * z[j] + chunk.shift[j] : kAbsent;
    }
    float positive = score(p, n, target);
    p.loss[n] = static_cast<float>(loss_of(p, positive, z, present));
    if (p.gradient) positives.ids[n] = target, positives.weights[n] = positive;
  }
}

/// dx [begin, end) += the positives' part.
void add_positives(const CandidateProblem& p, const CandidateTerms& positives, std::int64_t begin, std::int64_t end) {
  for (std::int64_t n = begin; n < end; ++n)
    if (positives.ids[n] >= 0)
      mix_rows(p.dx + n * p.batch.C, true, p, positives.ids[n], positives.weights[n], nullptr, nullptr, 0);
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(own_rows);
HWY_EXPORT(shared_rows);
HWY_EXPORT(add_positives);

/// Losses, dx, and what they leave for the table; finish(terms, bias_weights) puts it there. bias_weights are the terms'
/// weights of the bias, and none where there is no gradient.
template <class Finish>
void own_negatives(const CandidateProblem& p, const Launch& launch, const Finish& finish) {
  const CandidateBatch& b = p.batch;
  const auto count = static_cast<std::size_t>(p.gradient ? b.N * (1 + b.n) : 0);
  const ScratchArray<std::int32_t> ids(launch, count);
  const ScratchArray<float> weights(launch, count);
  const ScratchArray<float> z(launch, static_cast<std::size_t>(p.gradient ? 0 : launch.threads * (1 + b.n)));
  const std::int64_t grain = std::max<std::int64_t>(1, rows_per_grain((1 + b.n) * b.C));
  parallel_pieces(b.N, grain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    float* mine = p.gradient ? nullptr : z.get() + 1 + omp_get_thread_num() * (1 + b.n);
    HWY_DYNAMIC_DISPATCH(own_rows)(p, CandidateTerms{ids.get(), weights.get()}, mine, begin, end);
  });
  if (p.gradient) finish(RowTerms{p.x(), ids.get(), weights.get(), b.N, 1 + b.n}, weights.get());
}

/// The rows of the shared negatives side by side, zeros where there is none, and what is added to their logits.
void gather_negatives(float* rows, float* shift, const CandidateProblem& p) {
  const CandidateBatch& b = p.batch;
  for (std::int64_t j = 0; j < b.n; ++j) {
    const std::int32_t id = b.negatives[j];
    if (id == p.options.ignore_index) {
      std::fill_n(rows + j * b.C, b.C, 0.0F);
      shift[j] = kAbsent;
      continue;
    }
    std::copy_n(p.w() + id * b.C, b.C, rows + j * b.C);
    shift[j] = (b.bias == nullptr ? 0.0F : b.bias[id]) - (b.log_q == nullptr ? 0.0F : b.log_q[id]);
  }
}

/// The same where rows share their negatives.
template <class Finish>
void shared_negatives(const CandidateProblem& p, const Launch& launch, const Finish& finish) {
  constexpr std::int64_t kLeastRows = 32;
  const CandidateBatch& b = p.batch;
  const std::int64_t stride = (b.n + 15) / 16 * 16, terms = p.gradient ? b.N + b.n : 0;
  const std::int64_t rows = std::min(b.N, std::max(kLeastRows, kSharedLogits / b.n / kLeastRows * kLeastRows));
  const ScratchArray<float> w(launch, static_cast<std::size_t>(b.n * b.C)), shift(launch, static_cast<std::size_t>(b.n));
  const ScratchArray<float> z(launch, static_cast<std::size_t>(rows * stride));
  // Terms of one id each: the rows of x with their targets, then the negatives' sums.
  const ScratchArray<float> source(launch, static_cast<std::size_t>(terms * b.C));
  const ScratchArray<std::int32_t> ids(launch, static_cast<std::size_t>(terms));
  const ScratchArray<float> weights(launch, static_cast<std::size_t>(terms)), of_bias(launch, static_cast<std::size_t>(terms));
  gather_negatives(w.get(), shift.get(), p);
  if (p.gradient) std::fill_n(of_bias.get() + b.N, b.n, 0.0F);
  const CandidateTerms positives{ids.get(), weights.get()};
  for (std::int64_t begin = 0; begin < b.N; begin += rows) {
    const std::int64_t count = std::min(rows, b.N - begin), end = begin + count;
    const float* x = p.x() + begin * b.C;
    gemm(z.get(), stride, {x, b.C}, {w.get(), b.C, true}, count, b.n, b.C, Write::kAssign, launch.threads);
    parallel_pieces(count, rows_per_grain(b.n), launch.threads, [&](std::int64_t from, std::int64_t to) {
      HWY_DYNAMIC_DISPATCH(shared_rows)
      (p, positives, SharedChunk{z.get(), stride, begin, end, shift.get()}, begin + from, begin + to);
    });
    if (!p.gradient) continue;
    if (p.dx != nullptr)
      gemm(p.dx + begin * b.C, b.C, {z.get(), stride}, {w.get(), b.C}, count, b.C, b.n, Write::kAssign, launch.threads);
    gemm(source.get() + b.N * b.C, b.C, {z.get(), stride, true}, {x, b.C}, b.n, b.C, count,
         begin == 0 ? Write::kAssign : Write::kAccumulate, launch.threads);
    add_column_sums(of_bias.get() + b.N, z.get(), count, b.n, stride);
  }
  if (!p.gradient) return;
  if (p.dx != nullptr)
    parallel_pieces(b.N, rows_per_grain(b.C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(add_positives)(p, positives, begin, end);
    });
  std::copy_n(p.x(), b.N * b.C, source.get());
  std::copy_n(weights.get(), b.N, of_bias.get());
  std::fill_n(weights.get() + b.N, b.n, 1.0F);
  for (std::int64_t j = 0; j < b.n; ++j) ids.get()[b.N + j] = b.negatives[j] == p.options.ignore_index ? -1 : b.negatives[j];
  if (b.N == 0) std::fill_n(source.get(), b.n * b.C, 0.0F);
  finish(RowTerms{source.get(), ids.get(), weights.get(), terms, 1}, of_bias.get());
}

template <class Finish>
void run(const CandidateProblem& p, const Launch& launch, const Finish& finish) {
  if (p.options.shared_negatives)
    shared_negatives(p, launch, finish);
  else
    own_negatives(p, launch, finish);
}

void write_bias(float* dbias, const RowTerms& terms, const float* weights, std::int64_t V, Write write) {
  if (dbias == nullptr) return;
  if (write == Write::kAssign) std::fill_n(dbias, V, 0.0F);
  for (std::int64_t i = 0; i < terms.count(); ++i)
    if (terms.ids[i] >= 0) dbias[terms.ids[i]] += weights[i];
}

}  // namespace

void candidate_loss(float* dw, float* dbias, const CandidateProblem& p, Write write, const Launch& launch) {
  run(p, launch, [&](const RowTerms& terms, const float* of_bias) {
    if (dw != nullptr) sum_terms(dw, terms, p.batch.V, p.batch.C, write, launch);
    write_bias(dbias, terms, of_bias, p.batch.V, write);
  });
}

std::int64_t candidate_loss_sparse(std::int32_t* rows, float* values, float* dbias, const CandidateProblem& p,
                                   Write write_dbias, const Launch& launch) {
  std::int64_t count = 0;
  run(p, launch, [&](const RowTerms& terms, const float* of_bias) {
    count = sum_terms_sparse(rows, values, terms, p.batch.V, p.batch.C, launch);
    write_bias(dbias, terms, of_bias, p.batch.V, write_dbias);
  });
  return count;
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
