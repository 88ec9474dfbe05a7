// Ranking of held-out items among a few items drawn for their user, in place of the whole catalogue: how Kang & McAuley
// (ICDM 2018, section IV-D) and many after them measured. Such figures are far higher than those of full ranking, do not
// compare with them, and need not order models alike (Krichene & Rendle, KDD 2020).
//
// A user's candidates are `count` items, drawn uniformly with replacement from those that are neither left out for the user
// (the training part's), nor rows that many share (vocabulary.h), nor among the user's held-out ones, and the held-out ones
// themselves. An item that is drawn twice
// counts twice. Draws are keyed by the seed and the user's name: every model of a seed meets the same candidates, whatever the
// ranks, the batches and the order of the file.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/recommend/recommender.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/train/ranking_metrics.h"

namespace tradewind::models {

/// `count` of the items in [0, items) that are not in `excluded` (ascending, each once). Throws DataError naming the user
/// where there is none.
std::vector<std::int32_t> draw_candidates(std::int64_t count, std::int64_t items, std::span<const std::int32_t> excluded,
                                          std::uint64_t seed, std::string_view user);

/// The drawn candidates of users [begin, end) of `users`, a list a user. `leave_out_seen`: the items of the user's training
/// events are not drawn.
runtime::HeldOut::Lists draw_candidates(const runtime::HeldOut& users, const runtime::HeldOut::Lists& targets,
                                        std::int64_t begin, std::int64_t end, std::int64_t count, bool leave_out_seen,
                                        std::uint64_t seed);

/// Of each target among its user's other targets and drawn items, by the scores that `catalogue` gives. Throws DataError
/// where a score is not a number.
std::vector<runtime::TargetRank> ranks_among(runtime::Context& context, const kernels::Catalogue& catalogue,
                                             const runtime::HeldOut::Lists& targets, const runtime::HeldOut::Lists& drawn);

}  // namespace tradewind::models
