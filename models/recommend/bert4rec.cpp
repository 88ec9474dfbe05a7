// Training hides a share of each history behind the mask item and asks for what was there: targets are few, and only their rows
// are scored. The scores are products with the item table, without bias, as Klenitskiy & Vasilev (RecSys 2023) have it; the
// paper's output layer and bias before them are left out.
#include "models/recommend/bert4rec.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

Bert4RecConfig::Bert4RecConfig() {
  net.heads = 2;
  net.hidden = 256;
  net.dropout = 0.1;
  net.norm_epsilon = 1e-12;
  net.activation = "gelu_exact";
  net.block = "post_norm";
  net.init = "normal";
  net.scale_items = false;
}

void Bert4RecConfig::describe(Fields& f) {
  net.describe(f);
  f.field("masked", masked, "Share of a history's items that training hides and asks for; at least one.",
          {.min = 0, .max = 1, .above_min = true});
  loss.describe(f);
}

void Bert4RecConfig::check() const {
  net.check();
  if (net.context_length < 2)
    throw ConfigError("model.context = 1 has no room for an item beside the mask; set it to 2 or more");
}

std::unique_ptr<Task> Bert4RecConfig::build(const ModelInputs& inputs) const {
  check();
  return std::make_unique<Bert4Rec>(*this, inputs.vocabulary);
}

Bert4Rec::Bert4Rec(const Bert4RecConfig& config, std::int64_t items)
    : loss_(config.loss), masked_(config.masked), items_(items), net_(store_, config.net, items + 1, false) {}

RowLosses Bert4Rec::forward(Tape& tape, const Batch& batch) {
  return loss_(tape, net_(tape, batch), net_.table(), nullptr, batch, items_);
}

Tensor Bert4Rec::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return last_rows(context, net_(tape, batch).value(), batch);
}

Tensor Bert4Rec::item_vectors(Context&) {
  const Tensor& all = net_.table().compute();
  return all.view(0, {items_, all.size(1)});
}

CostEstimate Bert4Rec::cost() const { return net_.cost(loss_, items_, masked_); }

}  // namespace tradewind::models
