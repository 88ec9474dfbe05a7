// Sorting ids, stable, with where each came from: what gradients of lookups are summed by.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace tradewind::kernels::cpu {

inline constexpr int kRadixBits = 11;
inline constexpr std::size_t kRadixBuckets = std::size_t{1} << kRadixBits;

/// Where the sort works: `count` elements each, and kRadixBuckets of `place`.
struct RadixArrays {
  std::int32_t *ids, *other_ids;
  std::uint32_t *order, *other_order;
  std::uint32_t* place;
};

/// arrays.ids = from[0, count) in ascending order, arrays.order = `first` + which each was, ascending among equal ids. Ids are
/// in [0, V). Passes of up to 11 bits, as few as V needs.
inline void radix_sort(const RadixArrays& arrays, const std::int32_t* from, std::size_t count, std::uint32_t first,
                       std::int64_t V) {
  const int bits = std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(V, 1) - 1))));
  const int passes = (bits + kRadixBits - 1) / kRadixBits, width = (bits + passes - 1) / passes;
  const std::size_t buckets = std::size_t{1} << width;
  std::uint32_t* place = arrays.place;
  for (int pass = 0; pass < passes; ++pass) {
    const auto digit = [&](std::int32_t id) { return (static_cast<std::uint32_t>(id) >> (pass * width)) & (buckets - 1); };
    const bool home = (passes - pass) % 2 == 1;  // the last pass writes arrays.ids
    const std::int32_t* source = pass == 0 ? from : home ? arrays.other_ids : arrays.ids;
    const std::uint32_t* source_order = home ? arrays.other_order : arrays.order;
    std::int32_t* to_ids = home ? arrays.ids : arrays.other_ids;
    std::uint32_t* to_order = home ? arrays.order : arrays.other_order;
    std::fill(place, place + buckets, 0U);
    for (std::size_t n = 0; n < count; ++n) ++place[digit(source[n])];
    std::uint32_t sum = 0;
    for (std::size_t b = 0; b < buckets; ++b) sum += std::exchange(place[b], sum);
    for (std::size_t n = 0; n < count; ++n) {
      const std::uint32_t to = place[digit(source[n])]++;
      to_ids[to] = source[n];
      to_order[to] = pass == 0 ? first + static_cast<std::uint32_t>(n) : source_order[n];
    }
  }
}

}  // namespace tradewind::kernels::cpu
