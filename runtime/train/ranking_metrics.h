// Metrics of rankings, as states that merge across ranks.
//
// A user has one or more relevant items; the rank of each among all candidates is known (kernels/catalogue.h): `greater`
// candidates come before it, `equal` others share its score. Definitions, k the cut-off, R the number of relevant items:
//   hr@k         1 where one of them is among the first k
//   recall@k     those among the first k / R
//   precision@k  those among the first k / k
//   ndcg@k       sum over those of 1 / log2(rank + 1) / the same of an ideal ranking (Jarvelin & Kekalainen 2002), rank from 1
//   map@k        sum over those of (relevant items up to it / rank) / min(k, R)
//   mrr          1 / rank of the first one, however far down; mrr@k: 0 where it is past k
// averaged over users. Ties: an item whose score others share is at each of their places with the same probability, and a user
// with one relevant item counts the expectation over them, so that a constant scorer of N items has hr@k = k / N. With several
// relevant items recall, precision and ndcg are such expectations too; hr, map and mrr take the middle place.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tradewind::runtime {

struct TargetRank {
  std::int64_t greater = 0, equal = 0;
};

class RankingMetrics {
 public:
  /// Throws ConfigError where a cut-off is below 1 or there is none.
  explicit RankingMetrics(std::vector<std::int64_t> cutoffs);

  /// One user's relevant items, at least one. Returns the user's values, in the order of names().
  std::vector<double> add(std::span<const TargetRank> targets);
  /// Collective.
  void merge(Communicator& communicator);

  /// "ndcg@10", "hr@10" of each cut-off, "mrr", then "recall@10", "precision@10", "map@10", "mrr@10" of each.
  const std::vector<std::string>& names() const { return names_; }
  /// How many of them sum up the others.
  std::size_t headline() const { return 2 * cutoffs_.size() + 1; }
  std::int64_t users() const { return static_cast<std::int64_t>(sums_.back()); }
  /// Means over the users; in the order of names(). Throws DataError where there are none.
  std::vector<std::pair<std::string, double>> means() const;

 private:
  std::vector<std::int64_t> cutoffs_;
  std::vector<std::string> names_;
  std::vector<double> sums_;  // of each metric, and last the users
};

}  // namespace tradewind::runtime
