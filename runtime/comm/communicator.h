// Collectives between the ranks of a run.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/base/dtype.h"

namespace tradewind::runtime {

enum class ReduceOp : std::uint8_t { kSum, kMax, kMin };

/// Every call is collective: all ranks make it in the same order with the same count and dtype, from the main thread.
/// Buffers hold `count` elements (a rank's share where the name says so) in the memory of the communicator's device; calls
/// are ordered on `stream` (null on a CPU, where they have finished when they return). Throws CommError.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// In place.
  virtual void all_reduce(void* buffer, std::int64_t count, kernels::DType dtype, ReduceOp op, void* stream) = 0;
  /// receive holds size() * count elements; rank r's share lands at r * count.
  virtual void all_gather(void* receive, const void* send, std::int64_t count, kernels::DType dtype, void* stream) = 0;
  /// send holds size() * count elements; receive gets the reduced share of this rank.
  virtual void reduce_scatter(void* receive, const void* send, std::int64_t count, kernels::DType dtype, ReduceOp op,
                              void* stream) = 0;
  /// As all_gather and reduce_scatter where shares differ: rank r's has counts[r] elements and lies behind those of the ranks
  /// before it, in `buffer`, whose own share is there already, and in `send`. counts holds size() numbers, the same on all.
  virtual void all_gather_v(void* buffer, const std::int64_t* counts, kernels::DType dtype, void* stream) = 0;
  virtual void reduce_scatter_v(void* receive, const void* send, const std::int64_t* counts, kernels::DType dtype, ReduceOp op,
                                void* stream) = 0;
  virtual void broadcast(void* buffer, std::int64_t count, kernels::DType dtype, int root, void* stream) = 0;
  /// count elements to and from each rank.
  virtual void all_to_all(void* receive, const void* send, std::int64_t count, kernels::DType dtype, void* stream) = 0;
  virtual void barrier() = 0;
};

/// World size 1: every collective is the identity.
std::unique_ptr<Communicator> make_single_communicator();

}  // namespace tradewind::runtime
