// The loss of a language model: head and cross-entropy in one, without logits.
#pragma once

#include "kernels/linear_cross_entropy.h"
#include "runtime/autograd/tape.h"
#include "runtime/core/row_losses.h"

namespace tradewind::runtime {

/// x [N, C], weight [V, C], bias [V] or null, targets [N] int32. A root of the tape: the gradient of
/// step_state.loss_scale[task] * sum(loss) flows back from here. The head's own gradients are written at once. classes: only so
/// many first rows of the weight are scored; 0: all. A bias goes with all.
RowLosses linear_cross_entropy(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias, const Tensor& targets,
                               const kernels::LinearCrossEntropyOptions& options, std::int64_t classes = 0);

}  // namespace tradewind::runtime
