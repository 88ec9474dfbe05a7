// CPU arms of kernels/candidate_loss.h. Arguments are checked by the caller, ids too.
#pragma once

#include "kernels/candidate_loss.h"

namespace tradewind::kernels::cpu {

/// Of a chunk of rows that share their negatives; a chunk has at least 32 rows.
inline constexpr std::int64_t kSharedLogits = 512 * 1024;

struct CandidateProblem {
  const CandidateBatch& batch;
  const CandidateLossOptions& options;
  float *loss, *dx;  // dx may be null
  bool gradient;     // of anything
  float loss_scale;  // of the gradients
  double beta;       // of the positive's term

  const float* x() const { return static_cast<const float*>(batch.x); }
  const float* w() const { return static_cast<const float*>(batch.w); }
};

void candidate_loss(float* dw, float* dbias, const CandidateProblem& problem, Write write, const Launch& launch);

std::int64_t candidate_loss_sparse(std::int32_t* rows, float* values, float* dbias, const CandidateProblem& problem,
                                   Write write_dbias, const Launch& launch);

}  // namespace tradewind::kernels::cpu
