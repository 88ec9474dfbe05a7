// Every row of a table of events looked at before anything is trained on it.
#pragma once

#include <cstdint>

#include "runtime/data/check_report.h"
#include "runtime/data/interactions.h"

namespace tradewind::runtime {

/// Reads as load_interactions does, by the same code, but goes on behind what is wrong. Errors are what load_interactions would
/// throw. Worth a look are: events that are there twice, users too short to be tested, items that are tested and never trained
/// on, ids with blanks around them, that are like another but for capitals or that say that there is none ("null"), times
/// before 1990 or after 2100, items that the table of items lacks and columns of it with rare values alone. Throws ConfigError
/// where keys do not go together.
CheckReport check_interactions(const InteractionsConfig& config, std::uint64_t seed, std::size_t examples = 5);

}  // namespace tradewind::runtime
