// What tests of sequence recommenders share: a model that learns, histories that can be learnt.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "models/recommend/ranking_validation.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/optim/optimizer.h"

namespace tradewind::tests {

/// A model of a config, on the CPU.
template <class Model>
struct SequenceFixture {
  template <class Config>
  explicit SequenceFixture(const Config& config, std::int64_t items = 30)
      : context(runtime::Device{}, 2, 1), model(config, items) {
    model.parameters().allocate(context);
  }
  /// training: with dropout.
  std::vector<float> losses(const runtime::Batch& batch, bool training = false) {
    model.parameters().begin_step();
    runtime::Tape tape(context, training);
    const runtime::RowLosses all = model.forward(tape, batch);
    const auto rows = all.loss.template span<float>();
    return {rows.begin(), rows.end()};
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
      scalars.loss_scale[0] = 1.0F / static_cast<float>(batch.valid);
      model.parameters().begin_step();
      runtime::Tape tape(context, true);
      model.forward(tape, batch);
      tape.backward();
      model.parameters().finish_gradients();
      optimizer.update(context);
    }
  }
  /// The parameters' gradients of the summed training loss against differences along random directions: the loss is float32, so
  /// one element's share would drown in its rounding.
  void check_gradients(const runtime::Batch& batch) {
    auto& store = model.parameters();
    context.step_state().loss_scale[0] = 1;
    store.begin_step();
    {
      runtime::Tape tape(context, true);
      model.forward(tape, batch);
      tape.backward();
    }
    store.finish_gradients();
    const auto all = store.gradients().template span<float>();
    const std::vector<float> gradients(all.begin(), all.end());
    std::mt19937 engine(5);
    for (const auto& p : store.parameters()) {
      std::vector<float> direction(static_cast<std::size_t>(p->shape().elements())), kept(direction.size());
      double slope = 0;
      float* const values = p->value().template data<float>();
      for (std::size_t i = 0; i < direction.size(); ++i) {
        direction[i] = static_cast<float>(engine()) / 2147483648.0F - 1.0F;
        kept[i] = values[i];
        slope += double{direction[i]} * gradients[static_cast<std::size_t>(p->begin()) + i];
      }
      const float h = 4e-3F / std::sqrt(static_cast<float>(direction.size()));
      const auto at = [&](float by) {
        for (std::size_t i = 0; i < direction.size(); ++i) values[i] = kept[i] + by * direction[i];
        const auto rows = losses(batch, true);
        return std::accumulate(rows.begin(), rows.end(), 0.0);
      };
      const double numeric = (at(h) - at(-h)) / (2 * double{h});
      at(0);
      BOOST_CHECK_MESSAGE(std::abs(numeric - slope) <= 2e-2 * std::max(1.0, std::abs(slope)),
                          p->name() << ": numeric " << numeric << ", gradient " << slope);
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

inline double metric(const runtime::Evaluation& e, const std::string& name) {
  for (const auto& [key, value] : e.metrics)
    if (key == name) return value;
  return NAN;
}

}  // namespace tradewind::tests
