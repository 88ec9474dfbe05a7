// A row of a table in JSON lines: the wanted keys of one object, without building it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/table_stream.h"

namespace tradewind::runtime {

class TableStream::JsonRow {
 public:
  explicit JsonRow(const std::vector<WantedColumn>& wanted) : wanted_(wanted), values_(wanted.size()) {}

  struct Refusal {
    std::size_t offset;  // in the line, npos: none
    std::string kind, what, repair;
  };
  /// Nothing where the line is an object with all wanted keys.
  std::optional<Refusal> read(std::string_view line);
  /// Numbers as they are written, integers as their digits.
  const std::vector<std::string>& values() const { return values_; }
  /// Where in the line the key wanted[i] stands; its end where it cannot be found.
  std::size_t offset_of(std::string_view line, std::size_t i) const;

 private:
  const std::vector<WantedColumn>& wanted_;
  std::vector<std::string> values_;
};

}  // namespace tradewind::runtime
