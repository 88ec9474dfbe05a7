// x = dropout(sqrt(C) item + position), the blocks and the last norm of runtime/nn/transformer.h, a score is the product with
// an item's vector in the same table. The loss is taken at every position.
#include "models/recommend/sasrec.h"

#include <cmath>

#include "models/activation.h"
#include "runtime/ops/dropout.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void SasRecConfig::describe(Fields& f) {
  f.field("layers", layers, "Transformer blocks.", {.min = 1});
  f.field("heads", heads, "Attention heads.", {.min = 1});
  f.field("channels", channels, "Width of an item's vector and of the residual stream.", {.min = 1});
  f.field("hidden", hidden, "Width of the feed-forward layer; 0: channels.", {.min = 0});
  f.field("context", context_length, "Items of a history that a prediction can look back on, the newest.", {.min = 1});
  f.field("dropout", dropout, "Of embeddings, attention and both branches, while training.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("activation", activation, "Of the feed-forward layer.", {"gelu_tanh", "gelu_exact", "relu", "silu"});
  f.field("scale_items", scale_items, "Items enter the network times the square root of channels.");
  loss.describe(f);
  f.field("norm_epsilon", norm_epsilon, "Added to the variance.", {.min = 0, .above_min = true});
  f.field("init_deviation", init_deviation, "Standard deviation of the initial weights.", {.min = 0});
}

void SasRecConfig::check() const {
  if (channels % heads != 0)
    throw ConfigError("model.channels = " + std::to_string(channels) +
                      " is not a multiple of model.heads = " + std::to_string(heads));
}

std::unique_ptr<Task> SasRecConfig::build(const ModelInputs& inputs) const {
  check();
  return std::make_unique<SasRec>(*this, inputs.vocabulary);
}

SasRec::SasRec(const SasRecConfig& config, std::int64_t items) : config_(config), items_(items) {
  const std::int64_t C = config.channels;
  const auto deviation = static_cast<float>(config.init_deviation);
  table_ = &store_.add("item_embedding.weight", {items, C}, Init::normal(deviation), true);
  positions_ = &store_.add("position_embedding.weight", {config.context_length, C}, Init::normal(deviation), true);
  embedding_dropout_ = dropout_site(config.dropout, "embedding");
  blocks_ =
      Transformer(store_, {.layers = config.layers,
                           .channels = C,
                           .hidden = config.hidden > 0 ? config.hidden : C,
                           .heads = {.query = config.heads, .key_value = config.heads, .size = C / config.heads},
                           .norm = {.kind = kernels::NormKind::kLayerNorm, .epsilon = static_cast<float>(config.norm_epsilon)},
                           .activation = activation_of(config.activation),
                           .dropout = config.dropout,
                           .deviation = config.init_deviation});
}

Variable SasRec::hidden(Tape& tape, const Batch& batch) {
  const auto rows = Sequences::of(batch);
  const float scale = config_.scale_items ? std::sqrt(static_cast<float>(config_.channels)) : 1.0F;
  const Variable x = embedding_sum(tape, *table_, batch["ids"], *positions_, rows.positions, scale);
  return blocks_(tape, dropout(tape, x, tape.recording() ? embedding_dropout_ : kernels::Dropout{}, rows), rows);
}

RowLosses SasRec::forward(Tape& tape, const Batch& batch) {
  return config_.loss(tape, hidden(tape, batch), *table_, nullptr, batch);
}

Tensor SasRec::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return last_rows(context, hidden(tape, batch).value(), batch);
}

CostEstimate SasRec::cost() const {
  const std::int64_t T = config_.context_length;
  const double head = 2 * static_cast<double>(items_ * config_.channels * T);
  return {.forward_flops_per_sample = head + blocks_.forward_flops(T),
          .activation_bytes_per_sample = static_cast<std::int64_t>(4 * blocks_.kept_floats() * static_cast<double>(T))};
}

}  // namespace tradewind::models
