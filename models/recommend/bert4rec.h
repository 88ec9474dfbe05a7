// BERT4Rec (Sun et al. 2019): a transformer that sees all of a history and fills in the items that were hidden.
#pragma once

#include <memory>

#include "models/recommend/item_loss.h"
#include "models/recommend/item_transformer.h"
#include "models/recommend/recommender.h"

namespace tradewind::models {

class Bert4RecConfig final : public ModelConfig {
 public:
  Bert4RecConfig();
  ItemTransformerConfig net;
  ItemLoss loss;
  double masked = 0.2;

  void describe(runtime::Fields& f) override;
  void check() const override;
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  runtime::SequenceTargets targets() const override { return {.masked = masked}; }
  std::int64_t context() const override { return net.context_length; }
  /// One item less than the context, and the mask whose place is asked for.
  runtime::HistoryForm history(std::int64_t items) const override {
    return {net.context_length, static_cast<std::int32_t>(items), false, positions_from_newest()};
  }
  bool positions_from_newest() const override { return net.positions == "newest"; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

class Bert4Rec final : public Recommender {
 public:
  Bert4Rec(const Bert4RecConfig& config, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return items_; }
  /// Of the last row of each sequence, which should be the mask: see Bert4RecConfig::history.
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context& context) override;

 private:
  ItemLoss loss_;
  double masked_;
  std::int64_t items_;
  runtime::ParameterStore store_;
  ItemTransformer net_;  // its table has one row more than items: the mask's
};

}  // namespace tradewind::models
