// Items and positions through the blocks of runtime/nn/transformer.h; a score is the product with an item's vector in the same
// table.
#include "models/recommend/sasrec.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void SasRecConfig::describe(Fields& f) {
  net.describe(f);
  f.field(
      "trained_positions", trained_positions,
      "every: a sample is a user, and every item of its history is asked for the next. last: a sample is an event but a user's "
      "first, and only the last item before it is asked for it (RecBole); an epoch has as many samples as events.",
      {"every", "last"});
  loss.describe(f);
  f.field("sparse_embeddings", sparse_embeddings,
          "The item table's gradient and update are of the items of a step alone, which pays from some 100,000 items on; all "
          "losses but softmax, and no weight decay. Adam's moments then stay as they are where an item is not in a step.");
}

void SasRecConfig::check() const {
  net.check();
  if (sparse_embeddings && loss.kind == "softmax")
    throw ConfigError(
        "model.sparse_embeddings = true: model.loss = \"softmax\" has a gradient for every item in every step; "
        "set model.loss to bce, gbce, bpr or sampled_softmax, or model.sparse_embeddings to false");
}

std::unique_ptr<Task> SasRecConfig::build(const ModelInputs& inputs) const {
  check();
  return std::make_unique<SasRec>(*this, inputs.vocabulary);
}

SasRec::SasRec(const SasRecConfig& config, std::int64_t items)
    : loss_(config.loss),
      items_(items),
      trained_share_(config.targets().prefixes ? 1.0 / static_cast<double>(config.context()) : 1),
      net_(store_, config.net, items, true, config.sparse_embeddings ? GradientKind::kSparse : GradientKind::kDense) {}

RowLosses SasRec::forward(Tape& tape, const Batch& batch) {
  return loss_(tape, net_(tape, batch), net_.table(), nullptr, batch);
}

Tensor SasRec::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return last_rows(context, net_(tape, batch).value(), batch);
}

}  // namespace tradewind::models
