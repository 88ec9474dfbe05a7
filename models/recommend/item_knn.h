// Item-based nearest neighbours: items that the same users had, as Sarwar et al. (WWW 2001) and Deshpande & Karypis (TOIS
// 2004) recommend by.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/recommend/recommender.h"
#include "models/registry.h"
#include "runtime/train/fitting.h"

namespace tradewind::models {

class ItemKnnConfig final : public ModelConfig {
 public:
  std::int64_t neighbours = 100, context_length = 200;
  double shrink = 0;

  void describe(runtime::Fields& f) override;
  void check() const override {}
  DataKind data_kind() const override { return DataKind::kInteractions; }
  Samples samples() const override { return Samples::kNone; }
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
};

/// The similarity of items i and j is n_ij / (sqrt(n_i n_j) + shrink): n_i users had i, n_ij both (the cosine of their columns
/// of the user-item matrix of ones and zeros). Of each item the `neighbours` most similar ones stay, of equal ones the lower
/// number. A history's score of item v is the sum of the similarities of v to the history's items, each once, that have v among
/// their neighbours (Deshpande & Karypis, figure 4, without its scaling).
///
/// Only the newest `context` events of a user count, in counting as in scoring: so one that clicked on everything costs no more
/// than context^2.
class ItemKnn final : public Ranker, public runtime::Fitted {
 public:
  ItemKnn(const ItemKnnConfig& config, std::int64_t items) : config_(config), items_(items) {}

  /// Sum over users of context^2 additions. 4 bytes an event, 4 bytes a thread and item, 8 bytes an item and neighbour.
  void fit(runtime::Context& context, const runtime::Interactions& interactions) override;
  std::vector<runtime::NamedTensor> learned() const override;
  void restore(runtime::Context& context, const runtime::Checkpoint& checkpoint) override;
  std::int64_t most_bytes() const override { return items_ * (8 * config_.neighbours + 8); }

  runtime::ParameterStore& parameters() override { return store_; }
  /// Throws InternalError: there is nothing to train.
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override { return {}; }
  std::int64_t items() const override { return items_; }
  /// Added up on the host, in order of the items; on a GPU the block is carried there.
  CatalogueScores scores(runtime::Context& context, const runtime::Batch& batch) override;
  std::int64_t queries_at_once() const override;
  /// The similarities to its neighbours; all others are unlike it.
  Likeness likeness(runtime::Context& context, std::int32_t item) override;

  struct Neighbour {
    std::int32_t item;
    float similarity;
  };
  /// The most similar first.
  std::vector<Neighbour> neighbours_of(std::int32_t item) const;

 private:
  void add_neighbours(float* scores, std::int32_t item) const;

  ItemKnnConfig config_;
  std::int64_t items_;
  runtime::ParameterStore store_;
  // Item i has the neighbours [offsets[i], offsets[i + 1]); on the host.
  runtime::Tensor offsets_;       // [V + 1] int64
  runtime::Tensor neighbours_;    // [n] int32
  runtime::Tensor similarities_;  // [n] float32
};

}  // namespace tradewind::models
