// A recommender in memory: the losses of batches, a short training, and histories whose next item is known.
#pragma once

#include <cmath>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "models/recommend/recommender.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/optim/optimizer.h"
#include "runtime/train/evaluator.h"

namespace tradewind::tests {

template <class Model>
struct RecommenderFixture {
  template <class Config>
  explicit RecommenderFixture(const Config& config, std::int64_t items = 30, kernels::Device device = {},
                              kernels::DType compute = kernels::DType::kFloat32)
      : context(device, 2, 1, compute), model(config, items) {
    model.parameters().allocate(context);
  }
  std::vector<float> losses(const runtime::Batch& batch) {
    runtime::Tape tape(context, false);
    const runtime::Tensor loss = on_host(model.forward(tape, on_device(context, batch)).loss);
    return {loss.span<float>().begin(), loss.span<float>().end()};
  }
  /// Gradients of `scale` times the sum of the losses.
  void gradients(const runtime::Batch& batch, float scale) {
    context.step_state().loss_scale[0] = scale;
    context.publish_step_state();
    model.parameters().begin_step();
    runtime::Tape tape(context, true);
    model.forward(tape, on_device(context, batch));
    tape.backward();
    model.parameters().finish_gradients();
  }
  /// Adam on all samples at once.
  void learn(const runtime::SequenceDataset& data, int steps) {
    runtime::OptimizerConfig adam;
    adam.name = "adam";
    adam.weight_decay = 0;
    runtime::Optimizer optimizer(adam, model.parameters(), context, std::nullopt);
    const auto n = data.samples_per_epoch();
    for (int step = 1; step <= steps; ++step) {
      std::vector<runtime::SampleRef> samples;
      for (std::int64_t i = 0; i < n; ++i) samples.push_back({static_cast<std::uint64_t>((step - 1) * n + i), step - 1, i});
      const runtime::Batch batch = data.collate(samples);
      auto& scalars = context.step_state();
      scalars.step = step;
      scalars.learning_rate = 1e-2F;
      scalars.gradient_scale = 1;
      gradients(batch, 1.0F / static_cast<float>(batch.valid));
      optimizer.update(context);
    }
  }
  runtime::Context context;
  Model model;
};

/// Histories in which item i + 1 follows item i, of all lengths; the last two are held out.
inline std::vector<std::vector<std::int32_t>> walks(std::int32_t users, std::int32_t items, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<std::vector<std::int32_t>> out;
  for (std::int32_t u = 0; u < users; ++u) {
    auto item = static_cast<std::int32_t>(engine() % static_cast<std::uint32_t>(items));
    std::vector<std::int32_t> history(4 + engine() % 8);
    for (auto& i : history) {
      i = item;
      item = (item + 1) % items;
    }
    out.push_back(history);
  }
  return out;
}

/// NaN where it was not measured.
inline double metric(const runtime::Evaluation& e, const std::string& name) {
  for (const auto& [key, value] : e.metrics)
    if (key == name) return value;
  return NAN;
}

}  // namespace tradewind::tests
