#include "models/recommend/popularity.h"

#include <cmath>

#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

Popularity::Popularity(Context& context, const Interactions& interactions) {
  const std::int64_t V = interactions.items->size();
  const Tensor bias(host_allocator(), {V}, DType::kFloat32);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(V), 1);
  double total = static_cast<double>(V);
  for (std::size_t e = 0; e < interactions.item.size(); ++e) {
    if (interactions.part[e] != Part::kTrain) continue;
    ++counts[static_cast<std::size_t>(interactions.item[e])];
    total += 1;
  }
  for (std::int64_t v = 0; v < V; ++v)
    bias.data<float>()[v] = static_cast<float>(std::log(static_cast<double>(counts[static_cast<std::size_t>(v)]) / total));
  bias_ = on_device(context, bias);
  zeros_ = context.tensor({V, 1});
  zeros_.zero();
}

RowLosses Popularity::forward(Tape&, const Batch&) { throw InternalError("Popularity: there is nothing to train"); }

Tensor Popularity::queries(Context& context, const Batch& batch) {
  Tensor out = context.tensor({batch["offsets"].elements() - 1, 1});
  out.zero();
  return out;
}

}  // namespace tradewind::models
