// A trained run, opened for evaluating, generating or exporting.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/run_config.h"
#include "models/language/language_model.h"
#include "models/recommend/recommender.h"
#include "runtime/checkpoint/checkpoint.h"

namespace tradewind::launcher {

struct LoadedRun {
  RunConfig config;
  std::unique_ptr<runtime::Context> context;
  std::unique_ptr<runtime::Checkpoint> checkpoint;
  std::unique_ptr<runtime::Tokenizer> tokenizer;     // null where the model reads no text
  std::shared_ptr<const runtime::Vocabulary> items;  // null where it is no recommender
  std::unique_ptr<runtime::Task> task;               // with the checkpoint's parameters

  /// Throws ConfigError where the model generates no text.
  models::LanguageModel& language_model() const;
  /// Throws ConfigError where the model recommends nothing.
  models::Ranker& ranker() const;
  /// Throws ConfigError where the model has no vectors of items.
  models::Recommender& recommender() const;
};

/// A run that was trained on a GPU is read, and where there is none computed, on the CPU; the latter is said on stderr.
enum class LoadFor : std::uint8_t { kComputing, kReading };

/// `which`: "last", "best" or a step. Throws ConfigError where `run` is no run directory, CheckpointError where there is no
/// such checkpoint.
LoadedRun load_run(const std::filesystem::path& run, const std::string& which, const std::vector<std::string>& overrides,
                   const models::Registry& registry, LoadFor purpose = LoadFor::kComputing);
/// The same of the run's config, already read with `overrides`.
LoadedRun load_run(const std::filesystem::path& run, const std::string& which, RunConfig config,
                   const std::vector<std::string>& overrides, LoadFor purpose = LoadFor::kComputing);

/// The checkpoint alone.
runtime::Checkpoint select_checkpoint(const std::filesystem::path& run, const std::string& which);

/// What --checkpoint is where it is not given for a recommender: the best, or the last of a run that was never evaluated.
std::string best_or_last(const std::filesystem::path& run);

/// The tokenizer that a checkpoint holds. Throws CheckpointError where it holds none.
std::unique_ptr<runtime::Tokenizer> tokenizer_of(const runtime::Checkpoint& checkpoint);

/// The newest checkpoint of the run that run.from names; nothing where it names none.
std::optional<runtime::Checkpoint> open_origin(const RunConfig& config);

/// What the trainer stores in every checkpoint besides its own state, under "run".
/// `data`: RunData::state.
nlohmann::json run_state(RunConfig& config, const nlohmann::json& data, std::uint64_t data_checksum);

}  // namespace tradewind::launcher
