// The page that `tradewind report` writes: what is known of one or several runs, without anything outside the page.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/train/run_record.h"

namespace tradewind::launcher {

struct ReportCheckpoint {
  std::string name;
  std::int64_t step = -1;
  std::uint64_t bytes = 0;
  std::size_t tensors = 0;
  std::string problem;  // "": it has all its files, in full length
};

struct ReportRun {
  runtime::RunRecord record;
  nlohmann::ordered_json environment;  // of environment.json; null where it cannot be read
  std::vector<ReportCheckpoint> checkpoints;
  std::vector<nlohmann::ordered_json> rankings;  // what `tradewind evaluate` kept of a recommender, a part each
  std::string samples_of;                        // "step 300"
  std::vector<std::string> samples;
  std::string samples_problem;  // why there are none; "": they were not asked for
};

/// A, B, ... as in `compare`; more than 26 go on with AA.
std::string run_letter(std::size_t run);

/// What a reader wants first, in a sentence or two: how it ended and how good it is.
std::string verdict(const std::vector<ReportRun>& runs);

/// `written`: when and by what, for the foot of the page. Throws ConfigError where a config does not parse.
std::string report_page(const std::vector<ReportRun>& runs, const std::string& written);

}  // namespace tradewind::launcher
