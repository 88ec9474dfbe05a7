// Optimiser updates of the rows of a table that a step looked up. A table's gradient has few rows then: they come as distinct
// rows and values, in which the gradients of equal ids have been added up (embedding_backward_sparse, candidate_loss_sparse).
// Rows that were not looked up are neither read nor written: neither they nor their states change.
//
// table [V, C] float32, rows [n] int32 ascending, values [n, C] float32. g is a row of values times step->gradient_scale
// (clipping); the rate is step->learning_rate; t = step->step, from 1: the steps of the run and not those of the row.
//
//   sgd              row -= rate g
//                    sgd_update without momentum, to the bit
//   adagrad          sum += g^2; row -= rate g / (sqrt(sum) + eps)
//                    sum [V, C]; adagrad_update, to the bit: torch.optim.Adagrad
//   rowwise_adagrad  sum += mean of g^2 over C; row -= rate g / (sqrt(sum) + eps)
//                    sum [V]; FBGEMM's EXACT_ROWWISE_ADAGRAD, Mudigere et al. 2022; as row_update of embedding_bag.h, which
//                    has it for tables in bfloat16 and fused into the gradient
//   adam             m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
//                    row -= rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
//                    m, v [V, C]; torch.optim.SparseAdam ("lazy": moments of rows that were not looked up do not decay; eps is
//                    added before the correction, the efficient form of Kingma and Ba 2015, section 2)
// Neither weight decay nor momentum: both would have to touch every row.
//
// The updated rows can go out a second time in bfloat16 (options.copy [V, C]). Element by element, and for rowwise_adagrad row
// by row: the bits do not depend on threads or on other rows. Bound by memory, at random rows: adam 28 C bytes a row, adagrad
// 20 C, rowwise_adagrad and sgd 12 C, and 2 C for the copy. CUDA: C up to 1024.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

enum class SparseRule : std::uint8_t { kSgd, kAdagrad, kRowwiseAdagrad, kAdam };

/// Arrays are in device memory where the kernel runs there; count is the host's.
struct SparseRows {
  const std::int32_t* rows = nullptr;  // [count]
  const float* values = nullptr;       // [count, C]
  std::int64_t count = 0;
};

struct SparseUpdateOptions {
  SparseRule rule = SparseRule::kAdam;
  float beta1 = 0.9F, beta2 = 0.999F;  // adam
  float epsilon = 1e-8F;               // all but sgd
  void* copy = nullptr;                // bfloat16 [V, C], or null
};

/// states: sgd none, adagrad and rowwise_adagrad `first` (the sums), adam `first` (m) and `second` (v); null where there is
/// none. Needs launch.step. On a CPU rows that are not ascending or outside [0, V) throw InternalError; on CUDA nobody looks:
/// one outside is passed over.
void sparse_update(float* table, float* first, float* second, const SparseRows& gradient, std::int64_t V, std::int64_t C,
                   const SparseUpdateOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
