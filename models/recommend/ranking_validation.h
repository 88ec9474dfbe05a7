// Ranking of held-out items among the whole catalogue, or among sampled ones where that is asked for.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/recommend/ranking_slices.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/train/diversity_metrics.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/ranking_metrics.h"

namespace tradewind::models {

struct RankingOptions {
  std::vector<std::int64_t> cutoffs = {10};
  bool leave_out_seen = true;       // items of a user's history are no candidates for it
  bool both_rules = false;          // Evaluation::other_metrics are those of !leave_out_seen
  std::string best_by = "ndcg@10";  // a metric of runtime::RankingMetrics
  std::int64_t candidates = 0;      // 0: all items; N: a target among N drawn ones (sampled_ranking.h)
  std::uint64_t seed = 1;           // of their draws
  std::vector<TargetSlice> slices = {};
  /// Where given, the lists of the best of all items, whatever `candidates` is, are measured too, at the cut-offs.
  std::optional<runtime::DiversityInputs> lists = {};
  /// Called with every user's number (in the interactions' vocabulary) and values, in the order of RankingMetrics::names(); on
  /// each rank for its users.
  std::function<void(std::int32_t, const std::vector<double>&)> each_user = {};
};

/// For RankingOptions::lists, without vectors and categories: who had what in the training part.
runtime::DiversityInputs diversity_inputs(const runtime::Interactions& interactions);

/// Evaluation::loss is the mean negative log-likelihood of the targets under a softmax over all items.
class RankingValidation final : public runtime::Validation {
 public:
  RankingValidation(std::shared_ptr<const runtime::HeldOut> users, RankingOptions options);
  /// Throws ConfigError where the task is no recommender.
  runtime::Evaluation run(runtime::Context& context, runtime::Task& task, const runtime::EvaluationPlan& plan) const override;
  std::int64_t samples() const override { return users_->size(); }

 private:
  std::shared_ptr<const runtime::HeldOut> users_;
  RankingOptions options_;
};

}  // namespace tradewind::models
