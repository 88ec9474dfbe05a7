// CUDA arms of kernels/catalogue.h. Arguments are checked by kernels/catalogue.cpp, but for ids, which are in device memory;
// w_stride is set.
#pragma once

#include "kernels/catalogue.h"

namespace tradewind::kernels::detail {

/// Scores of a chunk of queries.
inline constexpr std::int64_t kCatalogueChunkBytes = std::int64_t{256} << 20;

/// A chunk has at least 32 queries. Excluded ids outside [0, V) exclude nothing.
void catalogue_top_k_cuda(std::int32_t* ids, float* scores, const Catalogue& catalogue, std::int64_t k, const Launch& launch,
                          std::int64_t chunk_bytes = kCatalogueChunkBytes);

/// A target outside [0, V) has greater = V and equal = 0.
void catalogue_rank_cuda(std::int32_t* greater, std::int32_t* equal, const Catalogue& catalogue,
                         const std::int64_t* target_offsets, const std::int32_t* targets, std::int64_t total,
                         const Launch& launch, std::int64_t chunk_bytes = kCatalogueChunkBytes);

}  // namespace tradewind::kernels::detail
