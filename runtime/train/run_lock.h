// Who works in a run directory: one owner at a time, also over NFS, and also where the owner before is only cut off.
//
// Ownership is a file, <run>/lock-00000003: 3 is the fencing number, which grows with every owner. It says host, machine,
// process, job and since when. A thread sets its modification time anew, by the file server's clock, every quarter of the
// lease. A newcomer leaves a living owner alone. It takes over at once from one that has given the run back or whose process
// has ended on this machine; else when the lease has run out and nothing renews it. Taking over is making the file of the next
// number, which one newcomer alone can, and removing the ones before.
//
// An owner that was stopped or cut off past its lease may go on later and not know yet. So every commit asks (require_owner),
// and what is committed comes out of a staging directory that carries the number (checkpoint.h): the new owner moves it away
// before it begins, and the last rename of the old one, whenever it comes, finds nothing to rename. No clock, and no moment
// between asking and renaming, has to be trusted for that.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace tradewind::runtime {

struct RunOwner {
  std::int64_t number = 0;
  std::string host = "an unknown host";
  std::string machine;  // boot and process namespace: where `process` means something
  std::int64_t process = 0;
  std::int64_t process_start = 0;  // clock ticks after boot: tells it from a later process of the same number
  std::string job;                 // of Slurm; empty outside
  std::string since;               // UTC
  bool given_back = false;         // it ended in order
  std::string text() const;        // "process 12 on host h, job 7, since 2026-01-31T10:00:00Z"
};

class RunLock {
 public:
  static constexpr std::chrono::milliseconds kLease{60'000};

  /// Takes the run at `directory`, which exists. `note` is told where it has to wait for the lease of an owner that may be
  /// dead. Throws ConfigError where the run is in use or the directory cannot be written.
  RunLock(std::filesystem::path directory, std::chrono::milliseconds lease,
          const std::function<void(const std::string&)>& note);
  ~RunLock();  // gives it back
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  std::int64_t number() const { return owner_.number; }
  /// The owner before may still run, on another host or stopped: its lease had run out.
  bool replaced_someone() const { return replaced_; }
  /// Looks at the disk. Throws CheckpointError where the run has another owner by now, or where it cannot be told.
  void require_owner() const;
  /// The same without looking at the disk, as long as the lease is fresh: for every step.
  void require_lease() const;

  /// The file names of locks begin with this.
  static constexpr const char* kPrefix = "lock";

 private:
  void acquire(const std::function<void(const std::string&)>& note);
  bool may_replace(const RunOwner& owner, const std::function<void(const std::string&)>& note);
  void remove_before() const;
  void renew_until_closed();
  void renew() const;
  std::filesystem::path file_of(std::int64_t number) const;

  std::filesystem::path directory_;
  std::chrono::milliseconds lease_;
  RunOwner owner_;
  bool replaced_ = false;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool closed_ = false;
  mutable std::chrono::steady_clock::time_point renewed_;
  std::thread thread_;
};

}  // namespace tradewind::runtime
