// Pairs of a user and an item that have a label, as impressions and their clicks: whether the model's scores tell the labels
// apart.
//
// A pair is scored by what the user had before: before the pair's own time, where its column is named, else before the part
// that is evaluated. Pairs of a user without such a history or of an item that the run does not know have no score; they are
// left out and counted. A model that reads when it is asked reads the pair's time, or where there is none the newest event's.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "launcher/run_data.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "runtime/train/classification_metrics.h"

namespace tradewind::launcher {

struct PairsRequest {
  std::string file, label_column, time_column;  // time_column "": none
  runtime::Part part = runtime::Part::kTest;    // its events and later ones are no history
};

struct PairsResult {
  runtime::ClassificationMetrics::Values model, popularity;
  std::int64_t pairs = 0, left_out = 0;
};

/// A label: "1", "0", "true", "false" in any case, or a number that is 1 or 0. Nothing of anything else.
std::optional<std::uint8_t> label_of(std::string_view text);

/// Throws DataError with file, line and column: no such column, a label that is none, a time that cannot be read, an empty id;
/// and where no pair has a score. Throws ConfigError where a time is named and the run's data have none.
PairsResult evaluate_pairs(const LoadedRun& run, const RunData& data, const PairsRequest& request, Waiting& waiting);

void print_pairs(const PairsResult& result, const PairsRequest& request);
void add_pairs(nlohmann::ordered_json& to, const PairsResult& result, const PairsRequest& request);

}  // namespace tradewind::launcher
