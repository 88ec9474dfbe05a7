// This process among the ranks of a run: MPI, the collectives, the side channel. Alone where no launcher made ranks.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/flight_recorder.h"
#include "runtime/comm/side_channel.h"
#include "runtime/config/fields.h"

namespace tradewind::launcher {

struct ClusterSection {
  double heartbeat_seconds = 10;
  double hang_seconds = 600;
  void describe(runtime::Fields& f);
};

class Ranks {
 public:
  /// Starts MPI where a launcher made several ranks. Throws CommError.
  Ranks();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  /// Starts the side channel. Collective. From here on no rank is lost without the others knowing.
  void connect(const ClusterSection& config);

  runtime::Communicator& communicator() { return *communicator_; }
  int rank() const { return communicator_->rank(); }
  int size() const { return communicator_->size(); }
  bool alone() const { return size() == 1; }

  /// Collective. Rank 0's value on every rank.
  std::int64_t from_root(std::int64_t value);
  std::string from_root(const std::string& text) { return from(0, text); }
  /// Collective. Throws ConfigError on a rank where `text` is not what it is on most (without a majority: on rank 0), with the
  /// first line that differs.
  void require_same(const std::string& what, const std::string& text);

  /// Collective. Where ranks compute with more threads than they have cores: what to say of it, on rank 0.
  std::vector<std::string> crowded(int threads);

  /// Where reports of a failed job go.
  void report_into(const std::filesystem::path& folder);
  /// Called (on another thread) where the job is being ended, by whichever rank, until it is replaced by null.
  void on_failure(std::function<void(ExitCode, const std::string&)> act);
  /// The step that the ranks work on, for reports.
  void set_step(std::int64_t step) { recorder_.set_step(step); }

  /// This rank failed. Where there are others: ends them and this process with `code`, and never returns. Alone: does nothing.
  void fail(ExitCode code, const std::string& message);
  /// The end of a good run. Collective.
  void finish();

 private:
  std::string from(int root, const std::string& text);

  runtime::FlightRecorder recorder_;
  std::unique_ptr<runtime::Communicator> communicator_;
  std::unique_ptr<runtime::SideChannel> side_;
  std::mutex mutex_;
  std::function<void(ExitCode, const std::string&)> on_failure_;  // guarded by mutex_
};

}  // namespace tradewind::launcher
