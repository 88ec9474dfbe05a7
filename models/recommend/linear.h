// Linear + softmax: a history as the bag of its items, and one linear layer that says what comes next.
#pragma once

#include <memory>

#include "models/recommend/item_loss.h"
#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/nn/transformer.h"

namespace tradewind::models {

class LinearConfig final : public ModelConfig {
 public:
  std::int64_t channels = 64, context_length = 50;
  double dropout = 0, init_deviation = 0.02;
  ItemLoss loss;

  void describe(runtime::Fields& f) override;
  void check() const override {}
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

/// p(next = v | history) = softmax_v(w_v . mean of the history's item vectors + b_v): the order of the items does not count.
/// Trained at every position of a history, on what came before it.
class Linear final : public Recommender {
 public:
  Linear(const LinearConfig& config, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return table_->shape()[0]; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return weight_->compute(); }
  runtime::Tensor item_bias() override { return bias_->compute(); }

 private:
  runtime::Variable bags(runtime::Tape& tape, const runtime::Batch& batch);

  LinearConfig config_;
  runtime::ParameterStore store_;
  runtime::Parameter* table_ = nullptr;   // [V, C], of items in a history
  runtime::Parameter* weight_ = nullptr;  // [V, C], of items that come next
  runtime::Parameter* bias_ = nullptr;    // [V]
  kernels::Dropout dropout_;
};

}  // namespace tradewind::models
