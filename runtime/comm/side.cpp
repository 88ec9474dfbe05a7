#include "runtime/comm/side.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <utility>

namespace tradewind::runtime::detail {
namespace {

constexpr std::size_t kMaxText = 24 << 10;  // of a message or report that travels

void say_on_stderr(const std::string& report) {
  // Not through stdio: the main thread may be stuck while it holds the lock of stderr.
  for (std::string_view left = report; !left.empty();) {
    const ssize_t put = ::write(STDERR_FILENO, left.data(), left.size());
    if (put <= 0) return;
    left.remove_prefix(static_cast<std::size_t>(put));
  }
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  std::FILE* out = std::fopen(file.c_str(), "w");
  if (out == nullptr) return;  // the disk may be what failed; the report is on stderr as well
  std::fwrite(text.data(), 1, text.size(), out);
  std::fclose(out);
}

}  // namespace

std::string message(Message kind, std::string_view body) {
  std::string out(1, static_cast<char>(kind));
  out += body;
  return out;
}

std::string encode(const Failure& failure, std::string_view report) {
  wire::Writer out;
  out.i64(static_cast<std::int64_t>(failure.code));
  out.i64(failure.rank);
  out.text(std::string_view(failure.message).substr(0, kMaxText));
  out.text(report.substr(0, kMaxText));
  return out.bytes();
}

void tune_socket(int fd, double heartbeat_seconds) {
  const int on = 1, milliseconds = static_cast<int>(heartbeat_seconds * 1000);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

/// What the publishing thread works on. Shared: where a dead disk holds that thread, the process leaves without it.
struct Side::Publication {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

Side::Side(int rank, FlightRecorder& recorder, SideChannelOptions options)
    : rank_(rank),
      recorder_(recorder),
      options_([&] {
        if (options.host.empty()) {
          char name[256] = {};
          gethostname(name, sizeof name - 1);
          options.host = name;
        }
        options.host.resize(std::min<std::size_t>(options.host.size(), 64));
        if (!options.print) options.print = say_on_stderr;
        if (!options.leave) options.leave = [](int code, bool) { _exit(code); };
        return std::move(options);
      }()),
      limit_(nanoseconds(options_.heartbeat_seconds)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!wake_) throw CommError("starting the side channel: no event descriptor; raise the limit of open files (ulimit -n)");
}

Side::~Side() = default;

int Side::tick() const { return static_cast<int>(std::clamp<std::int64_t>(limit_ / 20 / 1'000'000, 1, 500)); }

void Side::start() {
  finished_ = false;
  sigset_t all, before;  // signals are the main thread's
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] {
    run();
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_all();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Side::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(wake_.fd(), &one, sizeof one);
}

Side::Requests Side::take_requests() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.fd(), &count, sizeof count);
  const std::lock_guard lock(mutex_);
  return std::exchange(requests_, {});
}

bool Side::report_error(ExitCode code, const std::string& text) {
  std::unique_lock lock(mutex_);
  if (finished_) return ended_;
  requests_.error = Failure{code, rank_, text.substr(0, kMaxText)};
  wake();
  // The order to stop comes at once; where rank 0 is silent, the limit decides.
  changed_.wait_for(lock, std::chrono::nanoseconds(limit_) + std::chrono::seconds(3), [&] { return finished_; });
  return ended_;
}

void Side::report_into(const std::filesystem::path& folder) {
  const std::lock_guard lock(mutex_);
  folder_ = folder;
}

void Side::close() {
  {
    const std::lock_guard lock(mutex_);
    requests_.close = true;
  }
  wake();
  if (thread_.joinable()) thread_.join();
}

void Side::stop() {
  {
    const std::lock_guard lock(mutex_);
    requests_.abandon = true;
  }
  wake();
  if (thread_.joinable()) thread_.join();
}

void Side::publish(const Failure& failure, const std::string& report, bool say) {
  std::filesystem::path file;
  {
    const std::lock_guard lock(mutex_);
    if (!folder_.empty()) file = folder_ / ("failure-rank-" + std::to_string(rank_) + ".txt");
  }
  publication_ = std::make_shared<Publication>();
  std::thread([publication = publication_, file, report, say, failure, text = file.empty() ? std::string() : recorder_.text(),
               print = options_.print, on_failure = options_.on_failure] {
    if (say) print(report);
    if (on_failure) on_failure(failure.code, report);
    if (!file.empty()) write_file(file, report + "\nThe last collectives of this rank:\n" + text);
    const std::lock_guard lock(publication->mutex);
    publication->done = true;
    publication->changed.notify_all();
  }).detach();
}

void Side::wait_published(double seconds) {
  std::unique_lock lock(publication_->mutex);
  publication_->changed.wait_for(lock, std::chrono::nanoseconds(nanoseconds(seconds)), [&] { return publication_->done; });
}

std::string Side::headline(ExitCode code) {
  return "Tradewind ends the job with exit code " + std::to_string(static_cast<int>(code)) + ". Where the ranks are:\n";
}

void Side::leave(ExitCode code, bool decided) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  options_.leave(static_cast<int>(code), decided);
}

}  // namespace tradewind::runtime::detail
