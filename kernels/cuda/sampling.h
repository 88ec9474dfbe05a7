// CUDA arm of kernels/sampling.h. Arguments are checked.
#pragma once

#include "kernels/sampling.h"

namespace tradewind::kernels::detail {

/// At most `most_sorted` logits are sorted at a time, but at least a row.
void sample_cuda(std::int32_t* next, const float* logits, std::int64_t N, std::int64_t V, const RowKeys& keys,
                 const SamplingOptions& options, const Launch& launch, std::int64_t most_sorted = std::int64_t{1} << 22);

}  // namespace tradewind::kernels::detail
