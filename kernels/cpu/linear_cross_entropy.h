// CPU arm of kernels/linear_cross_entropy.h. Arguments are checked by the caller.
#pragma once

#include "kernels/linear_cross_entropy.h"

namespace tradewind::kernels::cpu {

struct CrossEntropyProblem {
  float *loss, *nll, *lse;    // nll and lse may be null
  float *dx, *dw, *dbias;     // each may be null
  const float *x, *w, *bias;  // bias may be null
  const std::int32_t* targets;
  std::int64_t N, V, C;
  Write write;  // of dw and dbias
  float scale;  // of the gradients
  float label_smoothing, z_loss;
  std::int32_t ignore_index;

  bool gradient() const { return dx != nullptr || dw != nullptr || dbias != nullptr; }
};

void linear_cross_entropy(const CrossEntropyProblem& problem, const Launch& launch);
std::int64_t linear_cross_entropy_workspace(std::int64_t N, std::int64_t V, std::int64_t C, int threads);

}  // namespace tradewind::kernels::cpu
