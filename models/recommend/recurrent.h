// GRU4Rec (Hidasi et al. 2016) and the same with an LSTM: a recurrent network over a user's items.
#pragma once

#include <memory>
#include <vector>

#include "models/recommend/item_loss.h"
#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/nn/layers.h"
#include "runtime/nn/recurrent.h"

namespace tradewind::models {

class RecurrentConfig final : public ModelConfig {
 public:
  explicit RecurrentConfig(kernels::RecurrentKind cell) : kind(cell) {}

  kernels::RecurrentKind kind;
  std::int64_t layers = 1, channels = 64, hidden = 0, context_length = 200;
  double embedding_dropout = 0, dropout = 0, init_deviation = 0.02;
  ItemLoss loss;

  void describe(runtime::Fields& f) override;
  void check() const override {}
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

class RecurrentRecommender final : public Recommender {
 public:
  RecurrentRecommender(const RecurrentConfig& config, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return items_; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return table_->compute(); }

 private:
  struct Layer {
    runtime::RecurrentLayer cells;
    kernels::Dropout dropout;
  };
  runtime::Variable hidden(runtime::Tape& tape, const runtime::Batch& batch);

  RecurrentConfig config_;
  std::int64_t items_;
  runtime::ParameterStore store_;
  runtime::Parameter* table_ = nullptr;
  kernels::Dropout embedding_dropout_;
  std::vector<Layer> layers_;
  runtime::LinearLayer output_;  // without a weight where a state is as wide as an item's vector
};

}  // namespace tradewind::models
