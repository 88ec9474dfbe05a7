// Native checkpoints: directories of safetensors chunks that any world size can load.
//
// <run>/checkpoints/step-00000120/
//   chunk-00000-of-00001.safetensors   logical tensors. A whole one under its name and shape; a slice flat, under
//   name[begin:end],
//                                      its name, global shape and begin as JSON in the metadata "slices"
//   state.json                         everything that is no tensor (data position, metrics, RNG, schedule, config hash, ...)
//   manifest.json                      files with sizes and XXH3-64 checksums, its own checksum, format version, step; written
//   last
// Written under a temporary name, files and directories fsynced, renamed once. A checkpoint without a manifest, or whose
// files do not verify, does not count; the newest that verifies is the one resumed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/checkpoint/files.h"
#include "runtime/core/tensor.h"

namespace tradewind::runtime {

/// A tensor (or this rank's slice of one) to be saved. `data` is on the host.
struct CheckpointTensor {
  std::string name;        // "blocks.0.attention.qkv.weight", "optimizer.m.blocks.0..."
  Tensor data;             // contiguous
  Shape global_shape;      // of the whole tensor
  std::int64_t begin = 0;  // first element of the slice in the flattened global tensor
};

struct CheckpointContents {
  std::int64_t step = 0;
  std::vector<CheckpointTensor> tensors;
  nlohmann::json state;
};

/// A verified checkpoint, opened.
class Checkpoint {
 public:
  /// Verifies every checksum. Throws CheckpointError naming the file, what is wrong and the remedy.
  static Checkpoint open(const std::filesystem::path& directory);

  std::int64_t step() const { return step_; }
  const nlohmann::json& state() const { return state_; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  Shape shape(const std::string& name) const;  // global
  /// Elements [begin, begin + count) of the flattened global tensor `name`. Throws CheckpointError naming the tensor where it
  /// is missing, has another dtype, or a slice of it is not there.
  void read(const std::string& name, std::int64_t begin, std::int64_t count, DType dtype, void* destination) const;

 private:
  struct Slice {
    std::shared_ptr<const InputFile> file;  // held open: what was verified is what is read, whatever becomes of the directory
    std::uint64_t offset;                   // bytes in the file
    std::int64_t begin, count;
    DType dtype;
  };
  struct Entry {
    Shape global_shape;
    std::vector<Slice> slices;  // by begin, disjoint
  };
  void add_chunk(const std::filesystem::path& path, std::uint64_t bytes, const std::string& checksum);
  std::filesystem::path directory_;
  std::int64_t step_ = 0;
  nlohmann::json state_;
  std::map<std::string, Entry> entries_;
};

/// Writes a checkpoint at once; one of the same step is replaced in one step. Throws CheckpointError (a full disk: bytes needed
/// and free); what was there before stays. `state` may hold numbers that are not finite; doubles come back to the bit.
/// One process writes under a parent at a time: what an earlier one has left unfinished is removed.
void write_checkpoint(const std::filesystem::path& parent, const CheckpointContents& contents);

/// The directories under `parent` that have a manifest, by step, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& parent);

/// The newest one that verifies, or nothing where there is none at all. Each one passed over is reported through `warn`.
/// Throws CheckpointError where there are checkpoints and not one verifies, and where one is of a newer format: going back
/// behind it silently would throw work away.
std::optional<Checkpoint> open_newest_checkpoint(const std::filesystem::path& parent,
                                                 const std::function<void(const std::string&)>& warn);

/// Saves in the background: `save` takes a copy of the tensors (the only time that training waits, besides for the save before
/// it) and returns; a failure is thrown by the next `save` or `wait`. After each success keeps the newest `keep_last` up to the
/// step just saved and the one named by `pin`. Later ones are none of its business: they are damaged (open_newest_checkpoint
/// has passed them over) and are replaced when the run gets there. Memory: one copy of the tensors, reused.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path parent, std::int64_t keep_last);
  ~CheckpointWriter();  // waits; a failure that nobody asked for is printed to stderr
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  void save(const CheckpointContents& contents);
  void pin(std::int64_t step);  // the best so far: replaces the pin before it
  void wait();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tradewind::runtime
