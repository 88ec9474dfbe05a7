// What lists of recommendations are like beside being right, as states that merge across ranks.
//
// Each user is shown a list of at most k items, k the cut-off. x: how often each of the n items of the catalogue was shown,
// rising. Definitions:
//   coverage@k              distinct items shown / n
//   gini@k                  sum_i (2 i - n - 1) x_i / (n sum x), i from 1, items never shown too: 0 where all are shown alike,
//                           near 1 where one is shown to everybody
//   entropy@k               -sum p ln p of the shares p = x / sum x, in nats
//   novelty@k               mean self-information -log2(users that had the item / users), in training, of a list's items
//                           (Zhou et al. 2010, section 2.2); an item that nobody had counts as had by one
//   intra_list_diversity@k  mean of 1 - cosine of the items' vectors over the pairs of a list (Ziegler et al. 2005); a vector
//                           of zeros has cosine 0 with all
//   category_diversity@k    share of a list's pairs that are of two categories; an item without one differs from all
// The last three are means over lists: of those with an item, those with a pair. Lists without an item count nowhere.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tradewind::runtime {

/// What is known of the catalogue.
struct DiversityInputs {
  std::vector<std::int64_t> item_users;  // [items] users that had the item in training
  std::int64_t users = 0;                // that had any
  std::int64_t hidden = 0;          // the first so many rows are never shown and not of the catalogue (buckets of vocabulary.h)
  std::vector<float> vectors = {};  // [items, width] row-major; empty: no intra_list_diversity
  std::vector<std::int32_t> category = {};  // [items], -1: it has none; empty: no category_diversity
};

class DiversityMetrics {
 public:
  /// Throws ConfigError where a cut-off is below 1 or there is none.
  DiversityMetrics(std::vector<std::int64_t> cutoffs, DiversityInputs inputs);

  /// One user's list, best first: of it the first items up to each cut-off.
  void add(std::span<const std::int32_t> list);
  /// Collective.
  void merge(Communicator& communicator);

  /// By cut-off, in the order above. Throws DataError where no list had an item.
  std::vector<std::pair<std::string, double>> values() const;

 private:
  struct AtCutoff {
    std::vector<std::int64_t> shown;   // [items]
    double sums[5] = {0, 0, 0, 0, 0};  // lists, novelty; lists with a pair, their diversity by vectors, by category
  };
  void add_pairs(AtCutoff& to, std::span<const std::int32_t> list) const;

  std::vector<std::int64_t> cutoffs_;
  DiversityInputs inputs_;
  std::vector<double> information_;  // [items] bits
  std::vector<AtCutoff> at_;         // of each cut-off
};

}  // namespace tradewind::runtime
