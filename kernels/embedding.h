// Embedding lookup and its gradient, dense and sparse.
//
// Shapes: table [V, C] row-major, ids [N] int32, y [N, C]; dtype is that of table, y and dy, gradients are float32. CPU:
// float32. CUDA: float32 and bfloat16. An id outside [0, V) throws DataError with its row on a CPU; on CUDA nobody looks: its
// row of y is NaN, and it has no gradient. Gradient: dtable[v] = sum over n with ids[n] = v of dy[n], added in ascending n (on
// CUDA in chunks of kBagChunk, then the chunks' sums, ascending): deterministic, no atomics. Bound by memory: forward 8 C bytes
// a row (and the latency of a random row), backward 8 C to 12 C.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

/// y[n] (=, +=) table[ids[n]].
void embedding_forward(void* y, const void* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                       Write write, DType dtype, const Launch& launch);

/// Dense form. kAssign writes every row of dtable [V, C] (zero where no id points); kAccumulate touches only the rows in ids.
void embedding_backward_dense(float* dtable, const void* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                              std::int64_t C, Write write, DType dtype, const Launch& launch);

/// Sparse form: rows [up to N] receives the distinct ids in ascending order, values [up to N, C] the summed gradients.
/// Returns how many, for which it waits for the stream on CUDA.
std::int64_t embedding_backward_sparse(std::int32_t* rows, float* values, const void* dy, const std::int32_t* ids,
                                       std::int64_t N, std::int64_t V, std::int64_t C, DType dtype, const Launch& launch);

}  // namespace tradewind::kernels
