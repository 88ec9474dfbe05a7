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

/// Backward of y[n] = scale table[ids[n]]: adds dy [N, C] to the table's gradient, dense or sparse. For ops that look up rows.
void add_lookup_gradient(const Tape& tape, Parameter& table, const Tensor& ids, const Tensor& dy, float scale = 1.0F);

}  // namespace tradewind::runtime
