// CPU arm of kernels/sampling.h. Arguments are checked by the caller.
#pragma once

#include "kernels/sampling.h"

namespace tradewind::kernels::cpu {

/// Returns the first row whose logits cannot be sampled from, and N where there is none.
std::int64_t sample(std::int32_t* next, const float* logits, std::int64_t N, std::int64_t V, const RowKeys& keys,
                    const SamplingOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::cpu
