// Optimisers over a parameter store's flat buffers.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/optimizer.h"
#include "runtime/config/fields.h"
#include "runtime/parallel/parameter_store.h"

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
  /// Allocates the states, zero.
  Optimizer(const OptimizerConfig& config, const ParameterStore& store, Context& context);

  /// Updates the parameters that have a gradient in this step. Reads the rate, the step number and the gradient scale from
  /// the context's StepState.
  void update(Context& context);

  /// The flat states by name ("m", "v" or "momentum"), laid out like the parameters.
  const std::map<std::string, Tensor>& states() const { return states_; }

 private:
  OptimizerConfig config_;
  const ParameterStore& store_;
  std::map<std::string, Tensor> states_;
};

}  // namespace tradewind::runtime
