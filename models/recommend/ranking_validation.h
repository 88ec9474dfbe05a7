// Ranking of held-out items among the whole catalogue.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/data/sequence_dataset.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/ranking_metrics.h"

namespace tradewind::models {

struct RankingOptions {
  std::vector<std::int64_t> cutoffs = {10};
  bool leave_out_seen = true;       // items of a user's history are no candidates for it
  std::string best_by = "ndcg@10";  // a metric of runtime::RankingMetrics
  /// Called with every user's number (in the interactions' vocabulary) and values, in the order of RankingMetrics::names(); on
  /// each rank for its users.
  std::function<void(std::int32_t, const std::vector<double>&)> each_user = {};
};

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
