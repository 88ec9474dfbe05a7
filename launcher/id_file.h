// Tables of ids that verbs are given: users to recommend to, items to choose from, pairs to score.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace tradewind::launcher {

/// The values of `columns` (with or without a type behind a colon) in a CSV, TSV or JSON lines file, a vector a row, in order,
/// plain or compressed. The first `ids` columns are ids. `option` named the file, for messages. Throws DataError with file,
/// line and column: a row that is broken, an id that is empty, a column that is not there.
std::vector<std::vector<std::string>> read_columns(const std::filesystem::path& file, const std::vector<std::string>& columns,
                                                   const std::string& option, std::size_t ids);

/// The same of one column.
std::vector<std::string> read_ids(const std::filesystem::path& file, const std::string& column, const std::string& option);

}  // namespace tradewind::launcher
