#include "runtime/ops/candidate_loss.h"

#include "kernels/base/error.h"
#include "runtime/ops/linear.h"

namespace tradewind::runtime {

RowLosses candidate_loss(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias, const Candidates& candidates,
                         const kernels::CandidateLossOptions& options) {
  const std::int64_t N = x.size(0), C = x.size(1), V = weight.shape()[0];
  const Tensor& negatives = candidates.negatives;
  const bool shared = negatives.shape().rank() == 1;
  require(weight.shape()[1] == C, "candidate_loss", "x and weight differ in their last dimension");
  require(candidates.targets.elements() == N && (shared || negatives.size(0) == N), "candidate_loss",
          "targets and negatives need a row for each of x");
  for (const Tensor& of_item : {candidates.log_q, candidates.identity})
    require(!of_item.defined() || of_item.elements() == V, "candidate_loss",
            "log_q and identity need an element for each item");
  Context& context = tape.context();
  const bool train = tape.recording();
  const Tensor loss = context.tensor({N});
  const Tensor dx = train ? context.tensor({N, C}, x.value().dtype()) : Tensor();
  kernels::CandidateLossOptions typed = options;
  typed.dtype = x.value().dtype();
  typed.shared_negatives = shared;
  const kernels::CandidateBatch batch{
      .x = x.value().raw(),
      .w = weight.compute().raw(),
      .bias = bias == nullptr ? nullptr : bias->value().data<float>(),
      .log_q = candidates.log_q.defined() ? candidates.log_q.data<float>() : nullptr,
      .identity = candidates.identity.defined() ? candidates.identity.data<std::int32_t>() : nullptr,
      .targets = candidates.targets.data<std::int32_t>(),
      .negatives = negatives.data<std::int32_t>(),
      .N = N,
      .V = V,
      .C = C,
      .n = negatives.size(shared ? 0 : 1)};
  const auto write = train ? touch_together(weight, bias) : kernels::Write::kAssign;
  kernels::candidate_loss(loss.data<float>(), dx.raw(), train ? weight.gradient().data<float>() : nullptr,
                          train && bias != nullptr ? bias->gradient().data<float>() : nullptr, batch, write, typed,
                          context.launch());
  tape.record({&weight, bias}, [&tape, x, dx] { tape.contribute(x, dx); });
  return {.loss = loss, .nll = loss};
}

}  // namespace tradewind::runtime
