// Every row of a table of events looked at before anything is trained on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/data/interactions.h"
#include "runtime/data/problem.h"

namespace tradewind::runtime {

/// All problems of one kind.
struct Finding {
  std::string kind;
  bool error = true;  // it keeps the data from loading; else it is worth a look
  std::int64_t count = 0;
  std::vector<DataProblem> examples;  // the first, as many as were asked for
};

struct CheckReport {
  std::vector<Finding> findings;                  // errors first, each in the order in which its first was met
  std::int64_t rows = 0;                          // that could be read
  std::int64_t events = 0, users = 0, items = 0;  // of the rows without errors, as training would see them
  std::string summary;                            // the same, as of load_interactions; "" where they would not load

  /// It would load.
  bool good() const;
};

/// Reads as load_interactions does, by the same code, but goes on behind what is wrong. Errors are what load_interactions would
/// throw. Worth a look are: events that are there twice, users too short to be tested, items that are tested and never trained
/// on, ids with blanks around them or that say that there is none ("null"), times before 1990 or after 2100. Throws ConfigError
/// where keys do not go together.
CheckReport check_interactions(const InteractionsConfig& config, std::uint64_t seed, std::size_t examples = 5);

}  // namespace tradewind::runtime
