// What the loop trains: a model with its loss. Implemented in models/, written for one device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/autograd/tape.h"
#include "runtime/core/row_losses.h"
#include "runtime/core/transfer.h"
#include "runtime/data/batch.h"
#include "runtime/parallel/parameter_store.h"

namespace tradewind::runtime {

/// Sums over the valid targets, on the host.
struct LossSums {
  double loss = 0;  // what is trained on
  double nll = 0;   // negative log-likelihood in nats: perplexity, bits per byte
};

/// What a batch asks of a model, as FLOPs are counted.
struct Work {
  std::int64_t rows = 0;       // of input: tokens, events
  std::int64_t pairs = 0;      // (row, row of the same sequence), ordered: the sum of the squares of the lengths
  std::int64_t targets = 0;    // rows that are scored
  std::int64_t negatives = 0;  // (target, item beside it), where a loss looks at given items and not at all of them

  /// A batch without "offsets" is as many sequences of one row as it has samples.
  static Work of(const Batch& batch);
  void operator+=(const Work& other);
};

/// Of a softmax over all classes (kernels/linear_cross_entropy.h), whose workspace is of a micro-batch's targets and not of
/// each.
struct SoftmaxSizes {
  std::int64_t classes = 0, channels = 0;  // 0: there is none
};

/// Of a loss over a target and some negatives (kernels/candidate_loss.h).
struct CandidateSizes {
  std::int64_t rows = 0, channels = 0;    // of the table that candidates are rows of; 0: there is no such loss
  std::int64_t negatives = 0;             // of a target, or of the set that a micro-batch's targets share
  bool shared = false, in_batch = false;  // in_batch: the set is the micro-batch's targets

  /// Beside each of so many targets of a micro-batch.
  std::int64_t beside(std::int64_t targets) const { return in_batch ? targets : negatives; }
};

/// What is computed once for each distinct item of a micro-batch, where items are not rows of a table.
struct DistinctItems {
  std::int64_t bytes = 0;  // of one, kept for backward
  std::int64_t per_sample = 0, per_batch = 0, most = 0;
  std::int64_t bytes_of(std::int64_t samples) const { return bytes * std::min(most, per_sample * samples + per_batch); }
};

/// What a plan needs to know of a model without running it. FLOPs are those of the forward pass; a training step costs three
/// times as much.
struct CostEstimate {
  double flops_per_row = 0, flops_per_pair = 0, flops_per_target = 0, flops_per_negative = 0;
  Work sample;                                   // of a full block, without negatives
  std::int64_t activation_bytes_per_sample = 0;  // of a full block, kept for backward
  SoftmaxSizes softmax = {};                     // of the loss
  CandidateSizes candidates = {};                // the same
  DistinctItems distinct = {};

  double forward_flops(const Work& work) const;
  /// Of a micro-batch of so many full blocks.
  Work work(std::int64_t samples) const;
  std::int64_t activation_bytes(std::int64_t samples) const {
    return activation_bytes_per_sample * samples + distinct.bytes_of(samples);
  }
  double forward_flops_per_sample(std::int64_t micro_batch = 1) const {
    return forward_flops(work(micro_batch)) / static_cast<double>(micro_batch);
  }
};

class Task {
 public:
  virtual ~Task() = default;
  virtual ParameterStore& parameters() = 0;
  /// One micro-batch, on the context's device; its losses stay there, so that nobody waits for them. Where the tape records,
  /// the gradient of step_state.loss_scale[0] * sum(loss) will flow.
  virtual RowLosses forward(Tape& tape, const Batch& batch) = 0;
  virtual CostEstimate cost() const = 0;
};

/// Adds up the losses of micro-batches, in float64 in the order of the rows. On a GPU they are carried to the host while it
/// works, and waited for when the sums are asked for or many have gathered.
class LossCounter {
 public:
  explicit LossCounter(Context& context) : context_(context), readback_(context) {}
  void add(const RowLosses& losses);
  /// Of all that was added.
  LossSums sums();

 private:
  void count();
  Context& context_;
  Readback readback_;  // loss and nll in turns
  std::int64_t waiting_ = 0;
  LossSums sums_;
};

}  // namespace tradewind::runtime
