// What a trainer puts into a checkpoint and takes from one.
#include <algorithm>
#include <vector>

#include "runtime/core/transfer.h"
#include "runtime/parallel/shard.h"
#include "runtime/train/trainer.h"

namespace tradewind::runtime {
namespace {

void check_shape(const Checkpoint& checkpoint, const std::string& name, const Shape& shape) {
  if (checkpoint.shape(name) == shape) return;
  throw CheckpointError("loading the checkpoint: tensor \"" + name + "\" has shape " + checkpoint.shape(name).text() +
                        ", the model wants " + shape.text() + "; use the config that the checkpoint was trained with");
}

/// Elements [begin, begin + to.elements()) of the checkpoint's tensor; to a GPU in pieces.
void read(const Checkpoint& checkpoint, const std::string& name, std::int64_t begin, const Tensor& to) {
  if (to.on_host()) {
    checkpoint.read(name, begin, to.elements(), DType::kFloat32, to.raw());
    return;
  }
  constexpr std::int64_t kPiece = std::int64_t{4} << 20;
  std::vector<float> piece(static_cast<std::size_t>(std::min(kPiece, to.elements())));
  for (std::int64_t at = 0; at < to.elements(); at += kPiece) {
    const std::int64_t count = std::min(kPiece, to.elements() - at);
    checkpoint.read(name, begin + at, count, DType::kFloat32, piece.data());
    copy_from_host(to.view(at, {count}), piece.data());
  }
}

}  // namespace

void load_parameters(Context& context, const ParameterStore& store, const Checkpoint& checkpoint) {
  for (const auto& p : store.parameters()) {
    check_shape(checkpoint, p->name(), p->shape());
    read(checkpoint, p->name(), 0, p->value());
  }
  store.refresh_copies(context);
}

void Trainer::restore(const Checkpoint& checkpoint) {
  const auto& store = task_.parameters();
  load_parameters(context_, store, checkpoint);
  const auto parts = sharded() ? owned_parts(store, communicator_.rank(), communicator_.size()) : owned_parts(store, 0, 1);
  for (const auto& [name, state] : optimizer_.states())
    for (const OwnedPart& part : parts) {
      if (part.parameter->sparse()) continue;
      const std::string full = "optimizer." + name + "." + part.parameter->name();
      check_shape(checkpoint, full, part.parameter->shape());
      if (part.begin < part.end)
        read(checkpoint, full, part.begin, state.view(optimizer_.shard().find(part.flat), {part.end - part.begin}));
    }
  for (const Optimizer::Table& table : optimizer_.tables())
    for (const auto& [name, state] : table.states) {
      const std::string full = "optimizer." + name + "." + table.parameter->name();
      check_shape(checkpoint, full, state.shape());
      read(checkpoint, full, 0, state);
    }
  const auto& state = checkpoint.state();
  try {
    step_ = checkpoint.step();
    seconds_ = state.at("seconds").get<double>();
    last_loss_ = state.at("last_loss").get<double>();
    bad_steps_ = state.at("bad_steps").get<std::int64_t>();
    best_value_ = state.at("best_loss").get<double>();
    best_step_ = state.at("best_step").get<std::int64_t>();
    evaluations_without_gain_ = state.at("evaluations_without_gain").get<std::int64_t>();
    evaluation_due_ = validation_ != nullptr && state.value("evaluation_due", false);  // older checkpoints lack it
    if (state.at("next_sample").get<std::int64_t>() != step_ * config_.train.batch)
      throw CheckpointError("resuming: the checkpoint stands at another data position than step " + std::to_string(step_) +
                            " of train.batch = " + std::to_string(config_.train.batch) +
                            "; use the config that the run was started with");
    if (state.at("threads").get<int>() != context_.threads())
      observer_.on_warning("resuming with " + std::to_string(context_.threads()) + " threads; the run used " +
                           std::to_string(state.at("threads").get<int>()) + ": results agree to rounding, not to the bit");
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError(std::string("resuming: the checkpoint's state lacks what the trainer needs: ") + e.what());
  }
  last_saved_ = step_;
  if (best_step_ > 0 && config_.checkpoint.keep_best) writer_.pin(best_step_);
}

CheckpointContents Trainer::contents() const {
  const auto& store = task_.parameters();
  CheckpointContents out;
  out.step = step_;
  // Every rank has all of the parameters and saves its share of them.
  const auto parts = owned_parts(store, communicator_.rank(), communicator_.size());
  const auto add = [&](const std::string& prefix, const OwnedPart& part, const Tensor& data, std::int64_t at) {
    out.tensors.push_back({.name = prefix + part.parameter->name(),
                           .data = data.view(at, {part.end - part.begin}),
                           .global_shape = part.parameter->shape(),
                           .begin = part.begin});
  };
  for (const OwnedPart& part : parts) add("", part, store.values(), part.flat);
  for (const auto& [name, state] : optimizer_.states())
    for (const OwnedPart& part : parts)
      if (!part.parameter->sparse())
        add("optimizer." + name + ".", part, state, part.begin < part.end ? optimizer_.shard().find(part.flat) : 0);
  for (const Optimizer::Table& table : optimizer_.tables())
    for (const auto& [name, state] : table.states) {  // of which every rank has all, too
      const FlatRange own = shard_of({0, state.elements()}, communicator_.rank(), communicator_.size());
      if (own.begin == own.end) continue;
      out.tensors.push_back({.name = "optimizer." + name + "." + table.parameter->name(),
                             .data = state.view(own.begin, {own.end - own.begin}),
                             .global_shape = state.shape(),
                             .begin = own.begin});
    }
  if (communicator_.rank() == 0) out.tensors.insert(out.tensors.end(), config_.tensors.begin(), config_.tensors.end());
  out.state = {{"seconds", seconds_},
               {"last_loss", last_loss_},
               {"bad_steps", bad_steps_},
               {"best_loss", best_value_},  // of the metric that tells the best, whichever that is
               {"best_step", best_step_},
               {"evaluations_without_gain", evaluations_without_gain_},
               {"evaluation_due", evaluation_due_},
               {"next_sample", step_ * config_.train.batch},
               {"seed", config_.seed},
               {"threads", context_.threads()},
               {"world_size", communicator_.size()},
               {"run", config_.extra}};
  return out;
}

}  // namespace tradewind::runtime
