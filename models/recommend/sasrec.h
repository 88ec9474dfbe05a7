// SASRec: self-attentive sequential recommendation (Kang & McAuley 2018), as a causal transformer over a user's items.
#pragma once

#include <memory>
#include <string>

#include "models/recommend/item_loss.h"
#include "models/recommend/item_transformer.h"
#include "models/recommend/recommender.h"

namespace tradewind::models {

class SasRecConfig final : public ModelConfig {
 public:
  ItemTransformerConfig net;
  ItemLoss loss;
  std::string trained_positions = "every";
  bool sparse_embeddings = false;

  void describe(runtime::Fields& f) override;
  void check() const override;
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  runtime::SequenceTargets targets() const override { return {.prefixes = trained_positions == "last"}; }
  std::int64_t context() const override { return net.context_length; }
  bool positions_from_newest() const override { return net.positions == "newest"; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

class SasRec final : public Recommender {
 public:
  SasRec(const SasRecConfig& config, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override { return net_.cost(loss_, items_, trained_share_); }
  std::int64_t items() const override { return items_; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return net_.table().compute(); }

 private:
  ItemLoss loss_;
  std::int64_t items_;
  double trained_share_;  // of a history's positions
  runtime::ParameterStore store_;
  ItemTransformer net_;
};

}  // namespace tradewind::models
