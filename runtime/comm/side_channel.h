// The side channel: a TCP star from rank 0, on a thread of its own, that works while a collective is stuck.
//
// Every rank tells rank 0 each fifth of the heartbeat limit where it is: collective, sequence number, bytes, step. Rank 0
// decides.
//   silence over heartbeat_seconds, or a connection that breaks   the rank is lost
//   another op, size or history at one sequence number            the ranks went different ways, named at once
//   others wait for hang_seconds in a collective it is not in     the rank is alive and stuck elsewhere
//   report_error                                                  a rank failed
// It then prints one report (who failed, on which host, and where everybody is), orders all to stop, and every rank leaves with
// the same exit code, whatever its main thread is doing. A rank that hears nothing from rank 0 for as long decides for itself.
//
// Start: rank 0 calls listen(), its SideChannelAddress travels over MPI's broadcast, then every rank constructs. A connection
// proves that it knows the job's secret before anything of it is parsed (comm/wire.h); whoever cannot is dropped.
// End: a barrier, then close() on every rank.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernels/base/error.h"
#include "runtime/comm/flight_recorder.h"
#include "runtime/comm/wire.h"

namespace tradewind::runtime {

namespace detail {
class Side;
}

/// Where rank 0 listens, and the job's secret. Plain bytes, to be broadcast as they are.
struct SideChannelAddress {
  static constexpr int kMaxAddresses = 8;
  char host[64] = {};                      // name of rank 0's host
  char addresses[kMaxAddresses][48] = {};  // its numeric addresses, IPv4 or IPv6, tried in turn
  std::int32_t count = 0;                  // of them
  std::uint16_t port = 0;
  wire::Key secret{};
};

/// What rank 0 listens with.
struct SideChannelListener {
  wire::Socket socket;
  SideChannelAddress address;
};

struct SideChannelOptions {
  double heartbeat_seconds = 10;  // cluster.heartbeat_seconds
  double hang_seconds = 600;      // cluster.hang_seconds
  double connect_seconds = 60;    // for all ranks to be there
  std::string host;               // of this rank, for reports; empty: the machine's name
  /// Called on the side channel's thread on every rank when the job is being ended; it has a second. For the run's status.
  std::function<void(ExitCode, const std::string& report)> on_failure;
  /// Says a report; empty: on stderr.
  std::function<void(const std::string& report)> print;
  /// Ends the process; empty: _exit. Called on the side channel's thread. `decided`: this rank ended the job; the others obey.
  std::function<void(int code, bool decided)> leave;
};

class SideChannel {
 public:
  /// Rank 0: opens a port of the machine's choice and draws the secret. Throws CommError.
  static SideChannelListener listen();

  /// Connects. Ranks other than 0 return when rank 0 has answered; they throw CommError after connect_seconds. Rank 0 (the only
  /// one that passes a listener) returns at once and counts a rank as lost that has not come by then.
  SideChannel(int rank, int size, const SideChannelAddress& address, std::optional<SideChannelListener> listener,
              FlightRecorder& recorder, SideChannelOptions options);
  /// Without close() before, the others take this rank for lost.
  ~SideChannel();
  SideChannel(const SideChannel&) = delete;
  SideChannel& operator=(const SideChannel&) = delete;

  /// Reports also go to `folder`/failure-rank-N.txt from here on, with the flight recorder's collectives.
  void report_into(const std::filesystem::path& folder);

  /// From the main thread of a rank that failed: tells rank 0, which ends the job with `code` and prints `message` last. Does
  /// not return where the order to stop comes (within a few seconds). Returns false where rank 0 could not be told: the caller
  /// then says its message itself and leaves.
  bool report_error(ExitCode code, const std::string& message);

  /// A clean end, on every rank, after a barrier: from here on nobody misses this rank.
  void close();

 private:
  std::unique_ptr<detail::Side> side_;  // never null
};

}  // namespace tradewind::runtime
