#include "models/recommend/popularity.h"

#include <cmath>
#include <vector>

#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

namespace {

constexpr const char* kBias = "item_bias";

}  // namespace

std::unique_ptr<Task> PopularityConfig::build(const ModelInputs& inputs) const {
  return std::make_unique<Popularity>(inputs.vocabulary);
}

void Popularity::fit(Context& context, const Interactions& interactions) {
  require(interactions.items->size() == items_, "Popularity", "the events are of another catalogue");
  const Tensor bias(host_allocator(), {items_}, DType::kFloat32);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(items_), 1);
  double total = static_cast<double>(items_);
  for (std::size_t e = 0; e < interactions.item.size(); ++e) {
    if (interactions.part[e] != Part::kTrain) continue;
    ++counts[static_cast<std::size_t>(interactions.item[e])];
    total += 1;
  }
  for (std::int64_t v = 0; v < items_; ++v)
    bias.data<float>()[v] = static_cast<float>(std::log(static_cast<double>(counts[static_cast<std::size_t>(v)]) / total));
  bias_ = on_device(context, bias);
}

std::vector<NamedTensor> Popularity::learned() const { return {{.name = kBias, .data = on_host(bias_)}}; }

void Popularity::restore(Context& context, const Checkpoint& checkpoint) {
  const Tensor bias = whole_tensor(checkpoint, kBias, DType::kFloat32);
  if (bias.shape() != Shape{items_})
    throw CheckpointError("loading the checkpoint: \"item_bias\" has shape " + bias.shape().text() + " where the run has " +
                          std::to_string(items_) + " items");
  bias_ = on_device(context, bias);
}

RowLosses Popularity::forward(Tape&, const Batch&) { throw InternalError("Popularity: there is nothing to train"); }

Tensor Popularity::queries(Context& context, const Batch& batch) {
  Tensor out = context.tensor({batch["offsets"].elements() - 1, 1});
  out.zero();
  return out;
}

Tensor Popularity::item_vectors(Context& context) {
  Tensor out = context.tensor({items_, 1});
  out.zero();
  return out;
}

Likeness Popularity::likeness(Context&, std::int32_t) {
  throw ConfigError(
      "popularity knows how often an item is bought, not what it is like; ask a run of another model, as item_knn");
}

}  // namespace tradewind::models
