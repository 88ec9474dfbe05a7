// The part of a report that is about how high a recommender ranks what users did next.
#pragma once

#include <string>
#include <vector>

#include "launcher/report/page.h"

namespace tradewind::launcher {

/// A figure of the ranking metrics against the step; "" where no run was ranked. Of one run its ndcg, hr and mrr, of several
/// the metric that tells each one's best.
std::string ranking_chart(const std::vector<ReportRun>& runs);

/// A section with what `tradewind evaluate` kept in each run: model and popularity side by side, and the slices; "" where there
/// is nothing.
std::string rankings(const std::vector<ReportRun>& runs);

/// Whether the runs' best are told by one metric, of rankings among the same candidates, so that they compare.
bool same_ranking(const std::vector<ReportRun>& runs);

}  // namespace tradewind::launcher
