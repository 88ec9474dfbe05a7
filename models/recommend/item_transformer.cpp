#include "models/recommend/item_transformer.h"

#include <cmath>

#include "models/activation.h"
#include "runtime/ops/embedding.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

void ItemTransformerConfig::describe(Fields& f) {
  f.field("layers", layers, "Transformer blocks.", {.min = 1});
  f.field("heads", heads, "Attention heads.", {.min = 1});
  f.field("channels", channels, "Width of an item's vector and of the residual stream.", {.min = 1});
  f.field("hidden", hidden, "Width of the feed-forward layer; 0: channels.", {.min = 0});
  f.field("context", context_length, "Items of a history that a prediction can look back on, the newest.", {.min = 1});
  f.field("dropout", dropout, "Of embeddings, attention and both branches, while training.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("activation", activation, "Of the feed-forward layer.", {"gelu_tanh", "gelu_exact", "relu", "silu"});
  f.field("scale_items", scale_items, "Items enter the network times the square root of channels.");
  f.field(
      "block", block,
      "pre_norm: a branch reads the normalised stream and adds to the stream. post_norm (BERT): a branch's sum with the stream "
      "is normalised. normalised_residual (SASRec's code): queries are of the normalised stream, keys and values of the stream "
      "itself, and a branch adds to the normalised stream.",
      {"pre_norm", "post_norm", "normalised_residual"});
  f.field("norm_epsilon", norm_epsilon, "Added to the variance.", {.min = 0, .above_min = true});
  f.field("init", init,
          "Weights are normal. scaled_residual: those of projections into the stream over sqrt(2 layers); xavier_qkv: those of "
          "queries, keys and values Xavier uniform.",
          {"scaled_residual", "normal", "xavier_qkv"});
  f.field(
      "positions", positions,
      "Where the learned positions of a history begin: at its oldest item that the context takes, or at its newest, as where "
      "short histories are padded at their beginning (SASRec's code).",
      {"oldest", "newest"});
  f.field("init_deviation", init_deviation, "Standard deviation of the initial weights.", {.min = 0});
}

void ItemTransformerConfig::check() const {
  if (channels % heads != 0)
    throw ConfigError("model.channels = " + std::to_string(channels) +
                      " is not a multiple of model.heads = " + std::to_string(heads));
}

TransformerOptions ItemTransformerConfig::options(bool causal) const {
  return {.layers = layers,
          .channels = channels,
          .hidden = hidden > 0 ? hidden : channels,
          .heads = {.query = heads, .key_value = heads, .size = channels / heads},
          .norm = {.kind = kernels::NormKind::kLayerNorm, .epsilon = static_cast<float>(norm_epsilon)},
          .activation = activation_of(activation),
          .causal = causal,
          .dropout = dropout,
          .deviation = init_deviation,
          .block = block == "post_norm"             ? BlockKind::kPostNorm
                   : block == "normalised_residual" ? BlockKind::kNormalisedResidual
                                                    : BlockKind::kPreNorm,
          .init = init == "normal"       ? TransformerInit::kNormal
                  : init == "xavier_qkv" ? TransformerInit::kXavierQkv
                                         : TransformerInit::kScaledResidual};
}

ItemTransformer::ItemTransformer(ParameterStore& store, const ItemTransformerConfig& config, std::int64_t rows, bool causal,
                                 GradientKind of_items) {
  const auto start = Init::normal(static_cast<float>(config.init_deviation));
  table_ = &store.add("item_embedding.weight", {rows, config.channels}, start, true, of_items);
  positions_ = &store.add("position_embedding.weight", {config.context_length, config.channels}, start, true);
  if (config.scale_items) item_scale_ = std::sqrt(static_cast<float>(config.channels));
  blocks_ = Transformer(store, config.options(causal));
}

Variable ItemTransformer::operator()(Tape& tape, const Batch& batch) const {
  const auto rows = Sequences::of(batch);
  return blocks_(tape, embedding_sum(tape, *table_, batch["ids"], *positions_, rows.positions, item_scale_), rows);
}

CostEstimate ItemTransformer::cost(const ItemLoss& loss, std::int64_t items, double share) const {
  const std::int64_t T = positions_->shape()[0], C = positions_->shape()[1];
  CostEstimate out{
      .flops_per_row = blocks_.flops_per_row(),
      .flops_per_pair = blocks_.flops_per_pair(),
      .sample = {.rows = T, .pairs = T * T, .targets = std::llround(share * static_cast<double>(T))},
      .activation_bytes_per_sample = static_cast<std::int64_t>(4 * blocks_.kept_floats() * static_cast<double>(T))};
  loss.add_cost(out, items, C);
  return out;
}

}  // namespace tradewind::models
