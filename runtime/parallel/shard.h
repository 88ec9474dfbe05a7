// Which rank owns which elements of a bucket, and where those lie in the parameters.
//
// Rank r of n owns, of each bucket, [r * len / n, (r + 1) * len / n) with both ends rounded up to kParameterAlignment elements:
// a pure function of layout and world size. ZeRO keeps the optimiser's state of it, and a checkpoint's chunk holds it. A table
// with a sparse gradient lies in no bucket: it is cut in the same way for the checkpoint, and ZeRO leaves its state whole on
// every rank.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/parallel/parameter_store.h"

namespace tradewind::runtime {

/// Elements [begin, end) of the flat buffers; may be empty.
struct FlatRange {
  std::int64_t begin, end;
};

inline FlatRange shard_of(const Bucket& bucket, int rank, int size) {
  const std::int64_t length = bucket.end - bucket.begin, align = ParameterStore::kParameterAlignment;
  const auto at = [&](std::int64_t r) {
    return bucket.begin + std::min(length, (length * r / size + align - 1) / align * align);
  };
  return {at(rank), at(rank + 1)};
}

/// Elements of each rank's share, for collectives whose shares differ.
std::vector<std::int64_t> shares_of(const Bucket& bucket, int size);

/// A part of a parameter that a rank owns: elements [begin, end) of the flattened parameter, at `flat` of the flat buffers.
struct OwnedPart {
  const Parameter* parameter;
  std::int64_t begin, end, flat;
};

/// What `rank` owns, by parameter in order of registration. A parameter without elements belongs to rank 0.
std::vector<OwnedPart> owned_parts(const ParameterStore& store, int rank, int size);

/// The parts of the flat buffers that a rank's optimiser works on, side by side without the gaps between them.
class Shard {
 public:
  struct Part {
    FlatRange range;  // in the flat buffers
    std::int64_t at;  // of its first element in the shard
  };

  /// What `rank` of `size` owns, a part of every bucket. The store is laid out.
  static Shard of(const ParameterStore& store, int rank, int size);
  /// Everything that has a dense gradient, in one part.
  static Shard whole(const ParameterStore& store);

  const std::vector<Part>& parts() const { return parts_; }
  std::int64_t elements() const { return elements_; }
  /// Where element `flat` of the flat buffers lies in the shard, which holds it.
  std::int64_t find(std::int64_t flat) const;

 private:
  std::vector<Part> parts_;
  std::int64_t elements_ = 0;
};

}  // namespace tradewind::runtime
