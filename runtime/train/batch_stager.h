// Whole steps on their way to the device: the next one is carried while this one is computed.
#pragma once

#include <array>
#include <memory>

#include "runtime/core/context.h"
#include "runtime/data/batch.h"

namespace tradewind::runtime {

/// Two slots take turns, each a block of pinned memory and one of the device, and a stream of its own copies from one to the
/// other. On a CPU steps come back as they are.
class BatchStager {
 public:
  explicit BatchStager(Context& context);
  ~BatchStager();
  BatchStager(const BatchStager&) = delete;
  BatchStager& operator=(const BatchStager&) = delete;

  /// True where staging pays: there is something to carry.
  bool carries() const { return gpu_ != nullptr; }
  /// The step with its fields on the device, for after the next begin(). To be called when all work on the step before it has
  /// been given to the context's stream; that one's fields must not be used in work given later than the next call.
  StepBatch stage(StepBatch step);
  /// The context's stream waits until the step staged last has arrived.
  void begin();

 private:
  struct Gpu;
  Context& context_;
  std::unique_ptr<Gpu> gpu_;  // null on a CPU
};

}  // namespace tradewind::runtime
