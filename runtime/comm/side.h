// One rank's end of the side channel: what rank 0 and the others have in common. Internal to side_channel.cpp and its two
// halves.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "runtime/comm/side_channel.h"
#include "runtime/comm/watch.h"
#include "runtime/comm/wire.h"

namespace tradewind::runtime::detail {

enum class Message : std::uint8_t { kReport = 1, kError, kStop, kGoodbye, kAsk };

std::string message(Message kind, std::string_view body = {});
/// An error or an order to stop.
std::string encode(const Failure& failure, std::string_view report = {});

class Side {
 public:
  Side(int rank, FlightRecorder& recorder, SideChannelOptions options);
  virtual ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  bool report_error(ExitCode code, const std::string& text);
  void report_into(const std::filesystem::path& folder);
  void close();
  /// Ends the thread without a word. Every owner calls it before the object goes.
  void stop();

 protected:
  struct Requests {
    bool close = false, abandon = false;
    std::optional<Failure> error;
  };

  void start();
  virtual void run() = 0;  // the thread
  Requests take_requests();
  int wake_fd() const { return wake_.fd(); }
  /// Puts the report into the world (`say`: on stderr too) while the thread tells the others, and waits for it a bounded time.
  void publish(const Failure& failure, const std::string& report, bool say);
  void wait_published(double seconds);
  void leave(ExitCode code, bool decided);
  /// The line that a report begins with; cluster/mpirun/hosts reads it.
  static std::string headline(ExitCode code);
  RankReport own_report() const { return report_of(rank_, options_.host, recorder_, Watch::kWindow); }
  std::int64_t limit() const { return limit_; }
  std::int64_t interval() const { return limit_ / 5; }
  /// The pause between two looks at the clock, in milliseconds.
  int tick() const;

  const int rank_;
  FlightRecorder& recorder_;
  const SideChannelOptions options_;

 private:
  struct Publication;

  void wake() const;

  std::int64_t limit_;
  wire::Socket wake_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Requests requests_;                     // guarded by mutex_
  std::filesystem::path folder_;          // guarded by mutex_
  bool finished_ = true, ended_ = false;  // guarded by mutex_: the thread is over; it ended the job
  std::shared_ptr<Publication> publication_;
  std::thread thread_;
};

std::unique_ptr<Side> make_root_side(int size, SideChannelListener listener, FlightRecorder& recorder,
                                     SideChannelOptions options);
std::unique_ptr<Side> make_peer_side(int rank, const SideChannelAddress& address, FlightRecorder& recorder,
                                     SideChannelOptions options);

/// For small messages that must not wait, over connections that must not linger.
void tune_socket(int fd, double heartbeat_seconds);

inline std::int64_t nanoseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

}  // namespace tradewind::runtime::detail
