// The verbs, one file each. A verb takes its options and gives the exit code; what goes wrong is an Error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/registry.h"

namespace tradewind::launcher {

struct TrainOptions {
  std::filesystem::path config;        // a recipe
  std::vector<std::string> overrides;  // --set key=value
  bool dry_run = false;
  bool fresh = false;  // start anew where the run directory holds a run
};

struct EvaluateOptions {
  std::filesystem::path run;
  std::vector<std::string> overrides;
  std::string checkpoint = "last";  // "last", "best" or a step
  bool json = false;
};

struct GenerateOptions {
  std::filesystem::path run;
  std::string checkpoint = "last";
  std::string prompt;
  std::int64_t tokens = 200;
  double temperature = 1.0;  // 0: greedy
  std::int64_t top_k = 0;    // 0: all
  double top_p = 1.0;
  std::uint64_t seed = 1;
  std::int64_t samples = 1;
  bool stream = false;
};

struct ExportOptions {
  std::filesystem::path run;
  std::string checkpoint = "last";
  std::filesystem::path to;
  bool overwrite = false;
};

struct VerifyOptions {
  std::filesystem::path path;  // of a run, or of one checkpoint
  bool json = false;
};

int train(const TrainOptions& options, const models::Registry& registry);
int evaluate(const EvaluateOptions& options, const models::Registry& registry);
int generate(const GenerateOptions& options, const models::Registry& registry);
int export_run(const ExportOptions& options, const models::Registry& registry);
/// Reads every byte of a run's checkpoints and says what is wrong; 4 where anything is.
int verify(const VerifyOptions& options, const models::Registry& registry);
/// Explains the keys under `key` ("" for all) of the config with `model` as model.name.
int config_schema(const std::string& key, const std::string& model, const models::Registry& registry);
/// Writes synthetic product copy to a file, or to standard output where `to` is empty.
int demo_text(const std::filesystem::path& to, std::int64_t documents, std::uint64_t seed);

}  // namespace tradewind::launcher
