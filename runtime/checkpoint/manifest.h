// The two JSON files of a checkpoint: what manifest.json and state.json say, as text and back.
//
// manifest.json begins with its own checksum: XXH3-64 of all the text behind that line. The text before it is fixed, so not one
// byte of the file can change unseen. This first line stays the same in every version of the format.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/base/error.h"

namespace tradewind::runtime::detail {

inline constexpr std::int64_t kCheckpointVersion = 2;
inline constexpr const char* kManifestName = "manifest.json";
inline constexpr const char* kStateName = "state.json";

struct ManifestFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string checksum;
};

struct ManifestTensor {
  std::string name, dtype;
  std::vector<std::int64_t> shape;  // of the whole tensor
  bool operator==(const ManifestTensor&) const = default;
};

struct Manifest {
  std::int64_t step = 0;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;  // by name; version 1 lists none
  std::int64_t version = kCheckpointVersion;
  int world_size = 1;
};

/// A checkpoint that a newer version wrote: undamaged, but not for us.
class NewerFormat : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

std::string manifest_text(const Manifest& manifest);
/// Throws CheckpointError with what is wrong, without the file's name; NewerFormat.
Manifest parse_manifest(const std::string& text);

/// JSON has no infinities and no NaN: they are written as {"$number": "inf" | "-inf" | "nan"}.
std::string state_text(const nlohmann::json& state);
nlohmann::json parse_state(const std::string& text);

}  // namespace tradewind::runtime::detail
