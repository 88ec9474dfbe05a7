#include "models/recommend/linear.h"

#include "runtime/ops/dropout.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/prefix_mean.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void LinearConfig::describe(Fields& f) {
  f.field("channels", channels, "Width of an item's vector.", {.min = 1});
  f.field("context", context_length, "Items of a history that are in the bag, the newest.", {.min = 1});
  f.field("dropout", dropout, "Of the items' vectors, while training.", {.min = 0, .max = 1, .below_max = true});
  loss.describe(f);
  f.field("init_deviation", init_deviation, "Standard deviation of the initial weights.", {.min = 0});
}

std::unique_ptr<Task> LinearConfig::build(const ModelInputs& inputs) const {
  return std::make_unique<Linear>(*this, inputs.vocabulary);
}

Linear::Linear(const LinearConfig& config, std::int64_t items) : config_(config) {
  const auto deviation = static_cast<float>(config.init_deviation);
  table_ = &store_.add("item_embedding.weight", {items, config.channels}, Init::normal(deviation), true);
  weight_ = &store_.add("head.weight", {items, config.channels}, Init::normal(deviation), true);
  bias_ = &store_.add("head.bias", {items}, Init::constant(0), false);
  dropout_ = dropout_site(config.dropout, "embedding");
}

Variable Linear::bags(Tape& tape, const Batch& batch) {
  const auto rows = Sequences::of(batch);
  const Variable x = embedding(tape, *table_, batch["ids"]);
  return prefix_mean(tape, dropout(tape, x, tape.recording() ? dropout_ : kernels::Dropout{}, rows), rows);
}

RowLosses Linear::forward(Tape& tape, const Batch& batch) {
  return config_.loss(tape, bags(tape, batch), *weight_, bias_, batch);
}

Tensor Linear::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return last_rows(context, bags(tape, batch).value(), batch);
}

CostEstimate Linear::cost() const {
  const std::int64_t T = config_.context_length, C = config_.channels;
  CostEstimate out{.flops_per_row = 2 * static_cast<double>(C),  // the running sum and its division
                   .sample = {.rows = T, .pairs = T * T, .targets = T},
                   .activation_bytes_per_sample = 4 * 4 * T * C};
  config_.loss.add_cost(out, items(), C);
  return out;
}

}  // namespace tradewind::models
