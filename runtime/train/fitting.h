// Models that are counted and not stepped: one pass over the events gives all that they know.
//
// A run of such a model is a run like any other: a config, a log, one evaluation, and one checkpoint, of step 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/data/interactions.h"
#include "runtime/train/trainer.h"

namespace tradewind::runtime {

/// A named tensor of the host.
struct NamedTensor {
  std::string name;
  Tensor data;
};

/// What a Task is besides where it has no parameters to step.
class Fitted {
 public:
  virtual ~Fitted() = default;
  /// Learns from the training part. The same bits for any number of threads, and on every rank.
  virtual void fit(Context& context, const Interactions& interactions) = 0;
  /// All that it knows: what a checkpoint keeps and an export shows.
  virtual std::vector<NamedTensor> learned() const = 0;
  /// What learned() gave. Throws CheckpointError where a tensor is missing or is of another model.
  virtual void restore(Context& context, const Checkpoint& checkpoint) = 0;
  /// No more than this does learned() hold, for a plan.
  virtual std::int64_t most_bytes() const = 0;
};

/// Fits the task, looks at the validation part (which may be null) and saves. Collective: every rank fits alike, all evaluate,
/// rank 0 saves what was learned. Asked to stop before that, it saves nothing, and the step is 0. InternalError where the task
/// is not Fitted.
TrainOutcome fit(Context& context, Communicator& communicator, Task& task, const Interactions& interactions,
                 const Validation* validation, const TrainerConfig& config, const CheckpointFolder& checkpoints,
                 TrainObserver& observer);

/// What an earlier fit() saved, back in the task and as its outcome.
TrainOutcome restore_fitted(Context& context, Task& task, const Checkpoint& checkpoint);

/// A whole tensor of a checkpoint, on the host. Throws CheckpointError where it is missing or not of this type.
Tensor whole_tensor(const Checkpoint& checkpoint, const std::string& name, DType dtype);

}  // namespace tradewind::runtime
