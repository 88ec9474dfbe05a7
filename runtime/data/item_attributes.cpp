#include "runtime/data/item_attributes.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/event_log.h"
#include "runtime/data/item_table.h"

namespace tradewind::runtime {
namespace {

constexpr std::string_view kMagic = "TWATTRS1", kUpTo = "up to ";

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

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

/// What is said of a column. `buckets` of the items are shared rows, which are no items.
std::string describe(const AttributeColumn& column, std::int64_t rare, std::int32_t buckets) {
  std::int64_t without = 0;
  for (std::size_t i = index(buckets) + 1; i < column.offsets.size(); ++i)
    without += column.offsets[i] == column.offsets[i - 1] ? 1 : 0;
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
AttributeColumn of_values(ItemColumn& read, const InteractionsConfig& config, const AttributeColumn* existing,
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
std::vector<double> ends_of(const ItemColumn& read, std::int64_t ranges) {
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
    out.push_back(finite_number(column.values.name(i).substr(kUpTo.size())).value_or(std::numeric_limits<double>::quiet_NaN()));
  return out;
}

AttributeColumn of_numbers(const ItemColumn& read, const InteractionsConfig& config, const AttributeColumn* existing) {
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

void check_columns(const InteractionsConfig& config, const ItemAttributes& existing) {
  const bool same = std::ranges::equal(
      item_columns_of(config), existing.columns,
      [](const ItemColumn& a, const AttributeColumn& b) { return a.name == b.name && a.number == b.number; });
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
  if (n > 0) std::memcpy(out.data(), bytes.data(), n * sizeof(T));  // neither may be null
  bytes.remove_prefix(n * sizeof(T));
  return out;
}

}  // namespace

ItemAttributes load_item_attributes(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink,
                                    const ItemAttributes* existing) {
  if (existing != nullptr) check_columns(config, *existing);
  ItemTable table = read_item_table(config, items, sink);
  if (table.present == 0)
    throw ProblemError(
        {.kind = "other_items",
         .file = config.items,
         .what = fmt::format("none of the {} items of the events is in it", with_commas(items.size() - items.buckets())),
         .repair = "Set data.items_key to the column whose ids are those of data.item_key"});
  ItemAttributes out;
  out.absent = std::move(table.absent);
  out.summary = fmt::format("{}: {} items of the events", config.items, with_commas(table.present));
  if (!out.absent.empty())
    out.summary +=
        fmt::format("; {} others are not in it and have no values", with_commas(static_cast<std::int64_t>(out.absent.size())));
  if (table.others > 0) out.summary += fmt::format("; {} rows of items without events", with_commas(table.others));
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    ItemColumn& read = table.columns[c];
    const AttributeColumn* const before = existing == nullptr ? nullptr : &existing->columns[c];
    std::int64_t rare = 0;
    out.columns.push_back(read.number ? of_numbers(read, config, before) : of_values(read, config, before, rare));
    out.summary += describe(out.columns.back(), rare, items.buckets());
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
  for (const AttributeColumn& column : out.columns) {
    const auto& offsets = column.offsets;
    if (offsets.empty() || offsets.front() != 0 || offsets.back() != static_cast<std::int64_t>(column.codes.size()) ||
        !std::ranges::is_sorted(offsets) ||
        std::ranges::any_of(column.codes, [&](std::int32_t code) { return code < 0 || code >= column.values.size(); }))
      fail("the values of items are not in order");
  }
  return out;
}

}  // namespace tradewind::runtime
