// CUDA arms of kernels/optimizer.h. Arguments are checked, as far as a host can.
#pragma once

#include "kernels/optimizer.h"

namespace tradewind::kernels::detail {

void adam_update_cuda(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                      std::int64_t segment_count, const AdamOptions& options, const Launch& launch);
void sgd_update_cuda(float* parameter, float* momentum, const float* gradient, const Segment* segments,
                     std::int64_t segment_count, const SgdOptions& options, const Launch& launch);
void adagrad_update_cuda(float* parameter, float* sum, const float* gradient, const Segment* segments,
                         std::int64_t segment_count, const AdagradOptions& options, const Launch& launch);
void squared_norm_cuda(double* sum, const float* x, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels::detail
