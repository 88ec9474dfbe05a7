// Ids of a shop (users, items, categories) and the numbers 0 .. n-1 that tables and kernels use.
//
// Numbers are given once and never change: a vocabulary that is stored with a run grows at its end only. One that is made of
// counts is ordered by count, the most frequent first, and by bytes where counts are equal, so that it depends neither on the
// order of a file nor on who reads it, and a table's most used rows lie together.
//
// It may have buckets: rows before all others, 0 .. buckets() - 1, which names without a row of their own share by their hash.
//
// One that was written may lie in a mapped file, where its names do not count as held in memory. What finds them by name, 16 to
// 32 bytes a name, is then made when it is first asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tradewind::runtime {

class Vocabulary {
 public:
  Vocabulary() = default;
  /// Empty but for the buckets, which are named "<unknown 0>", "<unknown 1>", ...
  explicit Vocabulary(std::int32_t buckets);
  /// The names of `names`, which has no buckets, whose count is above 0, ordered as above. `counts`: one a name.
  static Vocabulary by_count(const Vocabulary& names, std::span<const std::int64_t> counts, std::int32_t buckets = 0);

  /// The number of a name, -1 where it has none of its own. Names are bytes, compared as they are.
  std::int32_t find(std::string_view name) const;
  /// Where it has none, its bucket: XXH3-64 of the name modulo buckets(); -1 where there are no buckets.
  std::int32_t row_of(std::string_view name) const;
  /// The number of a name, which it gets where it has none; `count` is added to its count. Throws DataError where the numbers
  /// are used up (2^31 - 1).
  std::int32_t add(std::string_view name, std::int64_t count = 1);
  /// Adds to the count of the bucket of a name that has no number.
  void count_unknown(std::string_view name, std::int64_t count);

  /// Needs 0 <= id < size(). The view holds until the next add().
  std::string_view name(std::int32_t id) const;
  std::int64_t count(std::int32_t id) const { return counts()[static_cast<std::size_t>(id)]; }
  std::span<const std::int64_t> counts() const;
  std::int32_t size() const { return static_cast<std::int32_t>(counts().size()); }  // with the buckets
  std::int32_t buckets() const { return buckets_; }
  bool is_bucket(std::int32_t id) const { return id < buckets_; }
  /// [size()], 0 for a bucket, which nobody can be given, and else 1; empty where there are no buckets.
  std::vector<std::uint8_t> candidates() const;

  /// All of it as bytes, little-endian: "TWVOCAB1", uint64 n, int64 counts[n], uint64 ends[n] of the names, their bytes,
  /// XXH3-64 of all before. Names may hold any byte. With buckets, which are among the n: "TWVOCAB2", uint64 n, uint64 buckets,
  /// and so on.
  std::string serialised() const;
  /// Throws DataError naming `source` where the bytes are truncated, altered or not a vocabulary.
  static Vocabulary parse(std::string_view bytes, const std::string& source);
  /// The same where they lie, which is at a multiple of 8 in memory that `owner` keeps. It is copied when a name is added.
  static Vocabulary mapped(std::string_view bytes, std::shared_ptr<const void> owner, const std::string& source);
  /// What a mapped one lies in: serialised(). Empty of others.
  std::string_view mapped_bytes() const;
  /// The last eight bytes of serialised().
  std::uint64_t checksum() const;

 private:
  struct Mapped;
  struct Slot {
    std::uint32_t tag = 0;  // the hash's high half, which spares most comparisons of names
    std::int32_t id = -1;
  };
  template <class Take>
  void each_piece(const Take& take) const;
  std::span<const std::uint64_t> ends() const;
  std::string_view names() const;
  const std::vector<Slot>& slots() const;
  std::size_t slot_of(const std::vector<Slot>& slots, std::string_view name, std::uint64_t hash) const;
  std::vector<Slot> slots_of_all(std::size_t count) const;
  void append(std::string_view name);
  void own();

  std::int32_t buckets_ = 0;
  std::shared_ptr<const Mapped> mapped_;  // else null, and what follows is used
  std::string bytes_;                     // the names, one behind the other
  std::vector<std::uint64_t> ends_;       // of each name in bytes_
  std::vector<std::int64_t> counts_;
  std::vector<Slot> slots_;  // open addressing, at most half full; without the buckets
};

/// Writes what serialised() is, of a vocabulary without buckets whose names come in order.
class VocabularyWriter {
 public:
  /// `names` of `name_bytes` in all.
  static std::size_t bytes(std::uint64_t names, std::uint64_t name_bytes);
  /// Into `memory` of bytes(names, ...).
  VocabularyWriter(std::span<char> memory, std::uint64_t names);
  void add(std::string_view name, std::int64_t count);
  /// After the last.
  void finish();

 private:
  std::span<char> memory_;
  std::uint64_t names_, added_ = 0, end_ = 0;
};

}  // namespace tradewind::runtime
