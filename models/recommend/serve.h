// What a trained recommender answers: the best items for histories, the items most like an item.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/recommend/recommender.h"
#include "runtime/data/sequence_dataset.h"

namespace tradewind::models {

struct Scored {
  std::int32_t item;
  float score;
};

struct ServeOptions {
  std::int64_t top = 10;
  runtime::HistoryForm history = 1;     // as the model reads it
  bool leave_out_seen = true;           // items of a history are no candidates for it
  std::span<const std::uint8_t> allow;  // [V], 0 where an item is never a candidate; empty: all are
};

/// Who is asked about.
struct Asked {
  std::span<const std::vector<std::int32_t>> histories;
  std::span<const std::int32_t> users;  // their numbers, -1 where one has none; empty: the histories are all there is
  std::span<const runtime::HistoryTimes> times = {};  // one a history, where the model reads them
};

/// The best of each history, best first; fewer than `top` where there are no more candidates. Equal scores: the lower number
/// first. Throws DataError where a score is not a number.
std::vector<std::vector<Scored>> recommend(runtime::Context& context, Ranker& model, const Asked& asked,
                                           const ServeOptions& options);

struct Pair {
  std::int64_t history;
  std::int32_t item;
};

/// The model's scores of pairs of a history and an item, in order. Throws DataError where one is not a number.
std::vector<float> score_pairs(runtime::Context& context, Ranker& model, const Asked& asked, std::span<const Pair> pairs,
                               const runtime::HistoryForm& form);

struct Similar {
  std::vector<Scored> items;  // best first
  std::string name, meaning;  // of the scores, as Likeness says
};

/// The `top` items that Ranker::likeness ranks highest, without itself; fewer where no more are like it. `allow`: as in
/// ServeOptions.
Similar similar_items(runtime::Context& context, Ranker& model, std::int32_t item, std::int64_t top,
                      std::span<const std::uint8_t> allow = {});

}  // namespace tradewind::models
