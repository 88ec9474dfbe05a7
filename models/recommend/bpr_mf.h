// Matrix factorisation trained by pairs: Bayesian personalised ranking (Rendle et al., UAI 2009).
#pragma once

#include <memory>

#include "models/recommend/recommender.h"
#include "models/registry.h"

namespace tradewind::models {

class BprConfig final : public ModelConfig {
 public:
  std::int64_t channels = 64, negatives_per_event = 1;
  double init_deviation = 0;

  void describe(runtime::Fields& f) override;
  void check() const override {}
  DataKind data_kind() const override { return DataKind::kInteractions; }
  Samples samples() const override { return Samples::kPairs; }
  NegativeSampling negatives() const override { return {.count = negatives_per_event}; }
  std::int64_t context() const override { return 1; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

/// A user's vector and an item's; their product is the score, without biases. The loss of an event is
/// mean over its negatives j of -log sigmoid(score(i) - score(j)) (section 4.3.1; weight decay stands for the prior).
/// A user is known by its number: it asks with the vector learned for it, whatever its history is by now.
class BprMf final : public Recommender {
 public:
  BprMf(const BprConfig& config, std::int64_t users, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return items_->shape()[0]; }
  /// Reads "users"; zeros for one whose number is -1 or came after the run.
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return items_->compute(); }
  bool knows(std::int32_t user, std::span<const std::int32_t> history) const override;

 private:
  BprConfig config_;
  runtime::ParameterStore store_;
  runtime::Parameter* users_ = nullptr;
  runtime::Parameter* items_ = nullptr;
};

}  // namespace tradewind::models
