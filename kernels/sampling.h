// Choosing the next token from logits: temperature, top-k and top-p (nucleus, Holtzman et al. 2020), or greedy.
//
// logits [N, V] float32, next [N] int32. temperature 0 takes the largest logit (ties: the smallest id); step and keys are not
// read then. Otherwise logits are divided by the temperature; the top_k largest are kept (0: all; ties with the k-th by smaller
// id); of these, in descending order (then by id), the shortest prefix is kept whose share of their probability reaches top_p
// (1: all); one is drawn by inverting the cumulative sum of the prefix in that order with a uniform number of 53 bits, the high
// bits of w[0] 2^32 + w[1] of philox(philox_key(step->seed, purpose)) at counter {0, position, low, high word of sample}: so a
// row's choice does not depend on the batch around it. Sums are float64.
// -infinity is never drawn. A NaN or +infinity among the logits, or a row without a finite one, throws DataError with the row;
// on CUDA, where a kernel cannot throw, that row's next is -1, and who reads it must look.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"
#include "kernels/base/philox.h"

namespace tradewind::kernels {

struct SamplingOptions {
  float temperature = 1.0F;
  std::int64_t top_k = 0;
  float top_p = 1.0F;
  std::uint64_t purpose = 0;
};

void sample(std::int32_t* next, const float* logits, std::int64_t N, std::int64_t V, const RowKeys& keys,
            const SamplingOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
