// The training loop: whole optimiser steps, evaluation, checkpoints, resuming.
//
// A step: the prefetcher hands over every micro-batch of the step with its counts; the gradient of
//   sum over all ranks and micro-batches of loss / global count of valid targets
// is accumulated; clipping by the global norm, then the update. Everything that the next step depends on is in the
// checkpoint, so a run that was stopped anywhere continues with the same bits (same build, threads and instruction set).
//
// Several ranks: each computes its part of the step's samples and holds all parameters. Plain (train.zero = 0): gradients are
// all-reduced and every rank updates everything. ZeRO stage 1 (Rajbhandari et al. 2020, section 5.1; train.zero = 1): gradients
// are reduce-scattered, each rank keeps the optimiser's state of its shard alone and updates that, and the parameters are
// gathered. On two ranks both give the same bits; on more the two collectives may add in another order. Of tables with sparse
// gradients the ranks gather the rows that any of them used, and each updates all of those and keeps their states, also with
// ZeRO.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/comm/communicator.h"
#include "runtime/optim/optimizer.h"
#include "runtime/optim/schedule.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/task.h"

namespace tradewind::runtime {

struct TrainConfig {
  std::int64_t steps = 1000;
  std::int64_t batch = 12;
  std::int64_t micro_batch = 0;
  double clip = 1.0;
  std::int64_t max_bad_steps = 10;
  std::int64_t zero = 0;
  std::int64_t check_parameters_every = 0;
  void describe(Fields& f);
};

struct EvaluateConfig {
  std::int64_t every = 0;
  std::int64_t batch = 0;
  std::int64_t batches = 0;
  std::int64_t patience = 0;
  // Of recommenders:
  std::int64_t cutoff = 10;
  std::string seen_items = "leave_out";
  std::string best_by = {};
  std::int64_t candidates = 0;
  std::int64_t cold_items = 5;
  std::int64_t short_history = 5;
  void describe(Fields& f);
};

struct CheckpointConfig {
  std::int64_t every = 0;
  std::int64_t keep_last = 2;
  bool keep_best = true;
  void describe(Fields& f);
};

struct TrainerConfig {
  TrainConfig train;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  EvaluateConfig evaluate;
  CheckpointConfig checkpoint;
  std::uint64_t seed = 1;
  bool shuffle = true;
  double peak_flops = 0;             // a second, of all ranks together (runtime/core/roofline.h); 0: not known
  nlohmann::json extra;              // goes into every checkpoint's state as "run": config, tokenizer, data checksum, ...
  std::vector<TensorSlice> tensors;  // go into every checkpoint as they are: vocabularies
};

struct StepReport {
  std::int64_t step = 0, steps = 0;
  double loss = 0;  // mean over the step's valid targets
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  double seconds = 0;        // of this step
  double total_seconds = 0;  // of the run, earlier sessions included
  std::int64_t tokens = 0, samples = 0;
  double mfu = 0;  // model FLOPs of the step by what TrainerConfig::peak_flops could have done in its time; 0: not known
  std::size_t memory_bytes = 0;  // resident, of this process, or held on the GPU, after the step; 0: not known
  bool skipped = false;          // a gradient was not finite: nothing was updated
};

enum class Phase : std::uint8_t { kTraining, kEvaluating, kSaving };

/// Who watches the loop: progress line, metrics file, signals.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_step(const StepReport&) {}
  virtual void on_evaluation(std::int64_t /*step*/, const Evaluation&, bool /*best*/) {}
  virtual void on_checkpoint(std::int64_t /*step*/) {}
  virtual void on_phase(Phase, std::int64_t /*done*/, std::int64_t /*total*/) {}
  virtual void on_warning(const std::string&) {}
  /// Asked at every step boundary and between the batches of an evaluation, on every rank: where one says yes, all stop at the
  /// same step. An evaluation that is cut short is done anew when the run goes on.
  virtual bool stop_requested() { return false; }
};

struct TrainOutcome {
  enum class Reason : std::uint8_t { kFinished, kEarlyStopped, kStopped } reason = Reason::kFinished;
  std::int64_t step = 0;
  double last_loss = 0;
  std::optional<Evaluation> last_evaluation;
  double best_value = 0;  // of evaluations, by Evaluation::best_by; 0 where there was none
  std::int64_t best_step = 0;
};

class Trainer {
 public:
  /// The task's parameters are allocated. `validation` may be null. Throws ConfigError where the numbers do not fit together.
  Trainer(Context& context, Communicator& communicator, Task& task, const Dataset& train, const Validation* validation,
          const TrainerConfig& config, CheckpointFolder checkpoints, TrainObserver& observer);

  /// Continues from a checkpoint: parameters, optimiser, data position, best so far.
  void restore(const Checkpoint& checkpoint);

  /// Trains to the end, to an early stop, or to a request to stop; a checkpoint is written in each case.
  TrainOutcome run();

  std::int64_t step() const { return step_; }

  /// Collective: the hash of every rank's parameters. Throws CommError on every rank, naming those that differ.
  void check_parameters();

 private:
  struct Progress;
  /// `meanwhile` is called once the device has its work and before the host waits for it.
  StepReport train_step(StepBatch& batch, const std::function<void()>& meanwhile);
  /// What the step's gradients come to, on their way to the host.
  struct Results;
  bool sharded() const { return config_.train.zero == 1 && communicator_.size() > 1; }
  void reduce_gradients();
  std::size_t norms() const;
  void square_norms(double* squares);
  double gradient_norm(Results& results);
  bool update(StepReport& report, Results& results);
  void gather_parameters();
  void evaluate_now(TrainOutcome& outcome);
  void save();
  void commit();
  CheckpointContents contents() const;

  Context& context_;
  Communicator& communicator_;
  Task& task_;
  const Dataset& train_;
  const Validation* validation_;
  TrainerConfig config_;
  TrainObserver& observer_;
  Optimizer optimizer_;
  CheckpointWriter writer_;
  std::int64_t step_ = 0;
  std::int64_t last_saved_ = -1;
  std::int64_t bad_steps_ = 0;  // in a row
  bool stop_agreed_ = false;
  double seconds_ = 0;
  double last_loss_ = 0;
  double best_value_ = 0;
  std::int64_t best_step_ = 0;  // 0: no evaluation yet
  std::int64_t evaluations_without_gain_ = 0;
  bool evaluation_due_ = false;  // of this step
};

/// Loads the parameters of `store`, which `context` holds, from a checkpoint. Throws CheckpointError naming the tensor that is
/// missing or differs in shape.
void load_parameters(Context& context, const ParameterStore& store, const Checkpoint& checkpoint);

}  // namespace tradewind::runtime
