#include "runtime/train/fitting.h"

#include <chrono>

namespace tradewind::runtime {
namespace {

constexpr std::int64_t kStep = 1;  // a fit is one step

Fitted& fitted(Task& task) {
  auto* const model = dynamic_cast<Fitted*>(&task);
  require(model != nullptr, "fitted", "the task is stepped, not fitted");
  return *model;
}

CheckpointContents contents_of(Fitted& model, const TrainerConfig& config, const TrainOutcome& outcome, double seconds,
                               const Context& context, const Communicator& communicator) {
  CheckpointContents out;
  out.step = kStep;
  if (communicator.rank() == 0) {
    for (const auto& [name, data] : model.learned())
      out.tensors.push_back({.name = name, .data = data, .global_shape = data.shape()});
    out.tensors.insert(out.tensors.end(), config.tensors.begin(), config.tensors.end());
  }
  out.state = {{"seconds", seconds},  {"best_loss", outcome.best_value}, {"best_step", outcome.best_step},
               {"seed", config.seed}, {"threads", context.threads()},    {"world_size", communicator.size()},
               {"run", config.extra}};
  return out;
}

}  // namespace

TrainOutcome fit(Context& context, Communicator& communicator, Task& task, const Interactions& interactions,
                 const Validation* validation, const TrainerConfig& config, const CheckpointFolder& checkpoints,
                 TrainObserver& observer) {
  const auto start = std::chrono::steady_clock::now();
  Fitted& model = fitted(task);
  model.fit(context, interactions);
  TrainOutcome outcome;
  outcome.step = kStep;
  if (validation != nullptr) {
    Evaluation result;
    try {
      result = validation->run(
          context, task,
          {.batch = config.evaluate.batch,
           .progress = [&](std::int64_t done, std::int64_t total) { observer.on_phase(Phase::kEvaluating, done, total); },
           .stop = [&] { return observer.stop_requested(); },
           .communicator = &communicator});
    } catch (const EvaluationStopped&) {
      outcome.reason = TrainOutcome::Reason::kStopped;
      outcome.step = 0;
      return outcome;
    }
    outcome.last_evaluation = result;
    outcome.best_value = result.best_value();
    outcome.best_step = kStep;
    observer.on_evaluation(kStep, result, true);
  }
  observer.on_phase(Phase::kSaving, 0, 0);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CheckpointWriter writer(checkpoints, config.checkpoint.keep_last, communicator.rank(), communicator.size());
  writer.begin(contents_of(model, config, outcome, seconds.count(), context, communicator));
  writer.commit(communicator);
  observer.on_checkpoint(kStep);
  return outcome;
}

TrainOutcome restore_fitted(Context& context, Task& task, const Checkpoint& checkpoint) {
  fitted(task).restore(context, checkpoint);
  TrainOutcome outcome;
  outcome.step = checkpoint.step();
  outcome.best_value = checkpoint.state().value("best_loss", 0.0);
  outcome.best_step = checkpoint.state().value("best_step", std::int64_t{0});
  return outcome;
}

Tensor whole_tensor(const Checkpoint& checkpoint, const std::string& name, DType dtype) {
  const Shape shape = checkpoint.shape(name);
  Tensor out(host_allocator(), shape, dtype);
  checkpoint.read(name, 0, shape.elements(), dtype, out.raw());
  return out;
}

}  // namespace tradewind::runtime
