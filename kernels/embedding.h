// Embedding lookup, scaled or not, and its gradient, dense and sparse.
//
// Shapes: table [V, C] row-major, ids [N] int32, y [N, C]; dtype is that of table, y and dy, gradients are float32. CPU:
// float32. CUDA: float32 and bfloat16. An id outside [0, V) throws DataError with its row on a CPU; on CUDA nobody looks: its
// row of y is NaN, and it has no gradient. Gradient: dtable[v] = sum over n with ids[n] = v of scale dy[n], added in ascending
// n (on CUDA in chunks of kBagChunk, then the chunks' sums, ascending): deterministic, no atomics. Bound by memory: forward 8 C
// bytes a row (and the latency of a random row), backward 8 C to 12 C.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

struct EmbeddingOptions {
  /// Implicit: most lookups are not scaled.
  EmbeddingOptions(DType type, float by = 1.0F) : dtype(type), scale(by) {}  // NOLINT(google-explicit-constructor)
  DType dtype;
  float scale;  // of what is looked up: sqrt(C) in Vaswani et al. 2017, section 3.4
};

/// y[n] (=, +=) scale table[ids[n]].
void embedding_forward(void* y, const void* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                       Write write, const EmbeddingOptions& options, const Launch& launch);

/// Dense form. kAssign writes every row of dtable [V, C] (zero where no id points); kAccumulate touches only the rows in ids.
void embedding_backward_dense(float* dtable, const void* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                              std::int64_t C, Write write, const EmbeddingOptions& options, const Launch& launch);

/// Sparse form: rows [up to N] receives the distinct ids in ascending order, values [up to N, C] the summed gradients.
/// Returns how many, for which it waits for the stream on CUDA.
std::int64_t embedding_backward_sparse(std::int32_t* rows, float* values, const void* dy, const std::int32_t* ids,
                                       std::int64_t N, std::int64_t V, std::int64_t C, const EmbeddingOptions& options,
                                       const Launch& launch);

}  // namespace tradewind::kernels
