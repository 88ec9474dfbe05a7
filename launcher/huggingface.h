// From a run to a Hugging Face directory, and back.
#pragma once

#include <filesystem>
#include <string>

#include "launcher/session.h"

namespace tradewind::launcher {

/// Writes the run's model and tokenizer (runtime/text/huggingface_files.h) as `directory`. Returns the number of tensors.
/// Throws ConfigError where the model has no such form, and what write_huggingface throws.
std::size_t export_huggingface(const LoadedRun& run, const std::filesystem::path& directory, bool overwrite);

struct ImportedModel {
  std::string model, tokenizer;  // their names
  std::int64_t parameters = 0, vocabulary = 0;
  std::size_t tensors = 0;
};

/// Makes `run` a finished run of 0 steps with the model of a Hugging Face directory, ready for `evaluate`, `generate`, `export`
/// and run.from. `tokenizer`: "auto" (the one that lies in the directory), or "byte".
/// Throws ConfigError where config.json asks for what we do not have or `run` exists, CheckpointError naming the tensor that is
/// missing, left over or of another shape; then nothing is written.
ImportedModel import_huggingface(const std::filesystem::path& directory, const std::filesystem::path& run,
                                 const std::string& tokenizer, const models::Registry& registry);

}  // namespace tradewind::launcher
