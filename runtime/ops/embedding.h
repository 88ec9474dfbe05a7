// Embedding lookup. A table that was registered with a sparse gradient gets one (on a GPU the backward pass then waits for the
// number of rows); another a dense one.
#pragma once

#include "runtime/autograd/tape.h"

namespace tradewind::runtime {

/// y[n] = table[ids[n]]. table [V, C], ids [N] int32, y [N, C].
Variable embedding(Tape& tape, Parameter& table, const Tensor& ids);

/// y[n] = scale table[ids[n]] + positions[position[n]]: a token's and its position's vectors.
Variable embedding_sum(Tape& tape, Parameter& table, const Tensor& ids, Parameter& positions, const Tensor& position,
                       float scale = 1.0F);

}  // namespace tradewind::runtime
