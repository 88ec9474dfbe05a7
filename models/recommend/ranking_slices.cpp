#include "models/recommend/ranking_slices.h"

namespace tradewind::models {

SliceMetrics::SliceMetrics(const std::vector<TargetSlice>& slices, const std::vector<std::int64_t>& cutoffs) : slices_(slices) {
  for (const TargetSlice& slice : slices)
    parts_.emplace_back(slice.values.size(), Part{.metrics = runtime::RankingMetrics(cutoffs)});
}

void SliceMetrics::add(std::int32_t user, std::span<const std::int32_t> items, std::span<const runtime::TargetRank> ranks) {
  std::vector<std::vector<runtime::TargetRank>> of_value;
  for (std::size_t s = 0; s < slices_.size(); ++s) {
    of_value.assign(slices_[s].values.size(), {});
    for (std::size_t t = 0; t < items.size(); ++t)
      of_value.at(static_cast<std::size_t>(slices_[s].value_of(user, items[t]))).push_back(ranks[t]);
    for (std::size_t v = 0; v < of_value.size(); ++v) {
      if (of_value[v].empty()) continue;
      parts_[s][v].metrics.add(of_value[v]);
      parts_[s][v].targets += static_cast<std::int64_t>(of_value[v].size());
    }
  }
}

void SliceMetrics::merge(runtime::Communicator& communicator) {
  for (auto& parts : parts_)
    for (Part& part : parts) {
      part.metrics.merge(communicator);
      communicator.all_reduce(&part.targets, 1, kernels::DType::kInt64, runtime::ReduceOp::kSum, nullptr);
    }
}

std::vector<runtime::EvaluationSlice> SliceMetrics::values() const {
  std::vector<runtime::EvaluationSlice> out;
  for (std::size_t s = 0; s < slices_.size(); ++s)
    for (std::size_t v = 0; v < parts_[s].size(); ++v) {
      const Part& part = parts_[s][v];
      if (part.metrics.users() == 0) continue;
      out.push_back({.slice = slices_[s].name,
                     .value = slices_[s].values[v],
                     .users = part.metrics.users(),
                     .targets = part.targets,
                     .metrics = part.metrics.means()});
    }
  return out;
}

}  // namespace tradewind::models
