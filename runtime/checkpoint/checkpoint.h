// Native checkpoints: directories of safetensors chunks that any world size can load (README.md says what they guarantee).
//
// <run>/checkpoints/step-00000120/
//   chunk-00001-of-00004.safetensors   what rank 1 of 4 wrote: logical tensors. A whole one under its name and shape; a slice
//                                      flat, under name[begin:end], its name, global shape and begin as JSON in the metadata
//                                      "slices"
//   state.json                         everything that is no tensor (data position, metrics, RNG, schedule, config hash, ...)
//   manifest.json                      the files with sizes and XXH3-64 checksums, every tensor with dtype and shape, its own
//                                      checksum, format version, step, world size; written last
// Written under a temporary name, files and directories fsynced, renamed once. A checkpoint without a manifest, or whose
// files do not verify or leave an element of a tensor out, does not count; the newest that verifies is the one resumed.
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
#include "runtime/comm/communicator.h"
#include "runtime/core/tensor.h"

namespace tradewind::runtime {

namespace detail {
struct Manifest;
}

/// A tensor, or this rank's slice of one, to be saved: elements [begin, begin + data.elements()) of the flattened global
/// tensor.
struct TensorSlice {
  std::string name;        // "blocks.0.attention.qkv.weight", "optimizer.m.blocks.0..."
  Tensor data;             // contiguous, on the host or a GPU
  Shape global_shape;      // of the whole tensor
  std::int64_t begin = 0;  // first element of the slice in the flattened global tensor
};

/// What a rank gives to be saved. All ranks' slices together hold every element of every tensor once.
struct CheckpointContents {
  std::int64_t step = 0;
  std::vector<TensorSlice> tensors;
  nlohmann::json state;  // rank 0's is the one written
};

/// What opening a checkpoint looks at.
enum class Check : std::uint8_t {
  kEverything,  // every byte
  kLayout,      // manifest, state, sizes and headers: for ranks that open what rank 0 has verified a moment ago
};

/// A verified checkpoint, opened.
class Checkpoint {
 public:
  /// Verifies every checksum. Throws CheckpointError naming the file, what is wrong and the remedy.
  static Checkpoint open(const std::filesystem::path& directory, Check check = Check::kEverything);

  std::int64_t step() const { return step_; }
  int world_size() const { return world_size_; }  // of the run that wrote it
  const nlohmann::json& state() const { return state_; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  Shape shape(const std::string& name) const;  // global
  DType dtype(const std::string& name) const;
  /// Elements [begin, begin + count) of the flattened global tensor `name`. Throws CheckpointError naming the tensor where it
  /// is missing, has another dtype, or a slice of it is not there.
  void read(const std::string& name, std::int64_t begin, std::int64_t count, DType dtype, void* destination) const;

 private:
  friend class CheckpointWriter;
  struct Slice {
    std::shared_ptr<const InputFile> file;  // held open: what was verified is what is read, whatever becomes of the directory
    std::uint64_t offset;                   // bytes in the file
    std::int64_t begin, count;
  };
  struct Entry {
    Shape global_shape;
    DType dtype;
    std::vector<Slice> slices;  // by begin, without gap or overlap
  };
  /// Opens the files that `manifest` names and puts the slices together.
  static Checkpoint assemble(const std::filesystem::path& directory, const detail::Manifest& manifest, Check check);
  void add_chunk(std::shared_ptr<const InputFile> file);
  void check_slices();
  const Entry& entry(const std::string& name) const;
  std::filesystem::path directory_;
  std::int64_t step_ = 0;
  int world_size_ = 1;
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

/// Where a run's checkpoints lie, and who may change them.
struct CheckpointFolder {
  CheckpointFolder(std::filesystem::path directory, std::filesystem::path staging_directory = {},
                   std::function<void()> owner_check = nullptr)
      : path(std::move(directory)), staging(std::move(staging_directory)), require_owner(std::move(owner_check)) {}
  std::filesystem::path path;
  /// Where unfinished checkpoints are made and from where they are renamed, and where old ones go before they are deleted: a
  /// directory of this owner alone, on the same file system, that is there. Whoever takes the run over renames it away, and
  /// from then on nothing of the owner before can come into `path`. Empty: the writer has `path` to itself and makes names of
  /// its own there. All ranks give the same.
  std::filesystem::path staging;
  /// Called by rank 0 before it commits; throws where the run has another owner by now. May be null.
  std::function<void()> require_owner;
};

/// Saves in the background, all ranks together. Each rank writes one chunk with its slices; rank 0 adds state and manifest and
/// renames. After each success the newest `keep_last` up to the step just saved stay, and the one named by `pin`. Later ones
/// are none of its business: they are damaged (open_newest_checkpoint has passed them over) and are replaced when the run gets
/// there. Memory: one copy of the rank's slices, reused.
///
/// One process alone: `begin` (or `save`) does it all in the background. More ranks: `begin` writes this rank's chunk, and once
/// every rank's `local_done()` holds, all call `commit` at the same step.
class CheckpointWriter {
 public:
  /// With more than one rank `folder.staging` must be given.
  CheckpointWriter(CheckpointFolder folder, std::int64_t keep_last, int rank = 0, int size = 1);
  ~CheckpointWriter();  // waits; a failure that nobody asked for is printed to stderr
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Takes a copy of the tensors (the only time that training waits) and returns. The one begun before must have been
  /// committed; one process alone waits for it, and its failure is thrown.
  void begin(const CheckpointContents& contents);
  /// A checkpoint was begun and not yet committed.
  bool pending() const;
  /// This rank's part has ended, well or not: commit will not wait for this rank.
  bool local_done() const;
  /// Collective: ends what was begun; nothing where nothing was. Waits for the slowest rank. Throws CheckpointError on every
  /// rank, with the rank and host that failed, if any did; then there is no new checkpoint and the old ones are as they were.
  void commit(Communicator& communicator);

  void save(const CheckpointContents& contents) { begin(contents); }
  void wait();                  // one process alone: the end of what was begun
  void pin(std::int64_t step);  // the best so far: replaces the pin before it

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tradewind::runtime
