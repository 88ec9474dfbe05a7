#include "runtime/train/ranking_metrics.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

double gain(std::int64_t rank) { return 1 / std::log2(static_cast<double>(rank) + 2); }  // rank from 0

/// Mean of value(rank) over the places that the target shares; value is 0 from place `end` on.
template <class Value>
double expected(const TargetRank& t, std::int64_t end, Value value) {
  double sum = 0;
  for (std::int64_t r = t.greater; r < std::min(end, t.greater + t.equal + 1); ++r) sum += value(r);
  return sum / static_cast<double>(t.equal + 1);
}

double reciprocal(std::int64_t rank) { return 1 / static_cast<double>(rank + 1); }

/// hr, map and mrr at k of one user.
struct Firsts {
  double hit, map, reciprocal_rank;
};

Firsts firsts(std::span<const TargetRank> targets, std::int64_t k) {
  if (targets.size() == 1) {
    const TargetRank& t = targets[0];
    const double rr = expected(t, k, reciprocal);
    return {expected(t, k, [](std::int64_t) { return 1.0; }), rr, rr};
  }
  std::vector<std::int64_t> ranks;
  for (const TargetRank& t : targets) ranks.push_back(t.greater + t.equal / 2);
  std::ranges::sort(ranks);
  double sum = 0;
  for (std::size_t i = 0; i < ranks.size() && ranks[i] < k; ++i) sum += static_cast<double>(i + 1) * reciprocal(ranks[i]);
  const bool hit = ranks[0] < k;
  return {hit ? 1.0 : 0.0, sum / static_cast<double>(std::min(k, static_cast<std::int64_t>(ranks.size()))),
          hit ? reciprocal(ranks[0]) : 0.0};
}

}  // namespace

RankingMetrics::RankingMetrics(std::vector<std::int64_t> cutoffs) : cutoffs_(std::move(cutoffs)) {
  if (cutoffs_.empty()) throw ConfigError("ranking metrics need a cut-off, as in 10");
  for (const std::int64_t k : cutoffs_) {
    if (k < 1) throw ConfigError("a ranking's cut-off must be at least 1, not " + std::to_string(k));
  }
  const auto of_each = [this](const std::vector<const char*>& names) {
    for (const std::int64_t k : cutoffs_)
      for (const char* name : names) names_.push_back(std::string(name) + "@" + std::to_string(k));
  };
  of_each({"ndcg", "hr"});
  names_.emplace_back("mrr");
  of_each({"recall", "precision", "map", "mrr"});
  sums_.resize(names_.size() + 1);
}

std::vector<double> RankingMetrics::add(std::span<const TargetRank> targets) {
  require(!targets.empty(), "RankingMetrics", "a user without relevant items has no ranking");
  const auto relevant = static_cast<std::int64_t>(targets.size());
  std::vector<double> out, rest;
  for (const std::int64_t k : cutoffs_) {
    double dcg = 0, ideal = 0, found = 0;
    for (const TargetRank& t : targets) {
      dcg += expected(t, k, gain);
      found += expected(t, k, [](std::int64_t) { return 1.0; });
    }
    for (std::int64_t r = 0; r < std::min(k, relevant); ++r) ideal += gain(r);
    const Firsts f = firsts(targets, k);
    out.insert(out.end(), {dcg / ideal, f.hit});
    rest.insert(rest.end(), {found / static_cast<double>(relevant), found / static_cast<double>(k), f.map, f.reciprocal_rank});
  }
  std::int64_t last = 0;
  for (const TargetRank& t : targets) last = std::max(last, t.greater + t.equal + 1);
  out.push_back(firsts(targets, last).reciprocal_rank);
  out.insert(out.end(), rest.begin(), rest.end());
  for (std::size_t i = 0; i < out.size(); ++i) sums_[i] += out[i];
  sums_.back() += 1;
  return out;
}

void RankingMetrics::merge(Communicator& communicator) {
  communicator.all_reduce(sums_.data(), static_cast<std::int64_t>(sums_.size()), kernels::DType::kFloat64, ReduceOp::kSum,
                          nullptr);
}

std::vector<std::pair<std::string, double>> RankingMetrics::means() const {
  if (users() == 0) throw DataError("ranking: no user has an item that is held out");
  std::vector<std::pair<std::string, double>> out;
  for (std::size_t i = 0; i < names_.size(); ++i) out.emplace_back(names_[i], sums_[i] / sums_.back());
  return out;
}

}  // namespace tradewind::runtime
