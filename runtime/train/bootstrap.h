// Whether a difference between two models' metrics is more than the luck of which users were asked.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tradewind::runtime {

struct PairedDifference {
  double first = 0, second = 0;  // means over the users
  double low = 0, high = 0;      // 95 % interval of second - first
  double p = 1;                  // two-sided: how often chance alone makes a difference at least as far from 0
};

/// The paired bootstrap over users (Efron & Tibshirani 1993, chapters 13 and 16): users are drawn with replacement, as many as
/// there are, `resamples` times; the interval is that of percentiles 2.5 and 97.5 of the mean differences, and p twice the
/// smaller share of resamples on one side of 0, those at 0 counted on both, and at least 1 / resamples where there is a
/// difference at all. `first` and `second`: [users][metrics], the same users in the same order; at least one. Draws depend on
/// `seed` alone.
std::vector<PairedDifference> paired_bootstrap(std::span<const std::vector<double>> first,
                                               std::span<const std::vector<double>> second, std::int64_t resamples,
                                               std::uint64_t seed);

}  // namespace tradewind::runtime
