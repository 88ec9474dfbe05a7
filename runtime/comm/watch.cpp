#include "runtime/comm/watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/comm/wire.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kReferences = 4 * FlightRecorder::kCapacity;
constexpr std::size_t kNamedInOnePlace = 8;

double seconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

std::string text_of(const CollectiveRecord& r) {
  return fmt::format("{} {} ({} bytes, step {})", name_of(r.op), r.sequence, r.bytes, r.step);
}

/// "ranks 3, 4 and 7", each with its host where it is known.
std::string list(const std::vector<const RankReport*>& ranks) {
  std::string out;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i == kNamedInOnePlace) return out + fmt::format(" and {} more", ranks.size() - i);
    out += (i == 0 ? "" : ", ") + name_of(*ranks[i]);
  }
  return out;
}

void put(wire::Writer& out, const CollectiveRecord& r) {
  out.u64(r.sequence);
  out.u8(static_cast<std::uint8_t>(r.op));
  out.i64(r.bytes);
  out.u64(r.history);
  out.i64(r.step);
}

CollectiveRecord get_record(wire::Reader& in) {
  CollectiveRecord r;
  r.sequence = in.u64();
  r.op = static_cast<Collective>(in.u8());
  r.bytes = in.i64();
  r.history = in.u64();
  r.step = in.i64();
  return r;
}

}  // namespace

std::string RankReport::encode() const {
  wire::Writer out;
  out.i64(rank);
  out.i64(pid);
  out.text(host);
  put(out, last);
  out.u8(inside ? 1 : 0);
  out.i64(since);
  out.i64(step);
  out.u64(recent.size());
  for (const CollectiveRecord& r : recent) put(out, r);
  return out.bytes();
}

RankReport RankReport::decode(std::string_view bytes) {
  wire::Reader in(bytes);
  RankReport out;
  out.rank = in.i64();
  out.pid = in.i64();
  out.host = in.text();
  out.last = get_record(in);
  out.inside = in.u8() != 0;
  out.since = in.i64();
  out.step = in.i64();
  const std::uint64_t count = in.u64();
  if (count > FlightRecorder::kCapacity) throw CommError("a heartbeat tells of too many collectives");
  for (std::uint64_t i = 0; i < count; ++i) out.recent.push_back(get_record(in));
  return out;
}

RankReport report_of(std::int64_t rank, const std::string& host, const FlightRecorder& recorder, std::size_t window) {
  RankReport out;
  out.rank = rank;
  out.pid = getpid();
  out.host = host;
  out.recent = recorder.recent(window);
  if (!out.recent.empty()) out.last = out.recent.back();
  out.inside = out.last.inside();
  if (out.last.sequence != 0) out.since = steady_now() - (out.inside ? out.last.begin : out.last.end);
  out.step = recorder.step();
  return out;
}

std::string name_of(const RankReport& rank) {
  return rank.host.empty() ? fmt::format("rank {}", rank.rank)
                           : fmt::format("rank {} ({}, pid {})", rank.rank, rank.host, rank.pid);
}

std::string position_of(const RankReport& rank, std::int64_t later) {
  if (rank.last.sequence == 0) return "before its first collective";
  if (rank.inside) return fmt::format("waits in {}, for {:.1f} s", text_of(rank.last), seconds(rank.since + later));
  return fmt::format("computes in step {}, {:.1f} s after {}", rank.step, seconds(rank.since + later), text_of(rank.last));
}

Watch::Watch(std::int64_t size, WatchLimits limits, std::int64_t now)
    : limits_(limits), started_(now), ranks_(static_cast<std::size_t>(size)) {
  for (std::size_t i = 0; i < ranks_.size(); ++i) ranks_[i].report.rank = static_cast<std::int64_t>(i);
}

void Watch::heard(const RankReport& report, std::int64_t now) {
  Rank& rank = ranks_[static_cast<std::size_t>(report.rank)];
  rank.report = report;
  rank.heard = now;
  compare(report);
}

void Watch::left(std::int64_t rank) { ranks_[static_cast<std::size_t>(rank)].left = true; }

void Watch::forgive(std::int64_t nanoseconds) {
  started_ += nanoseconds;
  for (Rank& rank : ranks_)
    if (rank.heard >= 0) rank.heard += nanoseconds;
}

bool Watch::all_joined() const {
  return std::all_of(ranks_.begin() + 1, ranks_.end(), [](const Rank& rank) { return rank.heard >= 0; });
}

void Watch::compare(const RankReport& report) {
  for (const CollectiveRecord& mine : report.recent) {
    const auto [known, first] = references_.try_emplace(mine.sequence, Reference{report.rank, mine});
    const CollectiveRecord& other = known->second.record;
    if (mismatch_ || first || other.history == mine.history) continue;
    const std::string& a = name_of(ranks_[static_cast<std::size_t>(known->second.rank)].report);
    const bool here = other.op != mine.op || other.bytes != mine.bytes;
    mismatch_ = Failure{
        ExitCode::kDevice, report.rank,
        here ? fmt::format(
                   "the ranks went different ways: collective {} is {} of {} bytes on {}, and {} of {} bytes on {}. Do all "
                   "ranks run the same build, config and data?",
                   mine.sequence, name_of(other.op), other.bytes, a, name_of(mine.op), mine.bytes, name_of(report))
             : fmt::format(
                   "the ranks went different ways: {} and {} made other collectives before number {}. Do all ranks run the "
                   "same build, config and data?",
                   a, name_of(report), mine.sequence)};
  }
  while (references_.size() > kReferences) references_.erase(references_.begin());
}

std::string Watch::waited_for(std::int64_t since) const {
  const RankReport* newest = nullptr;
  for (const Rank& rank : ranks_)
    if (rank.heard >= since && !rank.left && rank.report.inside &&
        (newest == nullptr || rank.report.last.sequence > newest->last.sequence))
      newest = &rank.report;
  return newest == nullptr ? std::string() : text_of(newest->last);
}

bool Watch::all_heard_since(std::int64_t since, std::int64_t except) const {
  for (std::size_t i = 1; i < ranks_.size(); ++i)
    if (const Rank& rank = ranks_[i];
        static_cast<std::int64_t>(i) != except && rank.heard >= 0 && !rank.left && rank.heard < since)
      return false;
  return true;
}

Failure Watch::lost(std::int64_t rank, const std::string& why) const {
  const RankReport& report = ranks_[static_cast<std::size_t>(rank)].report;
  return {ExitCode::kDevice, rank,
          fmt::format("{} was lost: {}; its last word: {}", name_of(report), why, position_of(report, 0))};
}

Failure Watch::told(std::int64_t rank, ExitCode code, const std::string& message) const {
  const RankReport& report = ranks_[static_cast<std::size_t>(rank)].report;
  if (report.last.sequence == 0) return {code, rank, name_of(report) + ": " + message};
  return {code, rank,
          fmt::format("{}, {} {}: {}", name_of(report), report.inside ? "in" : "after", text_of(report.last), message)};
}

std::optional<Failure> Watch::judge(std::int64_t now) const {
  if (mismatch_) return mismatch_;
  if (auto failure = silent(now)) return failure;
  if (auto failure = missing(now)) return failure;
  return stuck(now);
}

std::optional<Failure> Watch::missing(std::int64_t now) const {
  if (now - started_ <= limits_.connect || all_joined()) return {};
  std::vector<const RankReport*> absent;
  for (std::size_t i = 1; i < ranks_.size(); ++i)
    if (ranks_[i].heard < 0) absent.push_back(&ranks_[i].report);
  return Failure{
      ExitCode::kDevice, absent[0]->rank,
      fmt::format("{} did not come to the side channel of rank 0 within {:.1f} s. Can its host open TCP connections to "
                  "rank 0's?",
                  list(absent), seconds(limits_.connect))};
}

std::optional<Failure> Watch::silent(std::int64_t now) const {
  std::int64_t longest = 0;
  std::vector<const RankReport*> quiet;
  std::size_t elsewhere = 0, quiet_elsewhere = 0;
  for (std::size_t i = 1; i < ranks_.size(); ++i) {
    const Rank& rank = ranks_[i];
    if (rank.heard < 0 || rank.left) continue;
    const std::int64_t silence = now - rank.heard;
    const bool other_host = rank.report.host != ranks_[0].report.host;
    elsewhere += other_host ? 1 : 0;
    longest = std::max(longest, silence);
    if (silence <= limits_.silence / 10 * 7) continue;
    quiet.push_back(&rank.report);  // the rest of a host that went falls silent with it
    quiet_elsewhere += other_host ? 1 : 0;
  }
  if (longest <= limits_.silence) return {};
  std::string text = fmt::format("{} {} lost: nothing was heard for {:.1f} s (cluster.heartbeat_seconds = {:g})", list(quiet),
                                 quiet.size() == 1 ? "was" : "were", seconds(longest), seconds(limits_.silence));
  if (quiet.size() == 1) text += "; its last word: " + position_of(*quiet[0], 0);
  if (quiet_elsewhere == elsewhere && elsewhere > 1)
    text += fmt::format(". All other hosts are silent: it may be {} that was cut off", ranks_[0].report.host);
  return Failure{ExitCode::kDevice, quiet[0]->rank, text};
}

std::optional<Failure> Watch::stuck(std::int64_t now) const {
  const Rank* waiting = nullptr;  // the one that waits in the newest collective
  for (const Rank& rank : ranks_)
    if (rank.heard >= 0 && !rank.left && rank.report.inside && rank.report.since + (now - rank.heard) > limits_.hang &&
        (waiting == nullptr || rank.report.last.sequence > waiting->report.last.sequence))
      waiting = &rank;
  if (waiting == nullptr) return {};
  std::vector<const RankReport*> outside, behind;
  for (const Rank& rank : ranks_) {
    if (rank.heard < 0 || rank.left || rank.report.last.sequence >= waiting->report.last.sequence) continue;
    (rank.report.inside ? behind : outside).push_back(&rank.report);
  }
  const auto& blamed = outside.empty() ? behind : outside;
  const std::string where = fmt::format("{} for {:.1f} s (cluster.hang_seconds = {:g})", text_of(waiting->report.last),
                                        seconds(waiting->report.since + now - waiting->heard), seconds(limits_.hang));
  if (blamed.empty())
    return Failure{ExitCode::kDevice, waiting->report.rank,
                   fmt::format("all ranks are in {} and it does not end: the network between them, or MPI, is stuck", where)};
  return Failure{ExitCode::kDevice, blamed[0]->rank,
                 fmt::format("{} {} alive and {} not come to the collective that the others wait in: {}", list(blamed),
                             blamed.size() == 1 ? "is" : "are", blamed.size() == 1 ? "does" : "do", where)};
}

std::string Watch::positions(std::int64_t now) const {
  std::string out;
  std::map<std::pair<std::uint64_t, bool>, std::size_t> in_place;  // how many were named there
  std::size_t more = 0;
  for (const Rank& rank : ranks_) {
    if (rank.heard < 0) {
      out += fmt::format("  {}: has not come yet\n", name_of(rank.report));
      continue;
    }
    const std::int64_t silence = now - rank.heard;
    const bool well = !rank.left && silence <= limits_.silence / 10 * 7;
    if (well && ++in_place[{rank.report.last.sequence, rank.report.inside}] > kNamedInOnePlace) {
      ++more;
      continue;
    }
    out += fmt::format("  {}: ", name_of(rank.report));
    if (rank.left)
      out += "has left\n";
    else if (well)
      out += position_of(rank.report, silence) + "\n";
    else
      out += fmt::format("not heard for {:.1f} s; its last word: {}\n", seconds(silence), position_of(rank.report, 0));
  }
  if (more > 0) out += fmt::format("  and {} more ranks in the same places\n", more);
  return out;
}

}  // namespace tradewind::runtime
