#include "models/recommend/recommender.h"

#include "kernels/embedding.h"
#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

Tensor last_rows(Context& context, const Tensor& x, const Batch& batch) {
  const auto* offsets = batch.on_host("offsets").data<std::int64_t>();
  const std::int64_t S = batch["offsets"].elements() - 1, N = x.size(0), C = x.size(1);
  Tensor out = context.tensor({S, C}, x.dtype());
  const Tensor rows(host_allocator(), {S}, DType::kInt32);
  for (std::int64_t s = 0; s < S; ++s)
    rows.data<std::int32_t>()[s] = static_cast<std::int32_t>(offsets[s + 1] > offsets[s] ? offsets[s + 1] - 1 : 0);
  if (N == 0) {
    out.zero();
    return out;
  }
  const Tensor where = on_device(context, rows);
  kernels::embedding_forward(out.raw(), x.raw(), where.data<std::int32_t>(), S, N, C, kernels::Write::kAssign, x.dtype(),
                             context.launch());
  for (std::int64_t s = 0; s < S; ++s)
    if (offsets[s + 1] == offsets[s]) out.view(s * C, {C}).zero();
  return out;
}

kernels::Catalogue catalogue_of(const Tensor& queries, const Tensor& items, const Tensor& bias) {
  require(queries.size(1) == items.size(1) && queries.dtype() == items.dtype(), "catalogue_of",
          "queries and items differ in width or type");
  return {.x = queries.raw(),
          .w = items.raw(),
          .bias = bias.defined() ? bias.raw() : nullptr,
          .N = queries.size(0),
          .V = items.size(0),
          .C = items.size(1),
          .dtype = queries.dtype()};
}

}  // namespace tradewind::models
