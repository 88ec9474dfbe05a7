// The permutation is the generalized Feistel cipher of Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002,
// section 5: a * b >= n with a = b = ceil(sqrt(n)), a number written as (left, right), rounds left <- left + F(right) mod a,
// halves swapped; results >= n are encrypted again until they fall into [0, n) (cycle walking; at most a few per cent of them
// but for tiny n). Their proof wants a pseudorandom F; the shuffle of a data set is content with mix64.
#include "runtime/data/shuffle.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace tradewind::runtime {
namespace {

using kernels::mix64;

constexpr int kRounds = 8;
constexpr std::uint64_t kShufflePurpose = 0x53485546464C45;  // "SHUFFLE"
constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

/// x scaled from [0, 2^64) to [0, n).
std::uint64_t scale(std::uint64_t x, std::uint64_t n) {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(x) * n) >> 64);
}

/// The cipher on [0, n) under `key`.
std::int64_t encrypt(std::uint64_t key, std::int64_t n, std::int64_t i) {
  auto side = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
  while (side * side < static_cast<std::uint64_t>(n)) ++side;
  auto x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t left = x / side, right = x % side;
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t f = scale(mix64(key + mix64(right + static_cast<std::uint64_t>(round + 1) * kGolden)), side);
      const std::uint64_t sum = left + f;
      left = right;
      right = sum >= side ? sum - side : sum;
    }
    x = left * side + right;
  } while (x >= static_cast<std::uint64_t>(n));
  return static_cast<std::int64_t>(x);
}

}  // namespace

std::int64_t permute(std::uint64_t seed, std::int64_t epoch, std::int64_t n, std::int64_t i) {
  require(i >= 0 && i < n, "permute", "i is outside [0, n)");
  const std::uint64_t key = mix64(mix64(mix64(seed + kGolden) ^ kShufflePurpose) + static_cast<std::uint64_t>(epoch) * kGolden);
  if (n <= kFullShuffle) return encrypt(key, n, i);
  const std::int64_t window = i / kShuffleWindow;
  const std::int64_t window_size = std::min(kShuffleWindow, n - window * kShuffleWindow);
  const std::uint64_t window_key = mix64(key + static_cast<std::uint64_t>(window + 1) * kGolden);
  const std::int64_t at = window * kShuffleWindow + encrypt(window_key, window_size, i % kShuffleWindow);
  const std::int64_t blocks = n / kShuffleBlock, block = at / kShuffleBlock;  // whole ones; the rest stays at the end,
  const std::int64_t moved = block < blocks ? encrypt(key, blocks, block) : block;
  const std::int64_t rotation = random_below(key, kShufflePurpose, 0, n);  // which is another part of the data each epoch
  return (moved * kShuffleBlock + at % kShuffleBlock + rotation) % n;
}

std::int64_t random_below(std::uint64_t seed, std::uint64_t purpose, std::uint64_t counter, std::int64_t n) {
  require(n >= 1, "random_below", "n is below 1");
  const kernels::PhiloxBlock block =
      kernels::philox(kernels::philox_key(seed, purpose),
                      {{0, 0, static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32)}});
  const std::uint64_t bits = std::uint64_t{block.w[0]} << 32 | block.w[1];
  return static_cast<std::int64_t>(scale(bits, static_cast<std::uint64_t>(n)));
}

}  // namespace tradewind::runtime
