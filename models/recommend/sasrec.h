// SASRec: self-attentive sequential recommendation (Kang & McAuley 2018), as a causal transformer over a user's items.
#pragma once

#include <memory>
#include <string>

#include "models/recommend/item_loss.h"
#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/nn/transformer.h"

namespace tradewind::models {

class SasRecConfig final : public ModelConfig {
 public:
  std::int64_t layers = 2, heads = 1, channels = 64, hidden = 0, context_length = 200;
  double dropout = 0.2, norm_epsilon = 1e-8, init_deviation = 0.02;
  std::string activation = "relu";
  bool scale_items = true;
  ItemLoss loss;

  void describe(runtime::Fields& f) override;
  void check() const override;
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

class SasRec final : public Recommender {
 public:
  SasRec(const SasRecConfig& config, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return items_; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return table_->compute(); }

 private:
  runtime::Variable hidden(runtime::Tape& tape, const runtime::Batch& batch);

  SasRecConfig config_;
  std::int64_t items_;
  runtime::ParameterStore store_;
  runtime::Parameter* table_ = nullptr;
  runtime::Parameter* positions_ = nullptr;
  kernels::Dropout embedding_dropout_;
  runtime::Transformer blocks_;
};

}  // namespace tradewind::models
