// What everybody buys: the baseline that a recommender has to beat. Every history gets the same scores.
#pragma once

#include "models/recommend/recommender.h"
#include "runtime/data/interactions.h"

namespace tradewind::models {

/// Scores are log((n + 1) / (events + items)), n an item's events in the training part. Nothing is trained: it has no
/// parameters, and forward throws InternalError.
class Popularity final : public Recommender {
 public:
  Popularity(runtime::Context& context, const runtime::Interactions& interactions);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override { return {}; }
  std::int64_t items() const override { return bias_.elements(); }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return zeros_; }
  runtime::Tensor item_bias() override { return bias_; }

 private:
  runtime::ParameterStore store_;
  runtime::Tensor zeros_, bias_;  // [V, 1], [V]
};

}  // namespace tradewind::models
