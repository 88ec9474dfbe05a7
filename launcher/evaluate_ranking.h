// A recommender's held-out events, ranked: the metrics of the model and of popularity, by slices and user by user, as text and
// as JSON.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launcher/run_data.h"
#include "launcher/session.h"
#include "runtime/train/evaluator.h"

namespace tradewind::launcher {

struct RankingRequest {
  runtime::Part part = runtime::Part::kTest;
  std::string per_user;             // the file of every user's metrics; "": none
  std::vector<std::string> slices;  // ranking_slices.h
  std::string category;             // "items.csv:category" by which lists are diverse; "": none
  bool both_rules = false;          // of evaluate.seen_items
};

struct RankingResult {
  runtime::Evaluation model, popularity;
};

/// Throws ConfigError where the part holds no event, and as ranking_slices.
RankingResult evaluate_ranking(const LoadedRun& run, const RunData& data, const RankingRequest& request,
                               const runtime::EvaluationPlan& plan);

/// What is printed, and the object of --json but for the run and its step.
void print_ranking(const RankingResult& result, const LoadedRun& run, const RunData& data, const RankingRequest& request);
void add_ranking(nlohmann::ordered_json& to, const RankingResult& result, const LoadedRun& run, const RankingRequest& request);

/// "test" or "validation".
const char* name_of(runtime::Part part);

}  // namespace tradewind::launcher
