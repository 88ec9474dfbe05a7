// What is asked for at the positions of a training sample.
//
//   next         a sample is a user; every item of its window is asked for what came after it (Kang & McAuley 2018,
//                section III-A)
//   prefixes     a sample is a training event but a user's first; the last of the items before it is asked for it (Hidasi et
//   al.
//                2016; RecBole). An epoch has as many samples as there are targets
//   masked > 0   a sample is a user; that share of the items of its window is hidden behind the mask, and asked for (Sun et al.
//                2019, section 3.6). Which ones is drawn by Philox keyed by running sample and position, whatever batch or rank
//                the sample comes in; where it would be none, the item with the smallest number is
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tradewind::runtime {

struct SequenceTargets {
  bool prefixes = false;
  double masked = 0;

  /// Not every row has a target.
  bool sparse() const { return prefixes || masked > 0; }
  /// The most items of a history that a sample of `context` rows is made of.
  std::int64_t window(std::int64_t context) const { return masked > 0 ? context : context + 1; }
};

/// A sample's rows; a target of -100 is none.
struct SampleRows {
  std::vector<std::int32_t> ids, targets;
};

/// `window`: at least two items, in time order. `mask`: the id that hides.
SampleRows rows_of(std::span<const std::int32_t> window, const SequenceTargets& wanted, std::int32_t mask, std::uint64_t seed,
                   std::uint64_t sample);

}  // namespace tradewind::runtime
