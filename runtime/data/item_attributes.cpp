#include "runtime/data/item_attributes.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/event_log.h"
#include "runtime/data/table_stream.h"

namespace tradewind::runtime {
namespace {

constexpr std::string_view kMagic = "TWATTRS1", kUpTo = "up to ";

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::optional<double> number_of(std::string_view text) {
  double out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(out) ? std::optional(out) : std::nullopt;
}

/// Around values of a list.
std::string_view without_blanks(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

/// What the rows say of the items, before values have numbers of their own.
struct ReadColumn {
  std::string name;
  bool number;
  Vocabulary names;                            // in the order of the rows
  std::vector<std::vector<std::int32_t>> ids;  // [items], of `names`
  std::vector<std::optional<double>> numbers;  // [items], of a column of numbers
};

class Reader {
 public:
  Reader(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink)
      : config_(config), items_(items), sink_(sink), there_(index(items.size()), false) {
    wanted_.push_back({config.items_key.empty() ? config.item_key : config.items_key,
                       config.items_key.empty() ? "data.item_key" : "data.items_key", true});
    const auto want = [&](const std::string& names, const char* key, bool number) {
      for (const std::string& name : column_names(names)) {
        wanted_.push_back({.name = name, .key = key, .attribute = true});
        columns_.push_back({.name = name,
                            .number = number,
                            .names = {},
                            .ids = std::vector<std::vector<std::int32_t>>(number ? 0 : index(items.size())),
                            .numbers = std::vector<std::optional<double>>(number ? index(items.size()) : 0)});
      }
    };
    want(config.item_columns, "data.item_columns", false);
    want(config.item_number_columns, "data.item_number_columns", true);
  }

  void read() {
    const TableOptions options{.format = config_.items_format == "auto"
                                             ? table_format_of_name(config_.items, "data.items_format")
                                             : table_format(config_.items_format, config_.items),
                               .comment = config_.comment,
                               .path_key = "data.items"};
    TableStream table(config_.items, options, wanted_);
    while (table.next(sink_)) read_row(table);
  }

  std::vector<ReadColumn>& columns() { return columns_; }
  std::int64_t others() const { return others_; }  // rows of items without events
  std::vector<std::int32_t> absent() const {
    std::vector<std::int32_t> out;
    for (std::int32_t i = items_.buckets(); i < items_.size(); ++i)
      if (!there_[index(i)]) out.push_back(i);
    return out;
  }
  std::int64_t present() const { return std::ranges::count(there_, true); }

 private:
  void read_row(const TableStream& table) {
    if (!is_id(table, 0, "the id of the item") || !is_new(table)) return;
    const std::int32_t item = items_.find(table[0]);
    if (item < 0)
      ++others_;
    else
      there_[index(item)] = true;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].number)
        read_number(table, c, item);
      else
        read_values(table, c, item);
    }
  }

  bool is_id(const TableStream& table, std::size_t place, const std::string& what) {
    const std::string_view text = table[place];
    if (text.empty()) {
      sink_.report(table.problem(place, "empty_id", what + " is empty", "Give every item its id, or leave the row out"));
      return false;
    }
    if (text.size() <= kLongestId) return true;
    sink_.report(table.problem(place, "long_id",
                               fmt::format("{} has {} bytes, where {} are the most", what,
                                           with_commas(static_cast<std::int64_t>(text.size())), with_commas(kLongestId)),
                               "Is it the right column, and is every quote closed?"));
    return false;
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
    const auto number = number_of(text);
    if (!number)
      sink_.report(
          table.problem(c + 1, "number",
                        fmt::format("\"{}\" in the column \"{}\" is not a finite number", text.substr(0, 40), columns_[c].name),
                        "Write numbers as 4 or 4.5, and nothing where there is none; a column of texts goes into "
                        "data.item_columns"));
    else if (item >= 0)
      columns_[c].numbers[index(item)] = number;
  }

  void read_values(const TableStream& table, std::size_t c, std::int32_t item) {
    std::string_view rest = table[c + 1];
    if (rest.empty()) return;
    if (rest.size() > kLongestId) {
      is_id(table, c + 1, fmt::format("the value of \"{}\"", columns_[c].name));
      return;
    }
    if (item < 0) return;
    const std::string separators = config_.list_separator + kListSeparator;
    for (std::size_t at = 0; at != std::string_view::npos;) {
      const std::size_t end = rest.find_first_of(separators, at);
      std::string_view value = rest.substr(at, end == std::string_view::npos ? end : end - at);
      at = end == std::string_view::npos ? end : end + 1;
      if (!config_.list_separator.empty()) value = without_blanks(value);
      if (!value.empty()) columns_[c].ids[index(item)].push_back(columns_[c].names.add(value, 0));
    }
  }

  const InteractionsConfig& config_;
  const Vocabulary& items_;
  ProblemSink& sink_;
  std::vector<WantedColumn> wanted_;
  std::vector<ReadColumn> columns_;
  std::vector<bool> there_;  // [items]
  Vocabulary seen_;          // of all rows, and their lines
  std::vector<std::int64_t> lines_;
  std::int64_t others_ = 0;
};

void keep_each_once(std::vector<std::int32_t>& ids) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

/// Adds the codes of each item.
void fill(AttributeColumn& column, std::vector<std::vector<std::int32_t>>& codes) {
  column.offsets.push_back(0);
  for (auto& of_item : codes) {
    keep_each_once(of_item);
    column.codes.insert(column.codes.end(), of_item.begin(), of_item.end());
    column.offsets.push_back(static_cast<std::int64_t>(column.codes.size()));
  }
}

/// What is said of a column, behind its name.
std::string describe(const AttributeColumn& column, std::int64_t rare) {
  std::int64_t without = 0;
  for (std::size_t i = 1; i < column.offsets.size(); ++i) without += column.offsets[i] == column.offsets[i - 1] ? 1 : 0;
  const std::int64_t rows = column.values.size() - column.values.buckets();
  std::string out = fmt::format("\nattribute {}: {} {}", column.name, with_commas(rows), column.number ? "ranges" : "values");
  if (rare > 0)
    out += column.values.buckets() > 0
               ? fmt::format(", and {} rare or unknown ones that share {} rows", with_commas(rare), column.values.buckets())
               : fmt::format("; {} rare or unknown ones are left out", with_commas(rare));
  if (without > 0) out += fmt::format("; {} items without", with_commas(without));
  return out;
}

/// `rare`: how many values have no row of their own.
AttributeColumn of_values(ReadColumn& read, const InteractionsConfig& config, const AttributeColumn* existing,
                          std::int64_t& rare) {
  AttributeColumn out{.name = read.name, .number = false, .values = {}, .offsets = {}, .codes = {}};
  std::vector<std::int64_t> count(index(read.names.size()));
  for (auto& ids : read.ids) {
    keep_each_once(ids);
    for (const std::int32_t id : ids) ++count[index(id)];
  }
  if (existing != nullptr) {
    out.values = existing->values;
  } else {
    auto common = count;
    for (std::int64_t& n : common) n = n < config.min_value_items ? 0 : n;
    out.values = Vocabulary::by_count(read.names, common, static_cast<std::int32_t>(config.value_buckets));
  }
  std::vector<std::int32_t> row(count.size());
  for (std::int32_t id = 0; id < read.names.size(); ++id) {
    row[index(id)] = out.values.row_of(read.names.name(id));
    if (row[index(id)] >= out.values.buckets()) continue;
    ++rare;
    if (existing == nullptr && out.values.buckets() > 0) out.values.count_unknown(read.names.name(id), count[index(id)]);
  }
  for (auto& ids : read.ids) {
    for (std::int32_t& id : ids) id = row[index(id)];
    std::erase(ids, -1);
  }
  fill(out, read.ids);
  return out;
}

/// The largest number of each range but the last, which is open.
std::vector<double> ends_of(const ReadColumn& read, std::int64_t ranges) {
  std::vector<double> sorted, out;
  for (const auto& number : read.numbers)
    if (number) sorted.push_back(*number);
  std::ranges::sort(sorted);
  const auto n = static_cast<std::int64_t>(sorted.size());
  for (std::int64_t q = 1; q < ranges && n > 0; ++q) {
    const double end = sorted[index(std::max<std::int64_t>((q * n + ranges - 1) / ranges - 1, 0))];
    if (end < sorted.back() && (out.empty() || end > out.back())) out.push_back(end);
  }
  return out;
}

/// The same, of a model's ranges.
std::vector<double> ends_of(const AttributeColumn& column) {
  std::vector<double> out;
  for (std::int32_t i = 0; i + 1 < column.values.size(); ++i)
    out.push_back(number_of(column.values.name(i).substr(kUpTo.size())).value_or(std::numeric_limits<double>::quiet_NaN()));
  return out;
}

AttributeColumn of_numbers(const ReadColumn& read, const InteractionsConfig& config, const AttributeColumn* existing) {
  AttributeColumn out{.name = read.name, .number = true, .values = {}, .offsets = {}, .codes = {}};
  const auto ends = existing == nullptr ? ends_of(read, config.number_ranges) : ends_of(*existing);
  for (const double end : ends) out.values.add(fmt::format("{}{}", kUpTo, end), 0);
  out.values.add(ends.empty() ? "any number" : fmt::format("above {}", ends.back()), 0);
  std::vector<std::vector<std::int32_t>> codes(read.numbers.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (!read.numbers[i]) continue;
    codes[i].push_back(static_cast<std::int32_t>(std::ranges::lower_bound(ends, *read.numbers[i]) - ends.begin()));
    out.values.add(out.values.name(codes[i][0]), 1);
  }
  if (existing != nullptr) out.values = existing->values;
  fill(out, codes);
  return out;
}

void check_columns(const std::vector<ReadColumn>& read, const ItemAttributes& existing) {
  const bool same = std::ranges::equal(read, existing.columns, [](const ReadColumn& a, const AttributeColumn& b) {
    return a.name == b.name && a.number == b.number;
  });
  if (same) return;
  std::string names;
  for (const AttributeColumn& column : existing.columns) names += (names.empty() ? "" : " ") + column.name;
  throw ConfigError(fmt::format(
      "data.item_columns and data.item_number_columns: the model's are \"{}\", in this order. Set them back, or train anew "
      "with --fresh",
      names));
}

template <class T>
void put(std::string& out, std::span<const T> values) {
  const std::uint64_t n = values.size();
  out.append(reinterpret_cast<const char*>(&n), sizeof n);
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

/// Takes what put() wrote from the front of `bytes`; throws std::out_of_range where it is not there.
template <class T>
std::vector<T> take(std::string_view& bytes) {
  std::uint64_t n = 0;
  if (bytes.size() < sizeof n) throw std::out_of_range("attributes");
  std::memcpy(&n, bytes.data(), sizeof n);
  bytes.remove_prefix(sizeof n);
  if (n > bytes.size() / sizeof(T)) throw std::out_of_range("attributes");
  std::vector<T> out(n);
  std::memcpy(out.data(), bytes.data(), n * sizeof(T));
  bytes.remove_prefix(n * sizeof(T));
  return out;
}

}  // namespace

ItemAttributes load_item_attributes(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink,
                                    const ItemAttributes* existing) {
  Reader reader(config, items, sink);
  if (existing != nullptr) check_columns(reader.columns(), *existing);
  reader.read();
  if (reader.present() == 0)
    throw ProblemError(
        {.kind = "other_items",
         .file = config.items,
         .what = fmt::format("none of the {} items of the events is in it", with_commas(items.size() - items.buckets())),
         .repair = "Set data.items_key to the column whose ids are those of data.item_key"});
  ItemAttributes out;
  out.absent = reader.absent();
  out.summary = fmt::format("{}: {} items of the events", config.items, with_commas(reader.present()));
  if (!out.absent.empty())
    out.summary +=
        fmt::format("; {} others are not in it and have no values", with_commas(static_cast<std::int64_t>(out.absent.size())));
  if (reader.others() > 0) out.summary += fmt::format("; {} rows of items without events", with_commas(reader.others()));
  for (std::size_t c = 0; c < reader.columns().size(); ++c) {
    ReadColumn& read = reader.columns()[c];
    const AttributeColumn* const before = existing == nullptr ? nullptr : &existing->columns[c];
    std::int64_t rare = 0;
    out.columns.push_back(read.number ? of_numbers(read, config, before) : of_values(read, config, before, rare));
    out.summary += describe(out.columns.back(), rare);
  }
  return out;
}

std::string ItemAttributes::serialised() const {
  std::string out(kMagic);
  const std::uint64_t n = columns.size();
  out.append(reinterpret_cast<const char*>(&n), sizeof n);
  for (const AttributeColumn& column : columns) {
    const std::string values = column.values.serialised();
    const std::uint8_t number = column.number ? 1 : 0;
    put(out, std::span<const char>(column.name));
    put(out, std::span(&number, 1));
    put(out, std::span<const char>(values));
    put(out, std::span<const std::int64_t>(column.offsets));
    put(out, std::span<const std::int32_t>(column.codes));
  }
  const std::uint64_t sum = XXH3_64bits(out.data(), out.size());
  return out.append(reinterpret_cast<const char*>(&sum), sizeof sum);
}

std::uint64_t ItemAttributes::checksum() const {
  const std::string bytes = serialised();
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data() + bytes.size() - sizeof out, sizeof out);
  return out;
}

ItemAttributes ItemAttributes::parse(std::string_view bytes, const std::string& source) {
  const auto fail = [&](const char* what) {
    throw DataError(fmt::format("{}: {}. Take the file from where it was written once more", source, what));
  };
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  if (!bytes.starts_with(kMagic)) fail("no attributes of items (they do not begin with \"TWATTRS1\")");
  if (bytes.size() < kMagic.size() + 2 * kWord) fail("the attributes of items are truncated");
  std::uint64_t sum = 0, n = 0;
  std::memcpy(&sum, bytes.data() + bytes.size() - kWord, kWord);
  bytes.remove_suffix(kWord);
  if (XXH3_64bits(bytes.data(), bytes.size()) != sum) fail("the attributes of items are truncated or altered (checksum)");
  std::memcpy(&n, bytes.data() + kMagic.size(), kWord);
  bytes.remove_prefix(kMagic.size() + kWord);
  ItemAttributes out;
  try {
    for (std::uint64_t c = 0; c < n; ++c) {
      const auto name = take<char>(bytes);
      const auto number = take<std::uint8_t>(bytes);
      const auto values = take<char>(bytes);
      out.columns.push_back({.name = {name.begin(), name.end()},
                             .number = number.at(0) != 0,
                             .values = Vocabulary::parse({values.data(), values.size()}, source),
                             .offsets = take<std::int64_t>(bytes),
                             .codes = take<std::int32_t>(bytes)});
    }
  } catch (const std::out_of_range&) {
    fail("the attributes of items are shorter than they say");
  }
  return out;
}

}  // namespace tradewind::runtime
