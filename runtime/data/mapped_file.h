// Files as memory: what lies in them is read and written as the system sees fit, and does not count as held in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include "runtime/data/column.h"

namespace tradewind::runtime {

/// The bytes of a file, to read. Throws DataError. What was mapped stays when the file is renamed or removed.
std::pair<std::span<const std::byte>, std::shared_ptr<const void>> map_file(const std::filesystem::path& file);

/// Columns in files of a folder, which go away with the columns: names are removed at once.
class ScratchSpace final : public ColumnSpace {
 public:
  explicit ScratchSpace(std::filesystem::path folder) : folder_(std::move(folder)) {}

 protected:
  std::pair<void*, std::shared_ptr<const void>> take(std::size_t bytes) override;

 private:
  std::filesystem::path folder_;
  int count_ = 0;
};

}  // namespace tradewind::runtime
