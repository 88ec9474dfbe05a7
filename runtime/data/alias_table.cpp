#include "runtime/data/alias_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"

namespace tradewind::runtime {

AliasTable::AliasTable(std::span<const double> weights) : columns_(weights.size()), weights_(weights.size()) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  require(sum > 0 && std::isfinite(sum) && std::ranges::all_of(weights, [](double w) { return w >= 0; }), "AliasTable",
          "weights must be finite, not negative, and one above 0");
  require(weights.size() <= std::numeric_limits<std::int32_t>::max(), "AliasTable", "there are too many weights");
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    weights_[i] = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(weights[i] / sum * 0x1p32)));
    total_ += weights_[i];
  }
  // Each of n columns holds total_; number i brings n w[i]. What a column lacks comes from a number that has too much.
  std::vector<std::uint64_t> left(weights.size());
  std::vector<std::int32_t> small, large;
  for (std::size_t i = 0; i < left.size(); ++i) {
    left[i] = weights_[i] * left.size();
    (left[i] < total_ ? small : large).push_back(static_cast<std::int32_t>(i));
  }
  while (!small.empty()) {
    const auto little = static_cast<std::size_t>(small.back()), much = static_cast<std::size_t>(large.back());
    small.pop_back();
    columns_[little] = {.own = left[little], .other = large.back()};
    left[much] -= total_ - left[little];
    if (left[much] >= total_) continue;
    small.push_back(large.back());
    large.pop_back();
  }
  for (const std::int32_t i : large) columns_[static_cast<std::size_t>(i)] = {.own = total_, .other = i};
}

std::int32_t AliasTable::draw(std::uint64_t column, std::uint64_t threshold) const {
  const std::uint64_t at = below(column, columns_.size());
  const Column& drawn = columns_[at];
  return below(threshold, total_) < drawn.own ? static_cast<std::int32_t>(at) : drawn.other;
}

std::vector<float> AliasTable::log_probability() const {
  std::vector<float> out(weights_.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(std::log(static_cast<double>(std::max<std::uint64_t>(weights_[i], 1))) -
                                std::log(static_cast<double>(total_)));
  return out;
}

}  // namespace tradewind::runtime
