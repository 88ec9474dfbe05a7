#include "runtime/ops/candidate_loss.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/convert.h"
#include "runtime/core/transfer.h"
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
  float* const dbias = train && bias != nullptr ? bias->gradient().data<float>() : nullptr;
  if (train && weight.sparse()) {
    const std::int64_t most = std::min(kernels::candidate_count(batch, typed), V);
    const Tensor rows = context.tensor({most}, DType::kInt32, Purpose::kGradients);
    const Tensor values = context.tensor({most, C}, DType::kFloat32, Purpose::kGradients);
    const auto write_dbias = bias == nullptr ? kernels::Write::kAssign : bias->touch();
    const std::int64_t count =
        kernels::candidate_loss_sparse(loss.data<float>(), dx.raw(), rows.data<std::int32_t>(), values.data<float>(), dbias,
                                       batch, write_dbias, typed, context.launch());
    weight.add_rows(context, rows, values, count);
  } else {
    const auto write = train ? touch_together(weight, bias) : kernels::Write::kAssign;
    kernels::candidate_loss(loss.data<float>(), dx.raw(), train ? weight.gradient().data<float>() : nullptr, dbias, batch,
                            write, typed, context.launch());
  }
  tape.record({&weight, bias}, [&tape, x, dx] { tape.contribute(x, dx); });
  return {.loss = loss, .nll = loss};
}

RowLosses in_batch_softmax(Tape& tape, const Variable& query, const Variable& key, const Tensor& item, const Tensor& log_q,
                           float scale, int task) {
  const std::int64_t N = query.size(0), C = query.size(1);
  require(key.value().shape() == query.value().shape(), "in_batch_softmax", "query and key differ in their shapes");
  for (const Tensor& of_row : {item, log_q})
    require(!of_row.defined() || of_row.elements() == N, "in_batch_softmax", "item and log_q need an element for each row");
  Context& context = tape.context();
  const DType dtype = query.value().dtype();
  const bool train = tape.recording();
  const Tensor host_rows(host_allocator(), {N}, DType::kInt32);
  std::iota(host_rows.data<std::int32_t>(), host_rows.data<std::int32_t>() + N, 0);
  const Tensor rows = on_device(context, host_rows), loss = context.tensor({N});
  const Tensor dquery = train ? context.tensor({N, C}, dtype) : Tensor(), dtable = train ? context.tensor({N, C}) : Tensor();
  const kernels::CandidateBatch batch{.x = query.value().raw(),
                                      .w = key.value().raw(),
                                      .log_q = log_q.defined() ? log_q.data<float>() : nullptr,
                                      .identity = item.defined() ? item.data<std::int32_t>() : nullptr,
                                      .targets = rows.data<std::int32_t>(),
                                      .negatives = rows.data<std::int32_t>(),
                                      .N = N,
                                      .V = N,
                                      .C = C,
                                      .n = N};
  const kernels::CandidateLossOptions options{.kind = kernels::CandidateLossKind::kSoftmax,
                                              .scale = scale,
                                              .shared_negatives = true,
                                              .remove_hits = true,
                                              .task = task,
                                              .dtype = dtype};
  kernels::candidate_loss(loss.data<float>(), dquery.raw(), train ? dtable.data<float>() : nullptr, nullptr, batch,
                          kernels::Write::kAssign, options, context.launch());
  Tensor dkey = dtable;
  if (train && dtype != DType::kFloat32) {
    dkey = context.tensor({N, C}, dtype);
    kernels::convert(dkey.raw(), dtype, dtable.raw(), DType::kFloat32, N * C, context.launch());
  }
  tape.record({}, [&tape, query, key, dquery, dkey] {
    tape.contribute(query, dquery);
    tape.contribute(key, dkey);
  });
  return {.loss = loss, .nll = loss};
}

}  // namespace tradewind::runtime
