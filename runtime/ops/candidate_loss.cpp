#include "runtime/ops/candidate_loss.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/convert.h"
#include "runtime/core/transfer.h"
#include "runtime/ops/linear.h"

namespace tradewind::runtime {

namespace {

/// Throws InternalError where shapes do not fit. Without the bias.
kernels::CandidateBatch batch_of(const Tensor& x, const Tensor& table, const Candidates& candidates) {
  const std::int64_t N = x.size(0), V = table.size(0);
  const Tensor& negatives = candidates.negatives;
  const bool shared = negatives.shape().rank() == 1;
  require(table.size(1) == x.size(1), "candidate_loss", "x and weight differ in their last dimension");
  require(candidates.targets.elements() == N && (shared || negatives.size(0) == N), "candidate_loss",
          "targets and negatives need a row for each of x");
  for (const Tensor& of_item : {candidates.log_q, candidates.identity})
    require(!of_item.defined() || of_item.elements() == V, "candidate_loss",
            "log_q and identity need an element for each item");
  return {.x = x.raw(),
          .w = table.raw(),
          .log_q = candidates.log_q.defined() ? candidates.log_q.data<float>() : nullptr,
          .identity = candidates.identity.defined() ? candidates.identity.data<std::int32_t>() : nullptr,
          .targets = candidates.targets.data<std::int32_t>(),
          .negatives = negatives.data<std::int32_t>(),
          .N = N,
          .V = V,
          .C = x.size(1),
          .n = negatives.size(shared ? 0 : 1)};
}

/// With what the tensors decide.
kernels::CandidateLossOptions typed_options(const kernels::CandidateLossOptions& options, const Tensor& x,
                                            const Candidates& candidates) {
  kernels::CandidateLossOptions out = options;
  out.dtype = x.dtype();
  out.shared_negatives = candidates.negatives.shape().rank() == 1;
  return out;
}

}  // namespace

RowLosses candidate_loss(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias, const Candidates& candidates,
                         const kernels::CandidateLossOptions& options) {
  const std::int64_t N = x.size(0), C = x.size(1), V = weight.shape()[0];
  auto batch = batch_of(x.value(), weight.compute(), candidates);
  if (bias != nullptr) batch.bias = bias->value().data<float>();
  const auto typed = typed_options(options, x.value(), candidates);
  Context& context = tape.context();
  const bool train = tape.recording();
  const Tensor loss = context.tensor({N});
  const Tensor dx = train ? context.tensor({N, C}, x.value().dtype()) : Tensor();
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

RowLosses candidate_loss(Tape& tape, const Variable& x, const Variable& table, const Candidates& candidates,
                         const kernels::CandidateLossOptions& options) {
  const auto batch = batch_of(x.value(), table.value(), candidates);
  const auto typed = typed_options(options, x.value(), candidates);
  require(table.value().dtype() == typed.dtype, "candidate_loss", "x and table differ in their types");
  Context& context = tape.context();
  const bool train = tape.recording();
  const Tensor loss = context.tensor({batch.N});
  const Tensor dx = train ? context.tensor({batch.N, batch.C}, typed.dtype) : Tensor(),
               wide = train ? context.tensor({batch.V, batch.C}) : Tensor();
  kernels::candidate_loss(loss.data<float>(), dx.raw(), train ? wide.data<float>() : nullptr, nullptr, batch,
                          kernels::Write::kAssign, typed, context.launch());
  Tensor dtable = wide;
  if (train && typed.dtype != DType::kFloat32) {
    dtable = context.tensor({batch.V, batch.C}, typed.dtype);
    kernels::convert(dtable.raw(), typed.dtype, wide.raw(), DType::kFloat32, batch.V * batch.C, context.launch());
  }
  tape.record({}, [&tape, x, table, dx, dtable] {
    tape.contribute(x, dx);
    tape.contribute(table, dtable);
  });
  return {.loss = loss, .nll = loss};
}

RowLosses in_batch_softmax(Tape& tape, const Variable& query, const Variable& key, const Tensor& item, const Tensor& log_q,
                           float scale, int task) {
  const std::int64_t N = query.size(0);
  require(key.value().shape() == query.value().shape(), "in_batch_softmax", "query and key differ in their shapes");
  for (const Tensor& of_row : {item, log_q})
    require(!of_row.defined() || of_row.elements() == N, "in_batch_softmax", "item and log_q need an element for each row");
  const Tensor each(host_allocator(), {N}, DType::kInt32);
  std::iota(each.data<std::int32_t>(), each.data<std::int32_t>() + N, 0);
  const Tensor rows = on_device(tape.context(), each);
  kernels::CandidateLossOptions options;
  options.kind = kernels::CandidateLossKind::kSoftmax;
  options.scale = scale;
  options.remove_hits = true;
  options.task = task;
  return candidate_loss(tape, query, key, {.targets = rows, .negatives = rows, .log_q = log_q, .identity = item}, options);
}

}  // namespace tradewind::runtime
