// What a table of items says of each item: columns of it as numbers, beside who had the item.
//
//   data.item_columns         ids and texts, compared as they stand; a field may hold several (data.list_separator), as may an
//                             array of JSON
//   data.item_number_columns  numbers, as ranges of about equally many items (data.number_ranges)
//
// A column's values are rows of a table of vectors. One that at least data.min_value_items of the items have has a row of its
// own; the others share data.value_buckets rows by their hash, as do values that are met later, when a model that is trained
// goes on with another table (the buckets of vocabulary.h). Items that the table lacks, those in the shared rows of
// data.unknown_buckets, and empty fields have no value. None of it depends on threads or ranks, nor on the order of the rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/interactions.h"
#include "runtime/data/problem.h"
#include "runtime/data/vocabulary.h"

namespace tradewind::runtime {

struct AttributeColumn {
  std::string name;
  bool number = false;                // its values are ranges: "up to 9.95", ..., "above 49"
  Vocabulary values;                  // counts: items; buckets first
  std::vector<std::int64_t> offsets;  // [items + 1]: item i has the values codes[offsets[i]] to codes[offsets[i + 1] - 1]
  std::vector<std::int32_t> codes;    // an item's ascending, each once

  std::span<const std::int32_t> of(std::int32_t item) const {
    const auto i = static_cast<std::size_t>(item);
    return std::span(codes).subspan(static_cast<std::size_t>(offsets[i]),
                                    static_cast<std::size_t>(offsets[i + 1] - offsets[i]));
  }
};

struct ItemAttributes {
  std::vector<AttributeColumn> columns;  // data.item_columns, then data.item_number_columns
  std::string summary;                   // lines for the run log; not kept
  std::vector<std::int32_t> absent;      // items with a row of their own that the table lacks; not kept

  /// All that a run keeps as bytes, little-endian: "TWATTRS1", then uint64 numbers, each before what it counts, and last
  /// XXH3-64 of all before.
  std::string serialised() const;
  /// Throws DataError naming `source` where the bytes are truncated, altered or no attributes.
  static ItemAttributes parse(std::string_view bytes, const std::string& source);
  /// The last eight bytes of serialised().
  std::uint64_t checksum() const;
};

/// Reads data.items for these items. With a model's attributes the meaning of their rows stays. Throws ConfigError where keys
/// do not go together or columns are not the model's, and DataError as TableStream does or where no item is in the table. Told
/// to `sink`, with file, line and column, and passed over: an id that is empty, an id or value that is too long, an item that
/// is there twice, what is no number in a column of numbers.
ItemAttributes load_item_attributes(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink,
                                    const ItemAttributes* existing = nullptr);

}  // namespace tradewind::runtime
