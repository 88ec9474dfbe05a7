// Rows of CSV (RFC 4180) and JSON lines, and the files they go to.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>

#include "runtime/data/csv.h"  // csv_field

namespace tradewind::runtime::shop {

/// `text` between quotes, as JSON has it.
std::string json_text(std::string_view text);
/// "2025-03-01T18:04:59Z", of seconds from the first midnight of the shop, which is that of 2025 (UTC).
void append_time(std::string& row, std::int64_t time);
/// "2025-03-01"; days before the first are negative.
std::string date_text(std::int64_t day);

template <class... Arguments>
void append(std::string& row, fmt::format_string<Arguments...> pattern, Arguments&&... arguments) {
  fmt::format_to(std::back_inserter(row), pattern, std::forward<Arguments>(arguments)...);
}

/// Throws DataError naming the file where it cannot be made or written (a full disk).
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view text);
  /// All is with the system, or it throws.
  void close();
  std::int64_t bytes() const { return bytes_; }

 private:
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t bytes_ = 0;
};

}  // namespace tradewind::runtime::shop
