// Draws from a discrete distribution in constant time: Walker 1977, built as Vose 1991 does, in integers.
//
// Weights are rounded to integers w of about 2^32 in all, at least 1 where they are above 0, and number i is drawn with the
// probability w[i] / sum w: that, not the weights that were given, is what log_probability() says, so a correction by it is
// exact. Integers make the table the same on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tradewind::runtime {

class AliasTable {
 public:
  AliasTable() = default;
  /// Weights must be finite and not negative, and one above 0; at most 2^31 of them.
  explicit AliasTable(std::span<const double> weights);

  /// `column` and `threshold`: 64 random bits each.
  std::int32_t draw(std::uint64_t column, std::uint64_t threshold) const;
  std::int64_t size() const { return static_cast<std::int64_t>(columns_.size()); }
  /// [size()], the natural logarithms. What is never drawn has that of the smallest weight there could be, so that it is
  /// finite.
  std::vector<float> log_probability() const;

 private:
  struct Column {
    std::uint64_t own = 0;    // of total_, what falls to the column's own number
    std::int32_t other = -1;  // the rest falls to
  };
  std::vector<Column> columns_;
  std::vector<std::uint64_t> weights_;
  std::uint64_t total_ = 0;
};

/// Below n: the high half of their product (Lemire 2019), so off from uniform by at most n / 2^64.
inline std::uint64_t below(std::uint64_t bits, std::uint64_t n) {
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(bits) * n >> 64);
}

}  // namespace tradewind::runtime
