// Optimisers over a parameter store's flat buffers, and over the rows of its tables with sparse gradients.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/optimizer.h"
#include "kernels/sparse_optimizer.h"
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
  double initial_accumulator = 0;
  bool rowwise = false;
  void describe(Fields& f);
  /// Throws ConfigError where the store's tables with sparse gradients cannot be trained so, with the key and the remedy.
  void check(const ParameterStore& store) const;
  /// Floats that it keeps for the parameter.
  std::int64_t state_elements(const Parameter& parameter) const;
};

class Optimizer {
 public:
  /// Allocates the states of `shard`, and of all tables with sparse gradients, as they begin. Without one: of all parameters,
  /// and gradients are read where the store has them. Throws as OptimizerConfig::check.
  Optimizer(const OptimizerConfig& config, const ParameterStore& store, Context& context,
            std::optional<Shard> shard = std::nullopt);

  /// Updates the parameters that have a gradient in this step, and of tables with sparse gradients the rows in it. Reads the
  /// rate, the step number and the gradient scale from the context's StepState, as it was published. Where the store has copies
  /// to compute with, they follow.
  void update(Context& context);

  /// A table with a sparse gradient and its states, whole: [V, C], or of row-wise Adagrad [V].
  struct Table {
    const Parameter* parameter;
    std::map<std::string, Tensor> states;
  };

  /// What it updates of the dense parameters.
  const Shard& shard() const { return shard_; }
  const std::vector<Table>& tables() const { return tables_; }
  /// The states by name ("m" and "v", "momentum", or "sum"), laid out like the shard.
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
  void update(const Table& table, Context& context) const;

  OptimizerConfig config_;
  const ParameterStore& store_;
  Shard shard_;
  std::map<std::string, Tensor> states_;
  std::vector<Table> tables_;
  Tensor gradients_;
  std::vector<Work> work_;  // by part
};

}  // namespace tradewind::runtime
