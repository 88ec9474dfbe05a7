#include "kernels/embedding.h"

#include <algorithm>
#include <limits>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/embedding.h"
#include "kernels/cuda/embedding.h"

namespace tradewind::kernels {
namespace {

void require_embedding(const char* op, const void* output, const void* input, const std::int32_t* ids, std::int64_t N,
                       std::int64_t V, std::int64_t C) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  require(N >= 0 && N <= kMost && C > 0 && C <= kMost, op, "N must be in [0, 2^31) and C in [1, 2^31)");
  require(V > 0 && V <= kMost, op, "V must be in [1, 2^31)");
  require(output != nullptr, op, "the output must be given");
  require(N == 0 || (input != nullptr && ids != nullptr), op, "the input and ids must be given");
}

// Ids come from data: the one argument that a user can get wrong.
void require_ids(const char* op, const std::int32_t* ids, std::int64_t N, std::int64_t V) {
  std::uint32_t largest = 0;  // a negative id is a large one
  for (std::int64_t n = 0; n < N; ++n) largest = std::max(largest, static_cast<std::uint32_t>(ids[n]));
  if (largest < static_cast<std::uint64_t>(V)) return;
  for (std::int64_t n = 0; n < N; ++n)
    if (ids[n] < 0 || ids[n] >= V)
      throw DataError(std::string(op) + ": id " + std::to_string(ids[n]) + " in row " + std::to_string(n) +
                      " is outside the table of " + std::to_string(V) +
                      " rows; was the data prepared with another vocabulary?");
}

}  // namespace

void embedding_forward(void* y, const void* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                       Write write, const EmbeddingOptions& options, const Launch& launch) {
  if (N == 0) return;
  require_embedding("embedding_forward", y, table, ids, N, V, C);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("embedding_forward", launch, {{"y", y}, {"table", table}, {"ids", ids}});
      return detail::embedding_forward_cuda(y, table, ids, N, V, C, write, options, launch);
    } else {
      throw_no_cuda("embedding_forward");
    }
  }
  require_float32_on_cpu("embedding_forward", launch, options.dtype);
  require_ids("embedding_forward", ids, N, V);
  cpu::embedding_forward(static_cast<float*>(y), static_cast<const float*>(table), ids, N, V, C, write, options.scale, launch);
}

void embedding_backward_dense(float* dtable, const void* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                              std::int64_t C, Write write, const EmbeddingOptions& options, const Launch& launch) {
  require_embedding("embedding_backward_dense", dtable, dy, ids, N, V, C);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("embedding_backward_dense", launch, {{"dtable", dtable}, {"dy", dy}, {"ids", ids}});
      return detail::embedding_backward_dense_cuda(dtable, dy, ids, N, V, C, write, options, launch);
    } else {
      throw_no_cuda("embedding_backward_dense");
    }
  }
  require_float32_on_cpu("embedding_backward_dense", launch, options.dtype);
  require_ids("embedding_backward_dense", ids, N, V);
  cpu::embedding_backward_dense(dtable, static_cast<const float*>(dy), ids, N, V, C, write, options.scale, launch);
}

std::int64_t embedding_backward_sparse(std::int32_t* rows, float* values, const void* dy, const std::int32_t* ids,
                                       std::int64_t N, std::int64_t V, std::int64_t C, const EmbeddingOptions& options,
                                       const Launch& launch) {
  if (N == 0) return 0;
  require_embedding("embedding_backward_sparse", values, dy, ids, N, V, C);
  require(rows != nullptr, "embedding_backward_sparse", "rows must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("embedding_backward_sparse", launch,
                            {{"rows", rows}, {"values", values}, {"dy", dy}, {"ids", ids}});
      return detail::embedding_backward_sparse_cuda(rows, values, dy, ids, N, V, C, options, launch);
    } else {
      throw_no_cuda("embedding_backward_sparse");
    }
  }
  require_float32_on_cpu("embedding_backward_sparse", launch, options.dtype);
  require_ids("embedding_backward_sparse", ids, N, V);
  return cpu::embedding_backward_sparse(rows, values, static_cast<const float*>(dy), ids, N, V, C, options.scale, launch);
}

}  // namespace tradewind::kernels
