// The order of an epoch as a function, not as an array: which sample comes i-th is computed from (seed, epoch, i).
//
// So the data position of a run is one integer, any rank of any world size finds its samples alone, and nothing is kept.
#pragma once

#include <cstdint>

namespace tradewind::runtime {

/// The sample that comes i-th in `epoch`: for fixed seed and epoch a bijection of [0, n). Needs 0 <= i < n.
///
/// Up to kFullShuffle samples it is one permutation of all. Above, so that disks read in runs: the samples, rotated by a random
/// amount, are cut into blocks of kShuffleBlock neighbours, the blocks permuted, and samples permuted within windows of
/// kShuffleWindow; at any time a reader needs the blocks of two windows.
std::int64_t permute(std::uint64_t seed, std::int64_t epoch, std::int64_t n, std::int64_t i);

inline constexpr std::int64_t kFullShuffle = std::int64_t{1} << 20;
inline constexpr std::int64_t kShuffleBlock = 1024;
inline constexpr std::int64_t kShuffleWindow = 64 * kShuffleBlock;

/// A number in [0, n), the same for the same arguments everywhere. Needs n >= 1.
std::int64_t random_below(std::uint64_t seed, std::uint64_t purpose, std::uint64_t counter, std::int64_t n);

}  // namespace tradewind::runtime
