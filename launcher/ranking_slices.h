// Which parts of what is held out are measured on their own: what `tradewind evaluate --slice` names.
//
//   cold-items         by the item's training events: none, fewer than evaluate.cold_items, and more
//   history            by the user's events before: none, fewer than evaluate.short_history, and more
//   item:FILE:COLUMN   by a column of a table of items, whose column of ids is named as data.item_key
//   user:FILE:COLUMN   by one of a table of users, as data.user_key
//   event:COLUMN       by one of the events themselves
//
// A column with many values becomes few: numbers four parts of equally many rows, texts the most frequent and the others.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/run_config.h"
#include "models/recommend/ranking_slices.h"
#include "runtime/data/interactions.h"

namespace tradewind::launcher {

/// A value for each row, by its place in `values`.
struct GroupedColumn {
  std::vector<std::string> values;
  std::vector<std::int32_t> of;
};

/// Rows without a value (nothing, or an empty text) are "(none)". Up to 20 distinct values stay as they are, the most frequent
/// first; of more, numbers become four parts of equally many rows ("up to 9.5", "above 9.5 to 20", ...), and of texts the 19
/// most frequent stay and the rest is "(other)".
GroupedColumn grouped(const std::vector<std::optional<std::string>>& rows);

/// A column of a table of items or users: a value for each name of `names`. Throws DataError: no such file or column (with what
/// may be meant), an empty id, an id that is there twice with two values; with file, line and column.
std::vector<std::optional<std::string>> column_by_id(const std::string& file, const std::string& id_column,
                                                     const std::string& column, const runtime::Vocabulary& names,
                                                     const std::string& option);

/// Throws ConfigError where a slice is none of the above, and as column_by_id. `interactions` must outlive the slices.
std::vector<models::TargetSlice> ranking_slices(const std::vector<std::string>& wanted, const RunConfig& config,
                                                const runtime::Interactions& interactions, runtime::Part part);

}  // namespace tradewind::launcher
