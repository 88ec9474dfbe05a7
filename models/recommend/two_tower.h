// Two towers: a network that makes a vector of an item and one that makes a vector of a history (Covington et al., RecSys 2016;
// Yi et al., RecSys 2019), both by ids and attributes.
//
//   e_i = item_embedding[i] + sum over the attributes a of the mean of attribute_embedding_a[v] over the values v that i has
//   x_t = the mean of e_i over the items of a history's newest `context` up to position t, the newest `window` of them
//   f(x) = W_2 relu(W_1 x + b_1) + b_2, of each tower its own; with hidden = 0 x itself; with `normalise` over its length
//   score(history, i) = <f_user(x), f_item(e_i)> / temperature
// An attribute without values adds nothing, and an item that training never met is what its attributes say.
//
// The loss is that of model.loss at every position of a history (item_loss.h). As Yi et al. train, and as the default, the
// negatives are the targets of the micro-batch's rows, a target never against itself, and log q(j) is taken from the score of
// each candidate (their equation 3), q(j) item j's share of an epoch's targets, counted where they estimate it from the stream.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/recommend/item_loss.h"
#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/nn/layers.h"

namespace tradewind::models {

class TwoTowerConfig final : public ModelConfig {
 public:
  std::int64_t channels = 64, hidden = 128, context_length = 50, window = 0;
  bool normalise = true, sparse_embeddings = false;
  double temperature = 0.05, dropout = 0, init_deviation = 0.02;
  ItemLoss loss;

  TwoTowerConfig();
  void describe(runtime::Fields& f) override;
  void check() const override;
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  bool reads_attributes() const override { return true; }
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

class TwoTower final : public Recommender {
 public:
  /// attributes: of these items; null: ids alone.
  TwoTower(const TwoTowerConfig& config, std::int64_t items,
           std::shared_ptr<const runtime::ItemAttributes> attributes = nullptr);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return items_; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  /// Goes through the item tower, a block of items at a time.
  runtime::Tensor item_vectors(runtime::Context& context) override;

 private:
  /// e of these items, in order.
  runtime::Variable inputs(runtime::Tape& tape, std::span<const std::int32_t> items) const;
  runtime::Variable through(runtime::Tape& tape, const runtime::Variable& x, const runtime::MlpLayer& tower) const;
  runtime::Variable means(runtime::Tape& tape, const runtime::Variable& inputs, const runtime::Tensor& rows,
                          const runtime::Batch& batch) const;
  float scale() const;

  TwoTowerConfig config_;
  std::int64_t items_;
  std::shared_ptr<const runtime::ItemAttributes> attributes_;
  runtime::ParameterStore store_;
  runtime::Parameter* table_ = nullptr;                // [V, C]
  std::vector<runtime::Parameter*> attribute_tables_;  // [values, C] of each column
  runtime::MlpLayer user_tower_, item_tower_;          // without weights where hidden = 0
  kernels::Dropout dropout_;
};

}  // namespace tradewind::models
