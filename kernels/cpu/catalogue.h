// CPU arms of kernels/catalogue.h. Arguments are checked by the caller, ids too; w_stride is set.
#pragma once

#include "kernels/catalogue.h"

namespace tradewind::kernels::cpu {

/// Where a score that somebody would be ranked by is NaN: the first query, and its first such item. query < 0: nowhere.
struct NanScore {
  std::int64_t query = -1, item = -1;
};

NanScore catalogue_top_k(std::int32_t* ids, float* scores, const Catalogue& catalogue, std::int64_t k, const Launch& launch);

NanScore catalogue_rank(std::int32_t* greater, std::int32_t* equal, const Catalogue& catalogue,
                        const std::int64_t* target_offsets, const std::int32_t* targets, std::int64_t total,
                        const Launch& launch);

}  // namespace tradewind::kernels::cpu
