// A row's loss from the logits of its candidates, by one warp: what the kernels of candidate_loss.cu share.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/candidate_loss.h"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/reduce.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = 256;
constexpr float kLog2E = 1.44269504088896341F, kLn2 = 0.69314718055994531F;

/// A kernel's parameter.
struct CandidateView {
  const float *bias, *log_q;
  const std::int32_t *identity, *targets, *negatives;
  const StepState* step;  // null: no gradient is wanted
  double beta;
  std::int64_t N, V, C, n;
  float scale;
  std::int32_t ignore_index, task, remove_hits;
  CandidateLossKind kind;
  CandidateMean mean;
};

TRADEWIND_DEVICE bool inside(const CandidateView& a, std::int32_t id) { return id >= 0 && id < a.V; }
/// Bias less log_q.
TRADEWIND_DEVICE float shift_of(const CandidateView& a, std::int32_t id) {
  return (a.bias == nullptr ? 0.0F : load(a.bias + id)) - (a.log_q == nullptr ? 0.0F : load(a.log_q + id));
}
/// Both ids are inside.
TRADEWIND_DEVICE bool is_hit(const CandidateView& a, std::int32_t negative, std::int32_t target) {
  if (a.remove_hits == 0) return false;
  return a.identity == nullptr ? negative == target : load(a.identity + negative) == load(a.identity + target);
}

TRADEWIND_DEVICE float exponential(float x) { return exp2_approximate(x * kLog2E); }

/// Sums over z[0, n) of softplus(z - off) and sigmoid(z - off), in every lane; g becomes factor times the latter.
struct TermSums {
  float softplus, sigmoid;
};
template <class G>
TRADEWIND_DEVICE TermSums softplus_terms(const float* z, G* g, std::int64_t n, float off, float factor) {
  TermSums sums{0.0F, 0.0F};
#pragma unroll 4
  for (std::int64_t j = lane(); j < n; j += kWarpSize) {
    const float x = load(z + j) - off, e = exponential(-fabsf(x)), sigmoid = (x >= 0.0F ? 1.0F : e) / (1.0F + e);
    sums.softplus += log1pf(e) + (x > 0.0F ? x : 0.0F);
    sums.sigmoid += sigmoid;
    if (g != nullptr) store_one(g + j, factor * sigmoid);
  }
  return {warp_sum(sums.softplus), warp_sum(sums.sigmoid)};
}

struct RowLoss {
  float loss, gradient;  // of the positive's product
};

template <class G>
TRADEWIND_DEVICE RowLoss softmax_loss(const float* z, G* g, std::int64_t n, float positive, float factor) {
  float most = positive, other = 0.0F;
  // fmaxf passes over a NaN, the sums below do not.
#pragma unroll 4
  for (std::int64_t j = lane(); j < n; j += kWarpSize) most = fmaxf(most, load(z + j));
  most = warp_max(most);
#pragma unroll 4
  for (std::int64_t j = lane(); j < n; j += kWarpSize) other += exponential(load(z + j) - most);
  other = warp_sum(other);
  const float sum = other + exponential(positive - most);
  if (g != nullptr) {
#pragma unroll 4
    for (std::int64_t j = lane(); j < n; j += kWarpSize) store_one(g + j, factor * (exponential(load(z + j) - most) / sum));
  }
  return {most + log2f(sum) * kLn2 - positive, -factor * (other / sum)};
}

/// The loss of a row from the logits of its positive and of its negatives z [n], `present` of which are not -infinity. g [n]
/// (z itself, another array, or null) becomes the gradients of the products. The warp calls it together; a lane reads and
/// writes elements lane(), lane() + 32, ... alone.
template <class G>
TRADEWIND_DEVICE RowLoss row_loss(const CandidateView& a, const float* z, G* g, float positive, float present) {
  const float factor = a.step == nullptr ? 0.0F : load(&a.step->loss_scale[a.task]) * a.scale;
  if (a.kind == CandidateLossKind::kSoftmax) return softmax_loss(z, g, a.n, positive, factor);
  const float of_positive = a.mean == CandidateMean::kCandidates ? 1.0F / (1.0F + present) : 1.0F;
  const float of_negatives = a.mean == CandidateMean::kNegatives ? 1.0F / fmaxf(present, 1.0F) : of_positive;
  if (a.kind == CandidateLossKind::kBpr) {
    const TermSums sums = softplus_terms(z, g, a.n, positive, factor * of_negatives);
    return {of_negatives * sums.softplus, -factor * of_negatives * sums.sigmoid};
  }
  const TermSums sums = softplus_terms(z, g, a.n, 0.0F, factor * of_negatives);
  const double z0 = positive, weight = of_positive * a.beta;
  const double term = (z0 < 0 ? -z0 : 0) + log1p(exp(-fabs(z0)));
  return {static_cast<float>(weight * term) + of_negatives * sums.softplus,
          static_cast<float>(-factor * weight / (1 + exp(z0)))};
}

/// sum[i] = <x, w[id[i]]>, in every lane; 0 where id[i] is negative.
template <class T, int kRows>
TRADEWIND_DEVICE void products(float (&sum)[kRows], const T* x, const T* w, const std::int32_t (&id)[kRows], std::int64_t C) {
  for (std::int64_t c = lane(); c < C; c += kWarpSize) {
    const float mine = to_float(load(x + c));
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      if (id[i] >= 0) sum[i] += mine * to_float(load(w + id[i] * C + c));
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) sum[i] = warp_sum(sum[i]);
}

}  // namespace
}  // namespace tradewind::kernels::detail
