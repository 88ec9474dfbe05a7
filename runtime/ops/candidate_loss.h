// Losses over given candidates: a target and negatives of a table that is not scored whole.
#pragma once

#include "kernels/candidate_loss.h"
#include "runtime/autograd/tape.h"
#include "runtime/core/row_losses.h"

namespace tradewind::runtime {

/// Where the op runs. log_q [V] float32 and identity [V] int32 may be undefined.
struct Candidates {
  Tensor targets;    // [N] int32
  Tensor negatives;  // [N, n] int32, or [n] where rows share them
  Tensor log_q, identity;
};

/// x [N, C], weight [V, C], bias [V] or null. A root of the tape: the gradient of step_state.loss_scale[task] * sum(loss) flows
/// back from here. The table's own gradients are written at once, sparse ones where it was registered so. nll is the loss
/// again: a candidate loss has no likelihood of the whole catalogue. Which negatives are shared is told by their shape;
/// options' dtype and shared_negatives are not looked at.
RowLosses candidate_loss(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias, const Candidates& candidates,
                         const kernels::CandidateLossOptions& options);

/// The same against rows that are computed, table [V, C], and without a bias: the gradient flows back into both.
RowLosses candidate_loss(Tape& tape, const Variable& x, const Variable& table, const Candidates& candidates,
                         const kernels::CandidateLossOptions& options);

/// In-batch softmax: query [N, C] n against key [N, C] n, with the other rows' keys as negatives; InfoNCE (van den Oord et al.
/// 2018, eq. 4) where both are l2_normalize'd and scale is 1 / temperature. item [N] int32 (or undefined): keys of one item are
/// not each other's negatives. log_q [N] float32 (or undefined): of each row's item to be in a batch. A root of the tape, as
/// above.
RowLosses in_batch_softmax(Tape& tape, const Variable& query, const Variable& key, const Tensor& item, const Tensor& log_q,
                           float scale, int task = 0);

}  // namespace tradewind::runtime
