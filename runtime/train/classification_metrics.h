// How well scores tell the pairs with label 1 from those with label 0.
//
// Definitions, of rows of a user, a score and a label:
//   auc       probability that a row with label 1 scores above one with label 0, equal scores count 1/2: exact, by sorting (the
//             Mann-Whitney U by mean ranks)
//   gauc      mean of the users' own AUC weighted by their number of rows (Zhou et al. 2018, section 5.2); users with one label
//             alone have none and are left out
//   log_loss  mean of -ln p(label), p(1) = 1 / (1 + exp(-score)): of scores that are log-odds
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tradewind::runtime {

/// Nothing where all labels are alike. Throws DataError where a score is not a number. n log n; up to 10^8 rows and more.
std::optional<double> exact_auc(std::span<const float> scores, std::span<const std::uint8_t> labels);

/// A state that merges across ranks: 13 bytes a row.
class ClassificationMetrics {
 public:
  /// `label` is 0 or 1.
  void add(std::int32_t user, float score, std::uint8_t label);
  /// Collective: all ranks get all rows.
  void merge(Communicator& communicator);

  struct Values {
    std::int64_t rows = 0, positives = 0;
    std::int64_t users = 0, users_with_both = 0;  // those that gauc is a mean of
    std::optional<double> auc = {}, gauc = {};    // nothing where no two labels differ
    double log_loss = 0;
    double base_log_loss = 0;  // of the share of positives as every row's probability: what a model has to stay below
  };
  /// Throws DataError where there are no rows or a score is not a number.
  Values values() const;

 private:
  std::vector<std::int32_t> users_;
  std::vector<float> scores_;
  std::vector<std::uint8_t> labels_;
};

}  // namespace tradewind::runtime
