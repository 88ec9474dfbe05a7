// One TOML file is one complete run.
#pragma once

#include <memory>
#include <string>

#include "launcher/ranks.h"
#include "models/registry.h"
#include "runtime/config/config.h"
#include "runtime/data/interactions.h"
#include "runtime/data/text_dataset.h"
#include "runtime/train/trainer.h"

namespace tradewind::launcher {

struct RunSection {
  std::string directory;
  std::string from;
  std::int64_t seed = 1;
  bool tensorboard = true;
  void describe(runtime::Fields& f);
};

struct RuntimeSection {
  std::int64_t threads = 0;
  std::string isa = "auto";
  void describe(runtime::Fields& f);
};

struct RunConfig {
  std::string device = "auto", precision = "auto";
  RunSection run;
  runtime::DataConfig data;                  // [data] of a model that reads text
  runtime::InteractionsConfig interactions;  // [data] of one that reads users' events
  std::string model_name = "gpt";
  std::unique_ptr<models::ModelConfig> model;
  runtime::TrainConfig train;
  runtime::OptimizerConfig optimizer;
  runtime::ScheduleConfig schedule;
  runtime::EvaluateConfig evaluate;
  runtime::CheckpointConfig checkpoint;
  RuntimeSection runtime;
  ClusterSection cluster;

  /// Every key but those that `registry` decides, and the chosen model's.
  void describe(runtime::Fields& f);
  runtime::TrainerConfig trainer_config() const;
  /// Samples evaluated at once: evaluate.batch, or what it is where that is 0.
  std::int64_t evaluation_batch() const;
  /// The keys as TOML, resolved.
  std::string text();
};

/// Reads a recipe. run.directory defaults to runs/<stem of the file>. Throws ConfigError.
RunConfig read_run_config(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                          const models::Registry& registry);
/// A config with defaults and the model `name`, for explaining.
RunConfig default_run_config(const std::string& model, const models::Registry& registry);

/// Device, precision, threads and instruction set as the config asks. Throws ConfigError or DeviceError with the remedy.
/// `notes` receives what "auto" became.
std::unique_ptr<runtime::Context> make_context(const RunConfig& config, std::vector<std::string>& notes, int ranks = 1);
/// The same on the CPU whatever the config's device: for what reads and writes parameters and does not compute.
std::unique_ptr<runtime::Context> make_host_context(const RunConfig& config);

}  // namespace tradewind::launcher
