// Ranking metrics of a part of what was held out: cold items, new users, a category.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/train/evaluator.h"
#include "runtime/train/ranking_metrics.h"

namespace tradewind::models {

/// One way to tell held-out events apart.
struct TargetSlice {
  std::string name;                 // "cold-items", "item:items.csv:category"
  std::vector<std::string> values;  // in the order in which they are shown
  /// The place in `values` of a user's held-out item.
  std::function<std::int32_t(std::int32_t user, std::int32_t item)> value_of;
};

/// Metrics for each value of each slice, as a state that merges across ranks. A user with held-out items of several values
/// counts in each of them with those alone.
class SliceMetrics {
 public:
  SliceMetrics(const std::vector<TargetSlice>& slices, const std::vector<std::int64_t>& cutoffs);
  /// One user's held-out items and their ranks, as many.
  void add(std::int32_t user, std::span<const std::int32_t> items, std::span<const runtime::TargetRank> ranks);
  /// Collective: all ranks have the same slices.
  void merge(runtime::Communicator& communicator);
  /// Those that have a user, in order.
  std::vector<runtime::EvaluationSlice> values() const;

 private:
  struct Part {
    runtime::RankingMetrics metrics;
    std::int64_t targets = 0;
  };
  const std::vector<TargetSlice>& slices_;
  std::vector<std::vector<Part>> parts_;  // [slices][values]
};

}  // namespace tradewind::models
