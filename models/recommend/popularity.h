// What everybody buys: the baseline that a recommender has to beat. Every history gets the same scores.
#pragma once

#include <memory>

#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/train/fitting.h"

namespace tradewind::models {

class PopularityConfig final : public ModelConfig {
 public:
  void describe(runtime::Fields& /*f*/) override {}
  void check() const override {}
  DataKind data_kind() const override { return DataKind::kInteractions; }
  Samples samples() const override { return Samples::kNone; }
  std::int64_t context() const override { return 1; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

/// Scores are log((n + 1) / (events + items)), n an item's events in the training part. It has no parameters, and forward
/// throws InternalError.
class Popularity final : public Recommender, public runtime::Fitted {
 public:
  explicit Popularity(std::int64_t items) : items_(items) {}

  void fit(runtime::Context& context, const runtime::Interactions& interactions) override;
  std::vector<runtime::NamedTensor> learned() const override;
  void restore(runtime::Context& context, const runtime::Checkpoint& checkpoint) override;
  std::int64_t most_bytes() const override { return 4 * items_; }

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override { return {}; }
  std::int64_t items() const override { return items_; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context& context) override;
  runtime::Tensor item_bias() override { return bias_; }
  Likeness likeness(runtime::Context& context, std::int32_t item) override;

 private:
  std::int64_t items_;
  runtime::ParameterStore store_;
  runtime::Tensor bias_;  // [V]
};

}  // namespace tradewind::models
