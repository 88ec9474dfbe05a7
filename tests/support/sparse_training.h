// Tiny trainings of a SASRec with negatives by the trainer itself, the item table's gradients dense or sparse.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/recommend/sasrec.h"
#include "runtime/data/sequence_dataset.h"
#include "tests/simt/training.h"
#include "tests/support/histories.h"

namespace tradewind::tests {

struct SparseTraining {
  static constexpr std::int32_t kItems = 60;
  kernels::Device device{};
  kernels::DType compute = kernels::DType::kFloat32;
  bool sparse = true;
  std::string optimizer = "sgd";
  bool rowwise = false;
  std::int64_t steps = 12, stop_after = 0;  // stop_after: steps of this start; 0: to the end
  std::int64_t micro_batch = 3;
};

/// Users walk through the items, each from a place of its own.
inline std::shared_ptr<const runtime::Interactions> walking_shop() {
  std::vector<std::vector<std::int32_t>> histories(24);
  for (std::int32_t u = 0; u < 24; ++u)
    for (std::int32_t e = 0; e < 5 + u % 4; ++e)
      histories[static_cast<std::size_t>(u)].push_back((7 * u + e) % SparseTraining::kItems);
  return shop_of(histories, SparseTraining::kItems);
}

/// Trains in `folder`, from its newest checkpoint if it has one. The first of the parameters is the item table.
inline Trained train(const SparseTraining& t, const std::filesystem::path& folder) {
  Trained out;
  models::SasRecConfig c;
  c.net.layers = 1;
  c.net.channels = 16;
  c.net.context_length = 6;
  c.net.dropout = 0.1;
  c.net.init_deviation = 0.2;
  c.loss.kind = "bce";
  c.loss.negatives_per_position = 2;
  c.sparse_embeddings = t.sparse;
  runtime::Context context(t.device, 1, 1, t.compute);
  models::SasRec model(c, SparseTraining::kItems);
  model.parameters().allocate(context);
  const runtime::SequenceDataset data(walking_shop(),
                                      {.context = c.net.context_length, .negatives = c.loss.negatives_per_position});
  runtime::TrainerConfig config;
  config.train.steps = t.steps;
  config.train.batch = 8;
  config.train.micro_batch = t.micro_batch;
  config.train.clip = 0.5;  // below the norms of the first steps
  config.optimizer.name = t.optimizer;
  config.optimizer.learning_rate = t.optimizer == "sgd" ? 0.5 : 0.05;
  config.optimizer.weight_decay = 0;
  config.optimizer.momentum = 0;
  config.optimizer.rowwise = t.rowwise;
  // Else Adam and Adagrad make steps of what is rounding alone: the gradient of the keys' biases.
  config.optimizer.epsilon = 1e-3;
  config.optimizer.initial_accumulator = 0.1;
  config.schedule.name = "constant";
  const auto communicator = runtime::make_single_communicator();
  Recorder recorder(out, t.stop_after);
  runtime::Trainer trainer(context, *communicator, model, data, nullptr, config, runtime::CheckpointFolder(folder), recorder);
  if (const auto checkpoint = runtime::open_newest_checkpoint(folder, [](const std::string&) {})) trainer.restore(*checkpoint);
  trainer.run();
  for (const auto& p : model.parameters().parameters()) {
    const runtime::Tensor host = on_host(p->value());
    const auto values = host.span<float>();
    out.parameters.emplace_back(values.begin(), values.end());
  }
  return out;
}

inline Trained train(const SparseTraining& t) {
  const TemporaryFolder folder;
  return train(t, folder.path());
}

/// Losses, norms and parameters of the two.
inline void check_trained(const std::string& what, const Trained& got, const Trained& want, double tolerance) {
  check_close(what + " losses", got.losses, want.losses, tolerance);
  check_close(what + " norms", got.norms, want.norms, tolerance);
  BOOST_REQUIRE_EQUAL(got.parameters.size(), want.parameters.size());
  for (std::size_t i = 0; i < want.parameters.size(); ++i)
    check_close(what + " parameter " + std::to_string(i), got.parameters[i], want.parameters[i], tolerance);
}

}  // namespace tradewind::tests
