#include "runtime/data/item_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "runtime/data/corpus_parts.h"
#include "runtime/data/event_log.h"
#include "runtime/data/table_stream.h"

namespace tradewind::runtime {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Around values of a list.
std::string_view without_blanks(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

class Reader {
 public:
  Reader(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink)
      : config_(config), items_(items), sink_(sink), there_(index(items.size()), false) {
    wanted_.push_back({config.items_key.empty() ? config.item_key : config.items_key,
                       config.items_key.empty() ? "data.item_key" : "data.items_key", true});
    out_.columns = item_columns_of(config);
    for (ItemColumn& column : out_.columns) {
      wanted_.push_back(
          {.name = column.name, .key = column.number ? "data.item_number_columns" : "data.item_columns", .attribute = true});
      column.number ? column.numbers.resize(there_.size()) : column.ids.resize(there_.size());
    }
  }

  ItemTable read() {
    const TableOptions options{.format = config_.items_format == "auto"
                                             ? table_format_of_name(config_.items, "data.items_format")
                                             : table_format(config_.items_format, config_.items),
                               .comment = config_.comment,
                               .path_key = "data.items"};
    TableStream table(config_.items, options, wanted_);
    while (table.next(sink_)) read_row(table);
    for (std::int32_t i = items_.buckets(); i < items_.size(); ++i)
      if (!there_[index(i)]) out_.absent.push_back(i);
    out_.present = std::ranges::count(there_, true);
    return std::move(out_);
  }

 private:
  void read_row(const TableStream& table) {
    if (!is_id(table) || !is_new(table)) return;
    const std::int32_t item = items_.find(table[0]);
    if (item < 0)
      ++out_.others;
    else
      there_[index(item)] = true;
    for (std::size_t c = 0; c < out_.columns.size(); ++c) {
      if (out_.columns[c].number)
        read_number(table, c, item);
      else
        read_values(table, c, item);
    }
  }

  bool is_id(const TableStream& table) {
    const std::string_view text = table[0];
    if (text.empty())
      sink_.report(table.problem(0, "empty_id", "the id of the item is empty", "Give every item its id, or leave the row out"));
    else if (text.size() > kLongestId)
      report_long(table, 0, text, "the id of the item");
    return !text.empty() && text.size() <= kLongestId;
  }

  void report_long(const TableStream& table, std::size_t place, std::string_view text, const std::string& what) {
    sink_.report(table.problem(place, "long_id",
                               fmt::format("{} has {} bytes, where {} are the most", what,
                                           with_commas(static_cast<std::int64_t>(text.size())), with_commas(kLongestId)),
                               "Is it the right column, and is every quote closed?"));
  }

  bool is_new(const TableStream& table) {
    const std::int32_t before = seen_.size(), id = seen_.add(table[0]);
    if (id == before) {
      lines_.push_back(table.line());
      return true;
    }
    sink_.report(table.problem(
        0, "item_twice",
        fmt::format("the item \"{}\" is there twice, first in line {}", table[0].substr(0, 60), lines_[index(id)]),
        "Leave one row of each item; several values of a column go into one field "
        "(data.list_separator)"));
    return false;
  }

  void read_number(const TableStream& table, std::size_t c, std::int32_t item) {
    const std::string_view text = table[c + 1];
    if (text.empty()) return;
    const auto number = finite_number(text);
    if (!number)
      sink_.report(table.problem(
          c + 1, "number",
          fmt::format("{} in the column \"{}\" is not a finite number",
                      text.find(kListSeparator) == std::string_view::npos ? fmt::format("\"{}\"", text.substr(0, 40))
                                                                          : "an array of several values",
                      out_.columns[c].name),
          "Write numbers as 4 or 4.5, and nothing where there is none; a column of texts goes into data.item_columns"));
    else if (item >= 0)
      out_.columns[c].numbers[index(item)] = number;
  }

  void read_values(const TableStream& table, std::size_t c, std::int32_t item) {
    const std::string_view rest = table[c + 1];
    if (rest.empty()) return;
    ItemColumn& column = out_.columns[c];
    const std::string& separator = config_.list_separator;
    for (std::size_t at = 0; at != std::string_view::npos;) {
      const std::size_t of_array = rest.find(kListSeparator, at);
      const std::size_t named = separator.empty() ? std::string_view::npos : rest.find(separator, at);
      const std::size_t end = std::min(of_array, named);
      std::string_view value = rest.substr(at, end == std::string_view::npos ? end : end - at);
      if (end == std::string_view::npos)
        at = end;
      else
        at = end + (end == named ? separator.size() : 1);
      if (!separator.empty()) value = without_blanks(value);
      if (value.size() > kLongestId) return report_long(table, c + 1, value, fmt::format("a value of \"{}\"", column.name));
      if (!value.empty() && item >= 0) column.ids[index(item)].push_back(column.names.add(value, 0));
    }
  }

  const InteractionsConfig& config_;
  const Vocabulary& items_;
  ProblemSink& sink_;
  std::vector<WantedColumn> wanted_;
  ItemTable out_;
  std::vector<bool> there_;  // [items]
  Vocabulary seen_;          // of all rows, and their lines
  std::vector<std::int64_t> lines_;
};

}  // namespace

std::vector<ItemColumn> item_columns_of(const InteractionsConfig& config) {
  std::vector<ItemColumn> out;
  for (std::string& name : column_names(config.item_columns)) out.push_back({.name = std::move(name), .number = false});
  for (std::string& name : column_names(config.item_number_columns)) out.push_back({.name = std::move(name), .number = true});
  return out;
}

ItemTable read_item_table(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink) {
  return Reader(config, items, sink).read();
}

}  // namespace tradewind::runtime
