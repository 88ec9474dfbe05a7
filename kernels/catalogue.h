// Scores of queries against every item of a catalogue, never held at once: the best k of each query, and the ranks of targets.
//
//   z[n, v] = x[n] . w[v] (+ bias[v]), or scores[n, v] where a block of them is given
// Candidates of query n are the items that are allowed and not excluded for it. Shapes: x [N, C], w [V, C] (rows w_stride
// apart), bias [V] or null, all of `dtype`; or in their place scores [N, V], float32; allow [V], 0 where an item is never a
// candidate, null: all are; exclude: the items of query n are exclude[exclude_offsets[n], exclude_offsets[n + 1]), ascending
// (equal ones count once); both null: none.
//
// A score is one float for both functions, whatever else is asked for with it. CPU: it depends on x[n], w[v], C and the
// instruction set alone. CUDA: on the chunk of queries too, so a target is compared with the float that its own chunk gave it.
// Results are the same bits for any number of threads.
//
// Errors. CPU: an id outside [0, V), excluded ids that descend, and a candidate's or target's score that is NaN throw DataError
// with the query. CUDA, where a kernel cannot throw: the query's ids are all -1 and its scores NaN; its targets have greater =
// V and equal = 0, which no real rank has. An infinite score is a score. No metric may be made of such a row: look for it.
//
// 2 N V C FLOPs (none where scores are given); scores live for a block of queries and items at a time. CPU workspace: a packed
// part of w (at most 8 MiB, or 512 items), 198 KiB a thread, 8 k bytes a query (a query and thread where there are few). CUDA:
// at most 256 MiB of scores, or 32 queries.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

/// What is scored against what. Pointers are where the launch runs.
struct Catalogue {
  const void* x = nullptr;
  const void* w = nullptr;
  const void* bias = nullptr;
  const float* scores = nullptr;  // of models whose scores are no product; x, w and bias are null then, C and w_stride 0
  std::int64_t N = 0, V = 0, C = 0;
  std::int64_t w_stride = 0;  // 0: C
  const std::int64_t* exclude_offsets = nullptr;
  const std::int32_t* exclude = nullptr;
  const std::uint8_t* allow = nullptr;
  DType dtype = DType::kFloat32;
};

/// The best k candidates of each query: ids [N, k], scores [N, k], by score descending, then id ascending. k in [1, V]. Places
/// without a candidate have id -1 and score -infinity. scores may be null.
void catalogue_top_k(std::int32_t* ids, float* scores, const Catalogue& catalogue, std::int64_t k, const Launch& launch);

/// For each target t of query n, targets[target_offsets[n], target_offsets[n + 1]): greater[t] candidates have a score above
/// its own, equal[t] other candidates the same. A target's own exclusion is ignored for itself; the query's other targets are
/// candidates like all items. Its rank from 0 is in [greater, greater + equal]; the mean, greater + equal / 2, is what metrics
/// take: a constant scorer must not rank everything first. `total` = target_offsets[N].
void catalogue_rank(std::int32_t* greater, std::int32_t* equal, const Catalogue& catalogue, const std::int64_t* target_offsets,
                    const std::int32_t* targets, std::int64_t total, const Launch& launch);

}  // namespace tradewind::kernels
