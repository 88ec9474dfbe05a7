// What is found where every row of some data is looked at before anything is trained on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

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
  std::int64_t rows = 0;                          // that could be read; of a text, its documents
  std::int64_t events = 0, users = 0, items = 0;  // of the rows without errors, as training would see them
  std::string summary;                            // lines about the same; "" where it would not load

  /// It would load.
  bool good() const { return std::ranges::none_of(findings, &Finding::error); }
};

/// Counts problems by kind and keeps the first of each.
class Findings final : public ProblemSink {
 public:
  explicit Findings(std::size_t examples) : examples_(examples) {}

  void report(const DataProblem& problem) override {
    add(problem.kind, true, [&] { return problem; });
  }
  /// Runs `read`, and what ends it is a finding too.
  template <class Read>
  void report_what_ends(const Read& read) {
    try {
      read();
    } catch (const ProblemError& error) {
      report(error.problem());
    } catch (const DataError& error) {  // of the file as a whole: it cannot be opened, its archive is broken
      report({.kind = "file", .file = {}, .what = error.what(), .repair = {}});
    }
  }
  /// What is no error. `describe` gives the problem; it is asked only where the problem is kept.
  template <class Describe>
  void warn(const char* kind, const Describe& describe) {
    add(kind, false, describe);
  }
  std::vector<Finding> finish() {
    std::stable_partition(findings_.begin(), findings_.end(), [](const Finding& finding) { return finding.error; });
    return std::move(findings_);
  }

 private:
  template <class Describe>
  void add(const std::string& kind, bool error, const Describe& describe) {
    auto at = std::ranges::find(findings_, kind, &Finding::kind);
    if (at == findings_.end()) at = findings_.insert(at, {.kind = kind, .error = error, .count = 0, .examples = {}});
    if (++at->count <= static_cast<std::int64_t>(examples_)) at->examples.push_back(describe());
  }

  std::size_t examples_;
  std::vector<Finding> findings_;
};

}  // namespace tradewind::runtime
