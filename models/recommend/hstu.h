// HSTU: hierarchical sequential transduction units (Zhai et al. 2024, "Actions Speak Louder than Words", section 3) over a
// user's items.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/recommend/item_loss.h"
#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/nn/layers.h"
#include "runtime/ops/hstu_attention.h"

namespace tradewind::models {

class HstuConfig final : public ModelConfig {
 public:
  std::int64_t layers = 2, heads = 1, channels = 64, attention_channels = 0, context_length = 200;
  double dropout = 0.2, norm_epsilon = 1e-6, init_deviation = 0.02;
  bool times = false, request_time = false, scale_items = true;
  ItemLoss loss;

  void describe(runtime::Fields& f) override;
  void check() const override;
  DataKind data_kind() const override { return DataKind::kInteractions; }
  NegativeSampling negatives() const override { return loss.negatives(); }
  bool reads_times() const override { return times; }
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

/// The branch of one layer: out(dropout(u * norm(attention))) of a normalised row; what it is added to is the caller's.
struct HstuBlock {
  static constexpr std::int64_t kTimeBuckets = 129;
  runtime::LinearLayer uvqk, out;               // [heads.width(), C] without a bias, [C, heads.out()]
  runtime::Parameter* position_bias = nullptr;  // [context]
  runtime::Parameter* time_bias = nullptr;      // [kTimeBuckets], or null
  runtime::HstuHeads heads{};
  kernels::Dropout dropout{};
  kernels::NormOptions norm{};

  /// Registers name.{uvqk.weight, out.weight, out.bias, position_bias} and, where the model reads times, name.time_bias.
  static HstuBlock make(runtime::ParameterStore& store, const std::string& name, const HstuConfig& config);
  /// x [N, C]; query_times, key_times [N] int64, with time_bias.
  runtime::Variable operator()(runtime::Tape& tape, const runtime::Variable& x, const runtime::Sequences& rows,
                               const runtime::Tensor& query_times, const runtime::Tensor& key_times) const;
};

class Hstu final : public Recommender {
 public:
  Hstu(const HstuConfig& config, std::int64_t items);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t items() const override { return items_; }
  runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) override;
  runtime::Tensor item_vectors(runtime::Context&) override { return table_->compute(); }

 private:
  runtime::Variable hidden(runtime::Tape& tape, const runtime::Batch& batch);

  HstuConfig config_;
  std::int64_t items_;
  runtime::ParameterStore store_;
  runtime::Parameter* table_ = nullptr;
  runtime::Parameter* positions_ = nullptr;
  kernels::Dropout embedding_dropout_;
  std::vector<HstuBlock> blocks_;
  runtime::NormLayer norm_;
};

}  // namespace tradewind::models
