// The bytes of a file, decompressed as they are read.
//
// gzip, zstd and xz are told by their first bytes, not by the name; several members one after the other (as `cat a.gz b.gz` or
// pigz, pzstd and xz -T write) are one text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tradewind::runtime {

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// `head`: how the contents of file `name` begin, which config key `key` named. Throws DataError where there are none, and
/// where they are UTF-16.
void check_text_beginning(const std::string& name, std::string_view head, const std::string& key);

class ByteStream {
 public:
  /// `key` is the config key that named the file, for messages. Throws DataError: no such file, a folder, no permission.
  static std::unique_ptr<ByteStream> open(const std::filesystem::path& file, const std::string& key);
  virtual ~ByteStream();

  /// Fills as much of `out` as there is; less than all of it only at the end. Throws DataError where the archive is truncated
  /// or corrupt, naming the file and what is wrong.
  std::size_t read(std::span<char> out);
  virtual std::string compression() const = 0;  // "", "gzip", "zstd" or "xz"
  /// XXH3-64 of what was read so far, after decompression.
  std::uint64_t checksum() const;
  const std::string& name() const { return name_; }

 protected:
  class Source;  // the file as it lies on disk
  explicit ByteStream(std::unique_ptr<Source> source);
  /// At least one byte, 0 only at the end.
  virtual std::size_t produce(std::span<char> out) = 0;
  [[noreturn]] void fail(const std::string& what) const;
  Source& source() { return *source_; }

 private:
  struct Hash;
  std::unique_ptr<Source> source_;
  std::unique_ptr<Hash> hash_;
  std::string name_;
};

}  // namespace tradewind::runtime
