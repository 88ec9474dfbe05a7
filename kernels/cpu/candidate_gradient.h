// The gradient of a table of which each row of a batch used a few rows, with weights: what candidate_loss leaves behind.
#pragma once

#include "kernels/base/launch.h"

namespace tradewind::kernels::cpu {

/// dw[ids[b, i]] += weights[b, i] source[b], in ascending (b, i). An id of -1 is none.
struct RowTerms {
  const float* source;  // [B, C]
  const std::int32_t* ids;
  const float* weights;  // [B, per]
  std::int64_t B, per;

  std::int64_t count() const { return B * per; }
};

/// dw [V, C] (=, +=) the sums; kAssign writes every row.
void sum_terms(float* dw, const RowTerms& terms, std::int64_t V, std::int64_t C, Write write, const Launch& launch);

/// rows: the distinct ids, ascending; values: their sums, added up in chunks as those of an embedding bag. Returns how many.
std::int64_t sum_terms_sparse(std::int32_t* rows, float* values, const RowTerms& terms, std::int64_t V, std::int64_t C,
                              const Launch& launch);

/// The most bytes of workspace of either, of B rows and `terms` ids, but for sum_terms' own rows and values.
std::int64_t sum_terms_workspace(std::int64_t B, std::int64_t terms, std::int64_t C, int threads);

}  // namespace tradewind::kernels::cpu
