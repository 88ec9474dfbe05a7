// The rows of a table of items, before their values have numbers of their own (item_attributes.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/data/interactions.h"
#include "runtime/data/problem.h"
#include "runtime/data/vocabulary.h"

namespace tradewind::runtime {

struct ItemColumn {
  std::string name;
  bool number = false;
  Vocabulary names = {};                            // its values, in the order of the rows
  std::vector<std::vector<std::int32_t>> ids = {};  // [items], of `names`, as they stand in the row; unless it is of numbers
  std::vector<std::optional<double>> numbers = {};  // [items], of a column of numbers
};

struct ItemTable {
  std::vector<ItemColumn> columns;   // data.item_columns, then data.item_number_columns
  std::vector<std::int32_t> absent;  // items with a row of their own that the table lacks
  std::int64_t present = 0;          // items that it has
  std::int64_t others = 0;           // rows of items that have no events
};

/// The columns that are asked for, without rows.
std::vector<ItemColumn> item_columns_of(const InteractionsConfig& config);

/// Reads data.items for these items. Throws and tells what is wrong as load_item_attributes does.
ItemTable read_item_table(const InteractionsConfig& config, const Vocabulary& items, ProblemSink& sink);

}  // namespace tradewind::runtime
