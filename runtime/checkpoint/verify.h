// What is wrong with a checkpoint, all of it: Checkpoint::open stops at the first thing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tradewind::runtime {

struct CheckpointReport {
  std::filesystem::path directory;
  std::int64_t step = -1;  // -1: the manifest does not say
  int world_size = 0;      // ranks that wrote it
  std::size_t files = 0, tensors = 0;
  std::uint64_t bytes = 0;            // of the files that the manifest names
  std::vector<std::string> problems;  // none: every byte is as it was written and every element of every tensor is there
  bool good() const { return problems.empty(); }
};

/// Reads every byte. Throws nothing for what it finds.
CheckpointReport verify_checkpoint(const std::filesystem::path& directory);

/// The directories under `parent` that are named like checkpoints, finished or not, by step, oldest first.
std::vector<std::filesystem::path> checkpoint_directories(const std::filesystem::path& parent);

}  // namespace tradewind::runtime
