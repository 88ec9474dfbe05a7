// What tests of recommenders share: a model in memory, its losses and gradients, a short training, histories that can be
// learnt.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "models/recommend/ranking_validation.h"
#include "models/recommend/recommender.h"
#include "runtime/core/transfer.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/optim/optimizer.h"

namespace tradewind::tests {

/// All samples in order, as the epoch of that number has them.
inline std::vector<runtime::SampleRef> epoch_of(const runtime::Dataset& data, std::int64_t epoch) {
  const std::int64_t n = data.samples_per_epoch();
  std::vector<runtime::SampleRef> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back({static_cast<std::uint64_t>(epoch * n + i), epoch, i});
  return out;
}

template <class Model>
struct RecommenderFixture {
  /// more: what the model takes behind the items.
  template <class Config, class... More>
  explicit RecommenderFixture(const Config& config, std::int64_t items = 30, kernels::Device device = {},
                              kernels::DType compute = kernels::DType::kFloat32, More&&... more)
      : context(device, 2, 1, compute), model(config, items, std::forward<More>(more)...) {
    model.parameters().allocate(context);
  }
  /// Of a model that knows users by number.
  template <class Config>
  RecommenderFixture(const Config& config, std::pair<std::int64_t, std::int64_t> users_and_items)
      : context(kernels::Device{}, 2, 1), model(config, users_and_items.first, users_and_items.second) {
    model.parameters().allocate(context);
  }

  /// training: with dropout.
  std::vector<float> losses(const runtime::Batch& batch, bool training = false) {
    model.parameters().begin_step();
    runtime::Tape tape(context, training);
    const runtime::Tensor loss = on_host(model.forward(tape, on_device(context, batch)).loss);
    return {loss.span<float>().begin(), loss.span<float>().end()};
  }
  double total(const runtime::Batch& batch, bool training = false) {
    const auto all = losses(batch, training);
    return std::accumulate(all.begin(), all.end(), 0.0);
  }
  /// Gradients of `scale` times the sum of the losses.
  void gradients(const runtime::Batch& batch, float scale = 1) {
    context.step_state().loss_scale[0] = scale;
    context.publish_step_state();
    model.parameters().begin_step();
    runtime::Tape tape(context, true);
    model.forward(tape, on_device(context, batch));
    tape.backward();
    model.parameters().finish_gradients();
  }
  /// Adam on all samples at once.
  void learn(const runtime::Dataset& data, int steps, float rate = 1e-2F) {
    runtime::OptimizerConfig adam;
    adam.name = "adam";
    adam.weight_decay = 0;
    runtime::Optimizer optimizer(adam, model.parameters(), context, std::nullopt);
    for (int step = 1; step <= steps; ++step) {
      const runtime::Batch batch = data.collate(epoch_of(data, step - 1));
      auto& scalars = context.step_state();
      scalars.step = step;
      scalars.learning_rate = rate;
      scalars.gradient_scale = 1;
      gradients(batch, 1.0F / static_cast<float>(batch.valid));
      optimizer.update(context);
    }
  }
  /// The full softmax's loss of the last row of each history, by its definition in float64 from the vectors that serving uses.
  void check_losses_are_of_the_served_vectors(const runtime::Batch& batch) {
    const auto found = losses(batch);
    const runtime::Tensor x = model.queries(context, batch), w = model.item_vectors(context);
    const std::int64_t C = w.size(1);
    const auto offsets = batch["offsets"].template span<std::int64_t>();
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
      const auto* const query = x.template data<float>() + static_cast<std::int64_t>(s) * C;
      const std::int64_t last = offsets[s + 1] - 1;
      double sum = 0, target = 0;
      for (std::int64_t v = 0; v < w.size(0); ++v) {
        const auto* const item = w.template data<float>() + v * C;
        const double z =
            std::inner_product(query, query + C, item, 0.0, std::plus<>(), [](float a, float b) { return double{a} * b; });
        sum += std::exp(z);
        if (v == batch["targets"].template data<std::int32_t>()[last]) target = z;
      }
      const double expected = std::log(sum) - target, got = found[static_cast<std::size_t>(last)];
      BOOST_CHECK_MESSAGE(std::abs(got - expected) <= 1e-5, got << " is not " << expected);
    }
  }
  /// The parameters' gradients of the summed training loss against differences along random directions: the loss is float32, so
  /// one element's share would drown in its rounding.
  void check_gradients(const runtime::Batch& batch) {
    auto& store = model.parameters();
    gradients(batch);
    const auto all = store.gradients().template span<float>();
    const std::vector<float> gradient(all.begin(), all.end());
    std::mt19937 engine(5);
    for (const auto& p : store.parameters()) {
      std::vector<float> direction(static_cast<std::size_t>(p->shape().elements())), kept(direction.size());
      double slope = 0;
      float* const values = p->value().template data<float>();
      for (std::size_t i = 0; i < direction.size(); ++i) {
        direction[i] = static_cast<float>(engine()) / 2147483648.0F - 1.0F;
        kept[i] = values[i];
        slope += double{direction[i]} * gradient[static_cast<std::size_t>(p->begin()) + i];
      }
      const float h = 4e-3F / std::sqrt(static_cast<float>(direction.size()));
      const auto at = [&](float by) {
        for (std::size_t i = 0; i < direction.size(); ++i) values[i] = kept[i] + by * direction[i];
        return total(batch, true);
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

/// Of a tensor in float32 or bfloat16, wherever it is.
inline std::vector<float> floats_of(const runtime::Tensor& tensor) {
  const runtime::Tensor host = models::host_floats(tensor);
  return {host.span<float>().begin(), host.span<float>().end()};
}

/// NaN where it was not measured.
inline double metric(const runtime::Evaluation& e, const std::string& name) {
  for (const auto& [key, value] : e.metrics)
    if (key == name) return value;
  return NAN;
}

}  // namespace tradewind::tests
