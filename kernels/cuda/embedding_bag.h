// CUDA arms of kernels/embedding_bag.h. Arguments are checked, as far as a host can.
#pragma once

#include "kernels/embedding_bag.h"

namespace tradewind::kernels::detail {

void embedding_bag_forward_cuda(void* out, std::int32_t* argmax, const void* table, const BagShape& shape,
                                const BagOptions& options, const Launch& launch);
void embedding_bag_backward_cuda(const BagGradient& gradient, float* dweights, const void* dout, const void* table,
                                 const std::int32_t* argmax, const BagShape& shape, const BagOptions& options,
                                 Write write_dweights, const Launch& launch);
void embedding_bag_update_cuda(void* table, float* moment, float* dweights, const void* dout, const std::int32_t* argmax,
                               const BagShape& shape, const BagOptions& options, Write write_dweights,
                               const RowUpdateOptions& update, const Launch& launch);
void row_update_cuda(void* table, float* moment, const std::int32_t* rows, const float* values, const std::int64_t* count,
                     std::int64_t capacity, std::int64_t V, std::int64_t C, DType dtype, const RowUpdateOptions& update,
                     const Launch& launch);

}  // namespace tradewind::kernels::detail
