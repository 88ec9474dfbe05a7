// Tiny trainings of a GPT, on the CPU or on the executor, by the trainer itself.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "models/language/generate.h"
#include "models/language/gpt.h"
#include "runtime/train/trainer.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {

/// Sequences that count up modulo the vocabulary, each from a place of its own by a step of its own: little to learn, and
/// quickly.
class Counting final : public runtime::Dataset {
 public:
  Counting(std::int64_t context, std::int64_t vocabulary) : context_(context), vocabulary_(vocabulary) {}
  std::int64_t samples_per_epoch() const override { return 64; }
  std::uint64_t checksum() const override { return 1; }
  runtime::Batch collate(std::span<const runtime::SampleRef> samples) const override {
    std::vector<std::vector<std::int32_t>> rows;
    std::vector<std::int32_t> targets;
    for (const auto& sample : samples) {
      const auto token = [&](std::int64_t t) {
        return static_cast<std::int32_t>((sample.index * 7 + t * (1 + sample.index % 2)) % vocabulary_);
      };
      rows.emplace_back();
      for (std::int64_t t = 0; t < context_; ++t) {
        rows.back().push_back(token(t));
        targets.push_back(token(t + 1));
      }
    }
    runtime::Batch batch = models::token_rows(rows, std::vector<std::int64_t>(rows.size(), 0));
    std::size_t at = 0;  // dropout's masks go with the running sample
    for (std::uint64_t& key : batch.fields.at("samples").span<std::uint64_t>())
      key = samples[at++ / static_cast<std::size_t>(context_)].running;
    const runtime::Tensor t(runtime::host_allocator(), {batch.tokens}, kernels::DType::kInt32);
    std::ranges::copy(targets, t.data<std::int32_t>());
    batch.fields["targets"] = t;
    batch.valid = batch.tokens;
    return batch;
  }

 private:
  std::int64_t context_, vocabulary_;
};

inline models::GptConfig tiny_gpt() {
  models::GptConfig c;
  c.layers = 1;
  c.heads = 2;
  c.channels = 32;
  c.context_length = 8;
  c.init_deviation = 0.1;
  return c;
}

struct TinyTraining {
  static constexpr std::int64_t kVocabulary = 12;
  kernels::Device device{};
  kernels::DType compute = kernels::DType::kFloat32;
  std::int64_t steps = 20, stop_after = 0;  // stop_after: steps of this start; 0: to the end
  std::int64_t micro_batch = 2;
  models::GptConfig model = tiny_gpt();
  std::string optimizer = "adamw";
};

/// What a training came to.
struct Trained {
  std::vector<double> losses, norms;
  std::vector<std::vector<float>> parameters;
  double validation = 0;
};

class Recorder final : public runtime::TrainObserver {
 public:
  Recorder(Trained& to, std::int64_t stop_after) : to_(to), stop_after_(stop_after) {}
  void on_step(const runtime::StepReport& report) override {
    to_.losses.push_back(report.loss);
    to_.norms.push_back(report.gradient_norm);
  }
  void on_evaluation(std::int64_t, const runtime::Evaluation& e, bool) override { to_.validation = e.loss; }
  bool stop_requested() override { return stop_after_ > 0 && static_cast<std::int64_t>(to_.losses.size()) >= stop_after_; }

 private:
  Trained& to_;
  std::int64_t stop_after_;
};

/// Trains in `folder`, from its newest checkpoint if it has one.
inline Trained train(const TinyTraining& t, const std::filesystem::path& folder) {
  Trained out;
  runtime::Context context(t.device, 1, 1, t.compute);
  models::Gpt model(t.model, TinyTraining::kVocabulary);
  model.parameters().allocate(context);
  const auto data = std::make_shared<const Counting>(t.model.context_length, TinyTraining::kVocabulary);
  runtime::TrainerConfig config;
  config.train.steps = t.steps;
  config.train.batch = 4;
  config.train.micro_batch = t.micro_batch;
  config.optimizer.name = t.optimizer;
  config.optimizer.learning_rate = t.optimizer == "sgd" ? 0.3 : 1e-2;
  config.evaluate.batches = 1;
  const auto communicator = runtime::make_single_communicator();
  Recorder recorder(out, t.stop_after);
  const runtime::LossValidation validation(data);
  runtime::Trainer trainer(context, *communicator, model, *data, &validation, config, runtime::CheckpointFolder(folder),
                           recorder);
  if (const auto checkpoint = runtime::open_newest_checkpoint(folder, [](const std::string&) {})) trainer.restore(*checkpoint);
  trainer.run();
  for (const auto& p : model.parameters().parameters()) {
    const runtime::Tensor host = on_host(p->value());
    const auto values = host.span<float>();
    out.parameters.emplace_back(values.begin(), values.end());
  }
  return out;
}

inline Trained train(const TinyTraining& t) {
  const TemporaryFolder folder;
  return train(t, folder.path());
}

}  // namespace tradewind::tests
