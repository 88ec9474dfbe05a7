// Optimisers over a parameter store's flat buffers.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/optimizer.h"
#include "runtime/config/fields.h"
#include "runtime/parallel/shard.h"

namespace tradewind::runtime {

struct OptimizerConfig {
  std::string name = "adamw";
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.1;
  double momentum = 0.9, dampening = 0.0;
  bool nesterov = false;
  void describe(Fields& f);
};

class Optimizer {
 public:
  /// Allocates the states of `shard`, zero. Without one: of all parameters, and gradients are read where the store has them.
  Optimizer(const OptimizerConfig& config, const ParameterStore& store, Context& context,
            std::optional<Shard> shard = std::nullopt);

  /// Updates the parameters that have a gradient in this step. Reads the rate, the step number and the gradient scale from
  /// the context's StepState, as it was published. Where the store has copies to compute with, they follow.
  void update(Context& context);

  /// What it updates.
  const Shard& shard() const { return shard_; }
  /// The states by name ("m", "v" or "momentum"), laid out like the shard.
  const std::map<std::string, Tensor>& states() const { return states_; }
  /// The gradients that `update` reads, laid out like the shard: the store's, or a buffer for those summed over the ranks.
  const Tensor& gradients() const { return gradients_; }

 private:
  /// What is updated of a part.
  struct Work {
    std::vector<kernels::Segment> segments;
    Tensor device;  // the same on a GPU
    std::int64_t elements = 0;
    void take(std::vector<kernels::Segment> wanted, Context& context);
  };
  void update(const Shard::Part& part, const Work& work, Context& context);

  OptimizerConfig config_;
  const ParameterStore& store_;
  Shard shard_;
  std::map<std::string, Tensor> states_;
  Tensor gradients_;
  std::vector<Work> work_;  // by part
};

}  // namespace tradewind::runtime
