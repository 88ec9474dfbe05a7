// x = dropout(item), layers of cells with dropout behind each, a linear layer where a state is not as wide as an item's vector;
// a score is the product with an item's vector in the same table, as Klenitskiy & Vasilev (2023) train GRU4Rec: the tied table
// and the loss at every position of a user's whole history are theirs, the original is trained on sessions side by side.
#include "models/recommend/recurrent.h"

#include <cmath>
#include <string>

#include "runtime/nn/transformer.h"
#include "runtime/ops/dropout.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void RecurrentConfig::describe(Fields& f) {
  f.field("layers", layers, "Recurrent layers.", {.min = 1});
  f.field("channels", channels, "Width of an item's vector.", {.min = 1});
  f.field("hidden", hidden, "Width of a layer's state; 0: channels. Another one is brought to channels by a linear layer.",
          {.min = 0});
  f.field("context", context_length, "Items of a history that a prediction can look back on, the newest.", {.min = 1});
  f.field("embedding_dropout", embedding_dropout, "Of the items' vectors, while training.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("dropout", dropout, "Of what each layer puts out, while training.", {.min = 0, .max = 1, .below_max = true});
  loss.describe(f);
  f.field("init_deviation", init_deviation, "Standard deviation of the items' initial vectors.", {.min = 0});
}

std::unique_ptr<Task> RecurrentConfig::build(const ModelInputs& inputs) const {
  return std::make_unique<RecurrentRecommender>(*this, inputs.vocabulary);
}

RecurrentRecommender::RecurrentRecommender(const RecurrentConfig& config, std::int64_t items) : config_(config), items_(items) {
  const std::int64_t C = config.channels, H = config.hidden > 0 ? config.hidden : C;
  table_ = &store_.add("item_embedding.weight", {items, C}, Init::normal(static_cast<float>(config.init_deviation)), true);
  embedding_dropout_ = dropout_site(config.embedding_dropout, "embedding");
  for (std::int64_t l = 0; l < config.layers; ++l) {
    const std::string name = "layers." + std::to_string(l);
    store_.begin_block();
    layers_.push_back({.cells = RecurrentLayer::make(store_, name, config.kind, l == 0 ? C : H, H),
                       .dropout = dropout_site(config.dropout, name)});
  }
  if (H == C) return;
  store_.begin_block();
  const Init even = Init::uniform(1.0F / std::sqrt(static_cast<float>(H)));
  output_.weight = &store_.add("output.weight", {C, H}, even, true);
  output_.bias = &store_.add("output.bias", {C}, even, false);
}

Variable RecurrentRecommender::hidden(Tape& tape, const Batch& batch) {
  const auto rows = Sequences::of(batch);
  const auto drop = [&](const Variable& x, const kernels::Dropout& site) {
    return tape.recording() ? dropout(tape, x, site, rows) : x;
  };
  Variable x = drop(embedding(tape, *table_, batch["ids"]), embedding_dropout_);
  for (const Layer& layer : layers_) x = drop(layer.cells(tape, x, rows), layer.dropout);
  return output_.weight == nullptr ? x : output_(tape, x);
}

RowLosses RecurrentRecommender::forward(Tape& tape, const Batch& batch) {
  return config_.loss(tape, hidden(tape, batch), *table_, nullptr, batch);
}

Tensor RecurrentRecommender::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return last_rows(context, hidden(tape, batch).value(), batch);
}

CostEstimate RecurrentRecommender::cost() const {
  const std::int64_t T = config_.context_length, C = config_.channels;
  double flops = 0;
  std::int64_t kept = 2 * C;
  for (const Layer& layer : layers_) {
    flops += layer.cells.forward_flops();
    kept += layer.cells.kept_floats();
  }
  if (output_.weight != nullptr) flops += 2 * static_cast<double>(output_.weight->shape().elements());
  CostEstimate out{.flops_per_row = flops,
                   .sample = {.rows = T, .pairs = T * T, .targets = T},
                   .activation_bytes_per_sample = kept * T * static_cast<std::int64_t>(sizeof(float))};
  config_.loss.add_cost(out, items_, C);
  return out;
}

}  // namespace tradewind::models
