// Hugging Face directories: config.json, weights in safetensors form, whatever else lies beside them.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/safetensors.h"

namespace tradewind::runtime {

/// config.json of a directory. Throws ConfigError where this is no such directory, CheckpointError where the file is broken.
nlohmann::json read_huggingface_config(const std::filesystem::path& directory);

/// The weights: model.safetensors, or the shards that model.safetensors.index.json names.
class HuggingFaceWeights {
 public:
  /// Throws CheckpointError naming the file: no weights (with the remedy where there are those of another format), a broken
  /// one, a tensor in two shards, one that the index names and no shard holds.
  explicit HuggingFaceWeights(const std::filesystem::path& directory);

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return where_.contains(name); }
  const std::vector<std::int64_t>& shape(const std::string& name) const { return file(name).entry(name).shape; }
  /// The tensor as float32, from float32, float16 or bfloat16 (both exactly). Throws CheckpointError naming the tensor where it
  /// is missing or of another type; `out` must have its size.
  void read(const std::string& name, std::span<float> out) const;

 private:
  const SafetensorsFile& file(const std::string& name) const;
  std::filesystem::path directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> where_;  // index into files_
};

/// Writes `directory` whole or not at all: made beside it under a temporary name, synced, renamed. `files` are texts beside
/// config.json and model.safetensors, by name.
/// Throws CheckpointError (a full disk, no permission), ConfigError where the directory exists without `overwrite`, or with it
/// and is none that holds a model: nothing else is ever replaced.
void write_huggingface(const std::filesystem::path& directory, const nlohmann::ordered_json& config,
                       const std::vector<SafetensorsTensor>& tensors, const std::map<std::string, std::string>& files,
                       bool overwrite);

/// IEEE 754 binary16 and bfloat16 to float32: exact, but for the payload of a NaN.
float float_of_half(std::uint16_t bits);
float float_of_bfloat16(std::uint16_t bits);

}  // namespace tradewind::runtime
