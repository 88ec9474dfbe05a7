// What is wrong with a row of a table, for people, and who is told.
//
// Readers of tables tell a ProblemSink and go on behind the row where it returns. Training throws at the first problem;
// `tradewind check` collects. Both go through the same code, so what passes the check loads.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "kernels/base/error.h"

namespace tradewind::runtime {

struct DataProblem {
  std::string kind;  // in few words with underscores, for counting and for programs: "empty_id"
  std::string file;
  std::int64_t line = 0, column = 0;  // from 1, column in characters; 0: none
  std::string what;                   // no full stop at its end
  std::string repair;                 // a sentence, without its full stop

  /// "file:line:column: what. repair"
  std::string text() const {
    std::string place = file;
    if (line > 0) place += fmt::format(":{}", line);
    if (column > 0) place += fmt::format(":{}", column);
    return fmt::format("{}: {}. {}", place, what, repair);
  }
};

class ProblemSink {
 public:
  virtual ~ProblemSink() = default;
  /// Where it returns, the row is passed over.
  virtual void report(const DataProblem& problem) = 0;
};

/// Throws the first as a DataError.
class ThrowProblems final : public ProblemSink {
 public:
  void report(const DataProblem& problem) override { throw DataError(problem.text()); }
};

}  // namespace tradewind::runtime
