// Values of all ranks that must be alike: which ranks hold another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tradewind::runtime {

/// The lowest rank of the largest group that holds one value. Of groups of the same size the one with the lowest rank, so that
/// rank 0's value stands where there is no majority.
inline int typical_rank(const std::vector<std::uint64_t>& values) {
  std::size_t best = 0;
  std::int64_t most = 0;
  for (std::size_t r = 0; r < values.size(); ++r)
    if (const std::int64_t held = std::count(values.begin(), values.end(), values[r]); held > most) {
      best = r;
      most = held;
    }
  return static_cast<int>(best);
}

/// The ranks whose value is not the typical rank's.
inline std::vector<int> odd_ones(const std::vector<std::uint64_t>& values) {
  std::vector<int> out;
  const std::uint64_t typical = values[static_cast<std::size_t>(typical_rank(values))];
  for (std::size_t r = 0; r < values.size(); ++r)
    if (values[r] != typical) out.push_back(static_cast<int>(r));
  return out;
}

}  // namespace tradewind::runtime
