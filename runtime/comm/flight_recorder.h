// What a rank's collectives were and are: the last 256, kept for the moment when one of them hangs.
//
// The main thread writes, the side channel's thread reads. A record costs a mutex and a clock, next to nothing beside the
// collective itself.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace tradewind::runtime {

enum class Collective : std::uint8_t { kAllReduce, kAllGather, kReduceScatter, kBroadcast, kAllToAll, kBarrier };

/// "all_reduce", ...; "unknown" for a number that is none, as a message may hold.
const char* name_of(Collective op);

struct CollectiveRecord {
  std::uint64_t sequence = 0;  // from 1, the same on every rank; 0: none
  Collective op = Collective::kBarrier;
  std::int64_t bytes = 0;
  std::int64_t begin = 0, end = 0;  // steady clock, nanoseconds; end 0: still in it
  std::uint64_t history = 0;        // hash of op and bytes of this collective and all before it: equal where the ranks agree
  std::int64_t step = 0;            // the step it belongs to
  bool inside() const { return sequence != 0 && end == 0; }
};

/// Nanoseconds of the clock of the records.
std::int64_t steady_now();

class FlightRecorder {
 public:
  static constexpr std::size_t kCapacity = 256;

  /// Before a collective. `bytes` must be the same on every rank: the whole, where ranks have counts of their own.
  void enter(Collective op, std::int64_t bytes);
  /// After it.
  void leave();
  /// The step that the next collectives belong to; for reports.
  void set_step(std::int64_t step);

  /// The newest; sequence 0 before the first.
  CollectiveRecord last() const;
  std::int64_t step() const;
  /// At most `count` of the newest, the oldest first.
  std::vector<CollectiveRecord> recent(std::size_t count = kCapacity) const;
  /// recent() as text for a person, a line each, in seconds before now.
  std::string text() const;

 private:
  mutable std::mutex mutex_;
  std::array<CollectiveRecord, kCapacity> ring_{};  // sequence s at s % kCapacity
  std::uint64_t sequence_ = 0, history_ = 0;
  std::int64_t step_ = 0;
};

}  // namespace tradewind::runtime
