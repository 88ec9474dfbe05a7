// Ids of a shop (users, items, categories) and the numbers 0 .. n-1 that tables and kernels use.
//
// Numbers are given once and never change: a vocabulary that is stored with a run grows at its end only. One that is made of
// counts is ordered by count, the most frequent first, and by bytes where counts are equal, so that it depends neither on the
// order of a file nor on who reads it, and a table's most used rows lie together.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tradewind::runtime {

class Vocabulary {
 public:
  /// The names of `names` whose count is above 0, ordered as above. `counts`: one a name.
  static Vocabulary by_count(const Vocabulary& names, std::span<const std::int64_t> counts);

  /// The number of a name, -1 where it has none. Names are bytes, compared as they are.
  std::int32_t find(std::string_view name) const;
  /// The number of a name, which it gets where it has none; `count` is added to its count. Throws DataError where the numbers
  /// are used up (2^31 - 1).
  std::int32_t add(std::string_view name, std::int64_t count = 1);

  /// Needs 0 <= id < size(). The view holds until the next add().
  std::string_view name(std::int32_t id) const;
  std::int64_t count(std::int32_t id) const { return counts_[static_cast<std::size_t>(id)]; }
  std::span<const std::int64_t> counts() const { return counts_; }
  std::int32_t size() const { return static_cast<std::int32_t>(counts_.size()); }

  /// All of it as bytes, little-endian: "TWVOCAB1", uint64 n, int64 counts[n], uint64 ends[n] of the names, their bytes,
  /// XXH3-64 of all before. Names may hold any byte.
  std::string serialised() const;
  /// Throws DataError naming `source` where the bytes are truncated, altered or not a vocabulary.
  static Vocabulary parse(std::string_view bytes, const std::string& source);
  /// The last eight bytes of serialised().
  std::uint64_t checksum() const;

 private:
  struct Slot {
    std::uint32_t tag = 0;  // the hash's high half, which spares most comparisons of names
    std::int32_t id = -1;
  };
  std::size_t slot_of(std::string_view name, std::uint64_t hash) const;
  void grow();

  std::string bytes_;                // the names, one behind the other
  std::vector<std::uint64_t> ends_;  // of each name in bytes_
  std::vector<std::int64_t> counts_;
  std::vector<Slot> slots_;  // open addressing, at most half full
};

}  // namespace tradewind::runtime
