#include "launcher/ranks.h"

#include <unistd.h>

#include <cstdio>
#include <sstream>
#include <utility>

#include "runtime/comm/mpi.h"

namespace tradewind::launcher {

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

std::string Ranks::from_root(const std::string& text) {
  std::string out = text;
  out.resize(static_cast<std::size_t>(from_root(static_cast<std::int64_t>(text.size()))));
  communicator_->broadcast(out.data(), static_cast<std::int64_t>(out.size()), kernels::DType::kUInt8, 0, nullptr);
  return out;
}

void Ranks::require_same(const std::string& what, const std::string& text) {
  if (alone()) return;
  const std::string roots = from_root(text);
  if (roots == text) return;
  std::istringstream theirs(roots), mine(text);
  std::string there, here;
  do {
    there.clear();
    here.clear();
    std::getline(theirs, there);
    std::getline(mine, here);
  } while (there == here && (theirs || mine));
  throw ConfigError("this rank's " + what + " is not that of rank 0: \"" + here + "\" here, \"" + there +
                    "\" there; all ranks must be given the same");
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
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  std::fprintf(stderr, "Tradewind ends the job with exit code %d.\nerror: rank %d (%s, pid %d): %s\n", static_cast<int>(code),
               rank(), host, static_cast<int>(getpid()), message.c_str());
  runtime::leave_mpi(static_cast<int>(code), true);
}

void Ranks::finish() {
  if (alone()) return;
  communicator_->barrier();
  runtime::finish_mpi();  // still watched
  if (side_) side_->close();
}

}  // namespace tradewind::launcher
