// What the loop trains: a model with its loss. Implemented in models/, written for one device.
#pragma once

#include "runtime/autograd/tape.h"
#include "runtime/data/batch.h"
#include "runtime/parallel/parameter_store.h"

namespace tradewind::runtime {

/// Sums over the valid targets of one micro-batch, on the host.
struct LossSums {
  double loss = 0;  // what is trained on
  double nll = 0;   // negative log-likelihood in nats: perplexity, bits per byte
};

/// What a plan needs to know of a model without running it.
struct CostEstimate {
  double forward_flops_per_sample = 0;           // of a full block; a training step costs three times as much
  std::int64_t activation_bytes_per_sample = 0;  // kept for backward
};

class Task {
 public:
  virtual ~Task() = default;
  virtual ParameterStore& parameters() = 0;
  /// One micro-batch. Where the tape records, the gradient of step_state.loss_scale[0] * sum(loss) will flow.
  virtual LossSums forward(Tape& tape, const Batch& batch) = 0;
  virtual CostEstimate cost() const = 0;
};

}  // namespace tradewind::runtime
