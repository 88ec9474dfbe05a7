// A folder beside the file that is to come, for what is written on the way and is worth nothing afterwards.
#pragma once

#include <filesystem>
#include <utility>

namespace tradewind::runtime {

/// Of one process at a time, and empty but for its lock. That is the journal of a text that is prepared (prepared_stage.h), so
/// that neither takes the other's folder. Goes away with all in it.
class WorkFolder {
 public:
  /// Makes it, or takes away what a process left in it that died; `fresh`: also a text that is half prepared. Throws DataError:
  /// another process has it, there is such a text, or what no `prepare` has written.
  WorkFolder(std::filesystem::path folder, bool fresh);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return folder_; }
  /// A process died that had it.
  bool was_there() const { return was_there_; }

 private:
  void clear(bool fresh) const;

  std::filesystem::path folder_;
  bool was_there_;
  int descriptor_ = -1;  // of the lock
};

}  // namespace tradewind::runtime
