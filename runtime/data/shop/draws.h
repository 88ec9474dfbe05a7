// Random numbers for made-up data: a sequence for each purpose and subject, whose position is an integer.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernels/base/philox.h"

namespace tradewind::runtime::shop {

/// What numbers are drawn for. Those of one purpose do not move those of another: more reviews leave the views as they are.
enum class Purpose : std::uint64_t {
  kOfItems = 0x53484F5001,  // "SHOP", 1
  kOfNeeds,
  kOfTraits,
  kOfVisits,
  kOfViews,
  kOfConduct,
  kOfPromotions,
  kOfImpressions,
  kOfChurn,
  kOfSearches,
  kOfQuestions,
  kOfReviews,
  kOfText,
};

/// Philox blocks of (seed, purpose, subject) from `block` on, four words each.
class Draws {
 public:
  Draws(std::uint64_t seed, Purpose purpose, std::uint64_t subject, std::uint64_t block = 0)
      : key_(kernels::philox_key(seed, static_cast<std::uint64_t>(purpose))), subject_(subject), block_(block) {}

  /// Where another Draws goes on behind all that was drawn here.
  std::uint64_t next_block() const { return block_; }

  std::uint32_t word() {
    if (left_ == 0) {
      now_ = kernels::philox(key_, {{static_cast<std::uint32_t>(block_), static_cast<std::uint32_t>(block_ >> 32),
                                     static_cast<std::uint32_t>(subject_), static_cast<std::uint32_t>(subject_ >> 32)}});
      ++block_;
      left_ = 4;
    }
    return now_.w[4 - left_--];
  }
  /// In (0, 1).
  double uniform() { return (static_cast<double>(word()) + 0.5) * 0x1p-32; }
  bool chance(double probability) { return uniform() < probability; }
  /// In [0, n), n up to 2^32: off from uniform by n / 2^32 at most.
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(uniform() * static_cast<double>(n)); }
  double exponential() { return -std::log(uniform()); }
  double normal() {
    const double radius = std::sqrt(2 * exponential());
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  kernels::PhiloxKey key_;
  std::uint64_t subject_, block_;
  kernels::PhiloxBlock now_{};
  int left_ = 0;
};

}  // namespace tradewind::runtime::shop
