// Who is where, and whether the job can still go on: rank 0's judgement of what it hears over the side channel.
//
// No clock, no socket, no thread in here: times are given (steady_now()), so that tests can tell any story.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/comm/flight_recorder.h"

namespace tradewind::runtime {

/// What a rank tells with every heartbeat.
struct RankReport {
  std::int64_t rank = 0, pid = 0;
  std::string host;
  CollectiveRecord last;                 // begin and end unused: `since` and `inside` travel instead
  bool inside = false;                   // in `last`; otherwise behind it
  std::int64_t since = 0;                // nanoseconds that it is in it, or out of it
  std::int64_t step = 0;                 // the step it works on
  std::vector<CollectiveRecord> recent;  // the newest of its flight recorder, the oldest first

  std::string encode() const;
  /// Throws CommError.
  static RankReport decode(std::string_view bytes);
};

/// Of this process now, with the newest `window` collectives.
RankReport report_of(std::int64_t rank, const std::string& host, const FlightRecorder& recorder, std::size_t window);

/// "rank 1 (node2, pid 77)"
std::string name_of(const RankReport& rank);
/// "waits in all_reduce 1234 (4096 bytes, step 57), for 9.8 s", with `later` nanoseconds passed since the report.
std::string position_of(const RankReport& rank, std::int64_t later);

/// Why the job ends.
struct Failure {
  ExitCode code = ExitCode::kDevice;
  std::int64_t rank = -1;  // the rank that is named first
  std::string message;     // names ranks and hosts
};

struct WatchLimits {
  std::int64_t silence = 0, hang = 0, connect = 0;  // nanoseconds
};

class Watch {
 public:
  static constexpr std::size_t kWindow = 32;  // collectives that a heartbeat carries

  /// Rank 0 is there from the start.
  Watch(std::int64_t size, WatchLimits limits, std::int64_t now);

  /// A rank that is there.
  void heard(const RankReport& report, std::int64_t now);
  /// It said goodbye: nobody waits for it any more.
  void left(std::int64_t rank);
  /// This process itself was stopped for so long: nobody is blamed for that time.
  void forgive(std::int64_t nanoseconds);
  bool joined(std::int64_t rank) const { return ranks_[static_cast<std::size_t>(rank)].heard >= 0; }
  bool all_joined() const;

  /// The newest collective that a rank is in which was heard since `since`, as text; empty where none is in one.
  std::string waited_for(std::int64_t since) const;
  /// All but rank 0, those that left and `except` were heard since.
  bool all_heard_since(std::int64_t since, std::int64_t except) const;

  /// The failure of a rank whose connection is gone.
  Failure lost(std::int64_t rank, const std::string& why) const;
  /// The failure that a rank told of itself, with the rank's name and place in front.
  Failure told(std::int64_t rank, ExitCode code, const std::string& message) const;
  /// What is wrong by now, if anything.
  std::optional<Failure> judge(std::int64_t now) const;
  /// Of that, the ranks that are silent.
  std::optional<Failure> silent(std::int64_t now) const;
  /// Where everybody is, a line a rank; of many ranks in one place only some are named.
  std::string positions(std::int64_t now) const;

 private:
  struct Rank {
    RankReport report;
    std::int64_t heard = -1;  // when; -1: not yet
    bool left = false;
  };
  struct Reference {
    std::int64_t rank;
    CollectiveRecord record;
  };

  void compare(const RankReport& report);
  std::optional<Failure> missing(std::int64_t now) const;
  std::optional<Failure> stuck(std::int64_t now) const;

  WatchLimits limits_;
  std::int64_t started_;
  std::vector<Rank> ranks_;
  std::map<std::uint64_t, Reference> references_;  // the first rank's word about a sequence number
  std::optional<Failure> mismatch_;
};

}  // namespace tradewind::runtime
