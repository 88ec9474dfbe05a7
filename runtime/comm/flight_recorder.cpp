#include "runtime/comm/flight_recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace tradewind::runtime {
namespace {

/// The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the input moves every bit of the output.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace

const char* name_of(Collective op) {
  switch (op) {
    case Collective::kAllReduce: return "all_reduce";
    case Collective::kAllGather: return "all_gather";
    case Collective::kReduceScatter: return "reduce_scatter";
    case Collective::kBroadcast: return "broadcast";
    case Collective::kAllToAll: return "all_to_all";
    case Collective::kBarrier: return "barrier";
  }
  return "unknown";
}

std::int64_t steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void FlightRecorder::enter(Collective op, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++sequence_;
  history_ = mix(history_ ^ mix(static_cast<std::uint64_t>(bytes) * 8 + static_cast<std::uint64_t>(op)));
  ring_[sequence_ % kCapacity] = {sequence_, op, bytes, steady_now(), 0, history_, step_};
}

void FlightRecorder::leave() {
  const std::lock_guard lock(mutex_);
  ring_[sequence_ % kCapacity].end = steady_now();
}

void FlightRecorder::set_step(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
}

CollectiveRecord FlightRecorder::last() const {
  const std::lock_guard lock(mutex_);
  return sequence_ == 0 ? CollectiveRecord{} : ring_[sequence_ % kCapacity];
}

std::int64_t FlightRecorder::step() const {
  const std::lock_guard lock(mutex_);
  return step_;
}

std::vector<CollectiveRecord> FlightRecorder::recent(std::size_t count) const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t kept = std::min<std::uint64_t>({count, sequence_, kCapacity});
  std::vector<CollectiveRecord> out;
  out.reserve(kept);
  for (std::uint64_t s = sequence_ - kept + 1; s <= sequence_; ++s) out.push_back(ring_[s % kCapacity]);
  return out;
}

std::string FlightRecorder::text() const {
  const std::int64_t now = steady_now();
  const auto seconds = [](std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; };
  std::string out = "sequence   step  collective            bytes  began, seconds ago    took\n";
  for (const CollectiveRecord& r : recent())
    out += fmt::format("{:>8} {:>6}  {:<14} {:>12}  {:>18.6f}  {}\n", r.sequence, r.step, name_of(r.op), r.bytes,
                       seconds(now - r.begin), r.inside() ? "still in it" : fmt::format("{:.6f}", seconds(r.end - r.begin)));
  return out;
}

}  // namespace tradewind::runtime
