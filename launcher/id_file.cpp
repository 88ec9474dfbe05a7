#include "launcher/id_file.h"

#include "kernels/base/error.h"
#include "runtime/data/table_stream.h"

namespace tradewind::launcher {

std::vector<std::vector<std::string>> read_columns(const std::filesystem::path& file, const std::vector<std::string>& columns,
                                                   const std::string& option, std::size_t ids) {
  runtime::TableOptions options;
  options.format = runtime::table_format_of_name(file, option);
  options.path_key = option;
  std::vector<runtime::WantedColumn> wanted;
  wanted.reserve(columns.size());
  for (const auto& column : columns) wanted.push_back({column, option, true});
  runtime::TableStream rows(file, options, wanted);
  runtime::ThrowProblems sink;
  std::vector<std::vector<std::string>> out;
  while (rows.next(sink)) {
    auto& row = out.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (i < ids && rows[i].empty())
        sink.report(rows.problem(i, "empty_id", "the id is empty", "Give one, or leave the row out"));
      row.emplace_back(rows[i]);
    }
  }
  return out;
}

std::vector<std::string> read_ids(const std::filesystem::path& file, const std::string& column, const std::string& option) {
  std::vector<std::string> out;
  for (auto& row : read_columns(file, {column}, option, 1)) out.push_back(std::move(row[0]));
  return out;
}

}  // namespace tradewind::launcher
