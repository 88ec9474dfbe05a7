// What is wrong with a row of a table, for people, and who is told.
//
// Readers of tables tell a ProblemSink and go on behind the row where it returns. Training throws at the first problem;
// `tradewind check` collects. Both go through the same code, so what passes the check loads.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>

#include "kernels/base/error.h"

namespace tradewind::runtime {

struct DataProblem {
  std::string kind;  // in few words with underscores, for counting and for programs: "empty_id"
  std::string file;
  std::int64_t line = 0, column = 0;  // from 1, column in characters; 0: none
  std::string what;                   // a sentence without its full stop
  std::string repair;                 // a sentence, without its full stop

  /// "file:line:column"
  std::string place() const {
    std::string out = file;
    if (line > 0) out += fmt::format(":{}", line);
    if (column > 0) out += fmt::format(":{}", column);
    return out;
  }
  /// "file:line:column: what. repair"; what there is of it.
  std::string text() const {
    const std::string at = place();
    const char* const end = repair.empty() ? "" : what.ends_with('?') ? " " : ". ";
    return fmt::format("{}{}{}{}{}", at, at.empty() ? "" : ": ", what, end, repair);
  }
};

class ProblemSink {
 public:
  virtual ~ProblemSink() = default;
  /// Where it returns, the row is passed over.
  virtual void report(const DataProblem& problem) = 0;
};

/// A problem that ended the reading, as an exception.
class ProblemError : public DataError {
 public:
  explicit ProblemError(DataProblem problem) : DataError(problem.text()), problem_(std::move(problem)) {}
  const DataProblem& problem() const { return problem_; }

 private:
  DataProblem problem_;
};

/// Throws the first.
class ThrowProblems final : public ProblemSink {
 public:
  void report(const DataProblem& problem) override { throw ProblemError(problem); }
};

}  // namespace tradewind::runtime
