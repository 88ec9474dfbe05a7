// A stream of token ids: in memory, or in a file that is read where it is needed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tradewind::runtime {

/// Safe to read from several threads.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual std::int64_t size() const = 0;
  /// The tokens from `begin` on, as many as `ids` holds. Throws DataError where they cannot be read.
  virtual void read(std::int64_t begin, std::span<std::int32_t> ids) const = 0;
};

/// Two bytes an id are enough for this vocabulary.
constexpr bool fits_two_bytes(std::int64_t vocabulary_size) { return vocabulary_size <= 65536; }

/// Token ids in memory, two bytes each where the vocabulary allows.
class TokenArray final : public TokenSource {
 public:
  explicit TokenArray(std::int64_t vocabulary_size) : narrow_(fits_two_bytes(vocabulary_size)) {}
  void append(std::span<const std::int32_t> ids);
  std::int64_t size() const override { return static_cast<std::int64_t>(narrow_ ? short_.size() : long_.size()); }
  void read(std::int64_t begin, std::span<std::int32_t> ids) const override;
  std::int32_t operator[](std::int64_t i) const {
    return narrow_ ? short_[static_cast<std::size_t>(i)] : long_[static_cast<std::size_t>(i)];
  }

 private:
  bool narrow_;
  std::vector<std::uint16_t> short_;
  std::vector<std::int32_t> long_;
};

}  // namespace tradewind::runtime
