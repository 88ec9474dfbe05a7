// CPU arms of kernels/embedding_bag.h. Arguments are checked, ids too.
#pragma once

#include "kernels/embedding_bag.h"

namespace tradewind::kernels::cpu {

void embedding_bag_forward(float* out, std::int32_t* argmax, const float* table, const BagShape& shape,
                           const BagOptions& options, const Launch& launch);
void embedding_bag_backward(const BagGradient& gradient, float* dweights, const float* dout, const float* table,
                            const std::int32_t* argmax, const BagShape& shape, const BagOptions& options, Write write_dweights,
                            const Launch& launch);
void embedding_bag_update(float* table, float* moment, float* dweights, const float* dout, const std::int32_t* argmax,
                          const BagShape& shape, const BagOptions& options, Write write_dweights,
                          const RowUpdateOptions& update, const Launch& launch);
void row_update(float* table, float* moment, const std::int32_t* rows, const float* values, std::int64_t count, std::int64_t C,
                const RowUpdateOptions& update, const Launch& launch);

}  // namespace tradewind::kernels::cpu
