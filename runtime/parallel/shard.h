// Which rank owns which elements of a bucket, and where those lie in the parameters.
//
// Rank r of n owns, of each bucket, [r * len / n, (r + 1) * len / n) with both ends rounded up to kParameterAlignment elements:
// a pure function of layout and world size. ZeRO keeps the optimiser's state of it, and a checkpoint's chunk holds it.
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

/// A part of a parameter that a rank owns: elements [begin, end) of the flattened parameter, at `flat` of the flat buffers.
struct OwnedPart {
  const Parameter* parameter;
  std::int64_t begin, end, flat;
};

/// What `rank` owns, by parameter in order of registration. A parameter without elements belongs to rank 0.
std::vector<OwnedPart> owned_parts(const ParameterStore& store, int rank, int size);

}  // namespace tradewind::runtime
