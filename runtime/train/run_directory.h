// The directory of a run: who works in it, what it holds, whether it may go on.
//
//   <run>/lock-00000003     who works in it (run_lock.h)
//   <run>/status.json       format, version, state, step, exit_code, seconds; what makes it a run directory
//   <run>/config.toml       the resolved config
//   <run>/environment.json  build, machine, libraries
//   <run>/metrics.jsonl     an object a line (runtime/train/metrics_file.h)
//   <run>/events.out.tfevents.*  the same for TensorBoard, a file a start (runtime/train/event_file.h)
//   <run>/log.txt
//   <run>/logs/             of the other ranks, and reports of failed jobs
//   <run>/checkpoints/
//   <run>/old/              the run with checkpoints before the last --fresh
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/core/log.h"
#include "runtime/train/run_lock.h"

namespace tradewind::runtime {

enum class RunState : std::uint8_t { kRunning, kStopped, kFinished, kFailed };

class RunDirectory {
 public:
  /// Creates or opens `path`, takes its lock, and opens `log` in it. `config` is the resolved config (write_config).
  /// With `fresh` a run that is there moves to old/, in place of the one there, or goes where it has no checkpoint; only files
  /// that Tradewind makes are touched.
  /// Throws ConfigError with the remedy where the directory holds something else than a run, a finished run, a run of a newer
  /// version or of another config (keys with both values), or is in use (process and host). A run that has no checkpoint yet
  /// begins anew, whatever its config. Keys that do not change the mathematics (threads, cadence of evaluation and of
  /// checkpoints) may differ: `log` warns.
  /// An owner that may be dead, on another host or stopped, is given `lease` to show a sign of life.
  RunDirectory(const std::filesystem::path& path, const std::string& config, bool fresh, Log& log,
               std::chrono::milliseconds lease = RunLock::kLease);
  ~RunDirectory();  // gives the lock back
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  /// There is a checkpoint to go on from.
  bool resumable() const { return resumable_; }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  /// The checkpoints as this owner may change them. Other ranks take checkpoint_folder(path, fence) with the fence of this one.
  CheckpointFolder checkpoint_folder() const;
  /// The fencing number: it grows with every owner of the run.
  std::int64_t fence() const { return lock_->number(); }
  /// Throws CheckpointError where this process was stopped or cut off, and the run has another owner by now. Cheap.
  void require_lease() const { lock_->require_lease(); }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }

  /// Writes environment.json.
  void write_environment(const nlohmann::ordered_json& environment) const;
  /// Step and seconds of the status written last.
  std::pair<std::int64_t, double> progress() const;
  /// Writes status.json, whole or not at all. Throws CheckpointError where the run has another owner by now.
  void write_status(RunState state, std::int64_t step, int exit_code, double seconds) const;

 private:
  void start_fresh() const;
  void shut_out_owners_before() const;

  std::filesystem::path path_;
  std::unique_ptr<RunLock> lock_;
  bool resumable_ = false;
};

/// The checkpoints of the run at `run` for a rank that does not own the directory: `fence` is its owner's.
CheckpointFolder checkpoint_folder(const std::filesystem::path& run, std::int64_t fence);

/// Writes `text` under a temporary name and renames it to `file`. Throws CheckpointError (a full disk) naming the file.
void write_file_whole(const std::filesystem::path& file, const std::string& text);

}  // namespace tradewind::runtime
