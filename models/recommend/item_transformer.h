// A transformer over a history of items: what SASRec and BERT4Rec share.
#pragma once

#include <cstdint>
#include <string>

#include "models/recommend/item_loss.h"
#include "runtime/config/fields.h"
#include "runtime/data/batch.h"
#include "runtime/nn/transformer.h"
#include "runtime/train/task.h"

namespace tradewind::models {

/// The keys of a [model] section that say what the network looks like.
struct ItemTransformerConfig {
  std::int64_t layers = 2, heads = 1, channels = 64, hidden = 0, context_length = 200;
  double dropout = 0.2, norm_epsilon = 1e-8, init_deviation = 0.02;
  std::string activation = "relu", block = "pre_norm", init = "scaled_residual", positions = "oldest";
  bool scale_items = true;

  void describe(runtime::Fields& f);
  /// Throws ConfigError where values do not fit together.
  void check() const;
  runtime::TransformerOptions options(bool causal) const;
};

class ItemTransformer {
 public:
  ItemTransformer() = default;
  /// Registers item_embedding.weight [rows, C], position_embedding.weight [context, C] and the blocks.
  /// The gradient of the item table is `of_items`.
  ItemTransformer(runtime::ParameterStore& store, const ItemTransformerConfig& config, std::int64_t rows, bool causal,
                  runtime::GradientKind of_items = runtime::GradientKind::kDense);

  /// The batch's "ids" [N] to [N, C].
  runtime::Variable operator()(runtime::Tape& tape, const runtime::Batch& batch) const;
  /// Of `items` scored by `loss`; of a whole context, `share` of the positions are targets.
  runtime::CostEstimate cost(const ItemLoss& loss, std::int64_t items, double share = 1) const;
  runtime::Parameter& table() const { return *table_; }

 private:
  runtime::Parameter* table_ = nullptr;
  runtime::Parameter* positions_ = nullptr;
  float item_scale_ = 1.0F;
  runtime::Transformer blocks_;
};

}  // namespace tradewind::models
