// CPU arms of kernels/embedding.h. Arguments are checked, ids too.
#pragma once

#include "kernels/embedding.h"

namespace tradewind::kernels::cpu {

void embedding_forward(float* y, const float* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                       Write write, float scale, const Launch& launch);
void embedding_backward_dense(float* dtable, const float* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                              std::int64_t C, Write write, float scale, const Launch& launch);
std::int64_t embedding_backward_sparse(std::int32_t* rows, float* values, const float* dy, const std::int32_t* ids,
                                       std::int64_t N, std::int64_t V, std::int64_t C, float scale, const Launch& launch);

}  // namespace tradewind::kernels::cpu
