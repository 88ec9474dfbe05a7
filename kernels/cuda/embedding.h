// CUDA arms of kernels/embedding.h. Arguments are checked, as far as a host can.
#pragma once

#include "kernels/embedding.h"

namespace tradewind::kernels::detail {

void embedding_forward_cuda(void* y, const void* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                            Write write, const EmbeddingOptions& options, const Launch& launch);
void embedding_backward_dense_cuda(float* dtable, const void* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                                   std::int64_t C, Write write, const EmbeddingOptions& options, const Launch& launch);
std::int64_t embedding_backward_sparse_cuda(std::int32_t* rows, float* values, const void* dy, const std::int32_t* ids,
                                            std::int64_t N, std::int64_t V, std::int64_t C, const EmbeddingOptions& options,
                                            const Launch& launch);

}  // namespace tradewind::kernels::detail
