#include "launcher/ranks.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <sstream>
#include <utility>

#include "runtime/comm/mpi.h"
#include "runtime/comm/odd_ones.h"

namespace tradewind::launcher {
namespace {

std::string host_name() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

}  // namespace

void ClusterSection::describe(runtime::Fields& f) {
  f.field("heartbeat_seconds", heartbeat_seconds, "A rank that says nothing for so long is lost, and the run ends.",
          {.min = 0.5, .max = 3600});
  f.field("hang_seconds", hang_seconds, "The others wait for so long for a rank that is alive; then the run ends.", {.min = 1});
}

Ranks::Ranks() {
  if (!runtime::launched_as_rank()) {
    communicator_ = runtime::make_single_communicator();
    return;
  }
  runtime::start_mpi();
  communicator_ = runtime::make_mpi_communicator(&recorder_);
}

Ranks::~Ranks() = default;

void Ranks::connect(const ClusterSection& config) {
  if (alone()) return;
  std::optional<runtime::SideChannelListener> listener;
  runtime::SideChannelAddress address;
  if (rank() == 0) {
    listener = runtime::SideChannel::listen();
    address = listener->address;
  }
  communicator_->broadcast(&address, sizeof address, kernels::DType::kUInt8, 0, nullptr);
  runtime::SideChannelOptions options;
  options.heartbeat_seconds = config.heartbeat_seconds;
  options.hang_seconds = config.hang_seconds;
  options.leave = runtime::leave_mpi;
  options.on_failure = [this](ExitCode code, const std::string& report) {
    const std::lock_guard lock(mutex_);
    if (on_failure_) on_failure_(code, report);
  };
  side_ = std::make_unique<runtime::SideChannel>(rank(), size(), address, std::move(listener), recorder_, std::move(options));
}

std::int64_t Ranks::from_root(std::int64_t value) {
  communicator_->broadcast(&value, 1, kernels::DType::kInt64, 0, nullptr);
  return value;
}

std::string Ranks::from(int root, const std::string& text) {
  std::string out = text;
  auto size = static_cast<std::int64_t>(text.size());
  communicator_->broadcast(&size, 1, kernels::DType::kInt64, root, nullptr);
  out.resize(static_cast<std::size_t>(size));
  communicator_->broadcast(out.data(), size, kernels::DType::kUInt8, root, nullptr);
  return out;
}

void Ranks::require_same(const std::string& what, const std::string& text) {
  if (alone()) return;
  const std::uint64_t own = XXH3_64bits(text.data(), text.size());
  std::vector<std::uint64_t> all(static_cast<std::size_t>(size()));
  communicator_->all_gather(all.data(), &own, 1, kernels::DType::kUInt64, nullptr);
  if (runtime::odd_ones(all).empty()) return;
  const int typical = runtime::typical_rank(all);
  const std::string typical_text = from(typical, text), typical_host = from(typical, host_name());
  if (own == all[static_cast<std::size_t>(typical)]) return;  // the odd one speaks, and ends all
  std::istringstream theirs(typical_text), mine(text);
  std::string there, here;
  do {
    there.clear();
    here.clear();
    std::getline(theirs, there);
    std::getline(mine, here);
  } while (there == here && (theirs || mine));
  throw ConfigError(
      fmt::format("this rank's {} is not that of rank {} ({}): \"{}\" here, \"{}\" there; all ranks must be given "
                  "the same",
                  what, typical, typical_host, here, there));
}

std::vector<std::string> Ranks::crowded(int threads) {
  if (alone()) return {};
  struct Seat {
    cpu_set_t cores;
    int threads;
    char host[64];
  };
  Seat own{};
  own.threads = threads;
  sched_getaffinity(0, sizeof own.cores, &own.cores);
  host_name().copy(own.host, sizeof own.host - 1);
  std::vector<Seat> seats(static_cast<std::size_t>(size()));
  communicator_->all_gather(seats.data(), &own, sizeof own, kernels::DType::kUInt8, nullptr);
  if (rank() != 0) return {};
  struct Host {
    cpu_set_t cores{};
    int ranks = 0, threads = 0;
    std::string bound;  // ranks with fewer cores than threads
  };
  std::map<std::string, Host> hosts;
  for (std::size_t r = 0; r < seats.size(); ++r) {
    Host& host = hosts[seats[r].host];
    CPU_OR(&host.cores, &host.cores, &seats[r].cores);
    ++host.ranks;
    host.threads += seats[r].threads;
    if (seats[r].threads > CPU_COUNT(&seats[r].cores)) host.bound += (host.bound.empty() ? "" : ", ") + std::to_string(r);
  }
  std::vector<std::string> out;
  for (const auto& [name, host] : hosts) {
    const int cores = CPU_COUNT(&host.cores), each = host.threads / host.ranks;
    if (!host.bound.empty())
      out.push_back(
          fmt::format("warning: on {} the {} threads of rank {} share fewer cores, which mpirun has bound them to; say "
                      "`mpirun --map-by slot:PE={}`, or `--bind-to none` where there are too few cores for all",
                      name, each, host.bound, each));
    else if (host.threads > cores)
      out.push_back(
          fmt::format("warning: on {} {} ranks compute with {} threads on {} cores and wait for each other; set "
                      "runtime.threads = {} and say `mpirun --map-by slot:PE={}`, or, where ranks must share cores, "
                      "`--bind-to none --mca mpi_yield_when_idle 1`",
                      name, host.ranks, host.threads, cores, std::max(1, cores / host.ranks), std::max(1, cores / host.ranks)));
  }
  return out;
}

void Ranks::report_into(const std::filesystem::path& folder) {
  if (side_) side_->report_into(folder);
}

void Ranks::on_failure(std::function<void(ExitCode, const std::string&)> act) {
  const std::lock_guard lock(mutex_);
  on_failure_ = std::move(act);
}

void Ranks::fail(ExitCode code, const std::string& message) {
  if (alone()) return;
  std::fflush(stdout);                            // what was said before comes before
  if (side_) side_->report_error(code, message);  // does not return where rank 0 could be told
  std::fprintf(stderr, "Tradewind ends the job with exit code %d.\nerror: rank %d (%s, pid %d): %s\n", static_cast<int>(code),
               rank(), host_name().c_str(), static_cast<int>(getpid()), message.c_str());
  runtime::leave_mpi(static_cast<int>(code), true);
}

void Ranks::finish() {
  if (alone()) return;
  communicator_->barrier();
  runtime::finish_mpi();  // still watched
  if (side_) side_->close();
}

}  // namespace tradewind::launcher
