// CUDA arms of kernels/candidate_loss.h. Arguments are checked by kernels/candidate_loss.cpp, but for ids, which are in device
// memory.
#pragma once

#include "kernels/candidate_loss.h"

namespace tradewind::kernels::detail {

/// Logits of a chunk of rows that share their negatives, as float32.
inline constexpr std::int64_t kCandidateChunkBytes = std::int64_t{256} << 20;

/// bfloat16 and float32. A chunk has at least 32 rows. beta: of the positive's term.
void candidate_loss_cuda(float* loss, void* dx, float* dw, float* dbias, const CandidateBatch& batch, Write write,
                         const CandidateLossOptions& options, double beta, const Launch& launch,
                         std::int64_t chunk_bytes = kCandidateChunkBytes);

std::int64_t candidate_loss_sparse_cuda(float* loss, void* dx, std::int32_t* rows, float* values, float* dbias,
                                        const CandidateBatch& batch, Write write_dbias, const CandidateLossOptions& options,
                                        double beta, const Launch& launch, std::int64_t chunk_bytes = kCandidateChunkBytes);

}  // namespace tradewind::kernels::detail
