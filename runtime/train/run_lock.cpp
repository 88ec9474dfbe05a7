#include "runtime/train/run_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {
namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
namespace {

constexpr const char* kElsewhere = "choose another run.directory (--set run.directory=DIR)";
// A process that was killed a moment ago needs a moment to be gone.
constexpr milliseconds kDying{1000};

std::string text_of(const fs::path& file) {
  std::ostringstream out;
  out << std::ifstream(file, std::ios::binary).rdbuf();
  return std::move(out).str();
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// State and start of a process, from /proc; nothing where that does not say.
struct ProcessState {
  char state;
  std::int64_t start;
};
std::optional<ProcessState> state_of(std::int64_t process) {
  const std::string stat = text_of(fmt::format("/proc/{}/stat", process));
  const std::size_t name_end = stat.rfind(')');  // the name before may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  ProcessState out{};
  std::string skipped;
  fields >> out.state;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  if (!(fields >> out.start)) return std::nullopt;
  return out;
}

RunOwner this_process() {
  RunOwner out;
  char host[256] = "unknown";
  ::gethostname(host, sizeof host - 1);
  out.host = host;
  // Two containers may share a host name and a boot, and two hosts a name; a process number means something in one namespace.
  std::error_code error;
  out.machine =
      trimmed(text_of("/proc/sys/kernel/random/boot_id")) + " " + fs::read_symlink("/proc/self/ns/pid", error).string();
  out.process = ::getpid();
  if (const auto state = state_of(out.process)) out.process_start = state->start;
  if (const char* job = std::getenv("SLURM_JOB_ID")) out.job = job;
  out.since = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  return out;
}

std::string to_text(const RunOwner& o) {
  const nlohmann::ordered_json json = {{"number", o.number},
                                       {"host", o.host},
                                       {"process", o.process},
                                       {"job", o.job},
                                       {"since", o.since},
                                       {"machine", o.machine},
                                       {"process_start", o.process_start},
                                       {"given_back", o.given_back}};
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

/// What cannot be read stays unknown: then only the lease counts.
RunOwner from_text(const std::string& text, std::int64_t number) {
  RunOwner out;
  out.number = number;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return out;
  try {
    out.host = json.value("host", out.host);
    out.machine = json.value("machine", "");
    out.process = json.value("process", std::int64_t{0});
    out.process_start = json.value("process_start", std::int64_t{0});
    out.job = json.value("job", "");
    out.since = json.value("since", "");
    out.given_back = json.value("given_back", false);
  } catch (const nlohmann::json::exception&) {
  }
  return out;
}

bool same_machine(const RunOwner& owner, const RunOwner& me) { return !owner.machine.empty() && owner.machine == me.machine; }

/// Known to have ended: only of processes of this machine can that be said.
bool has_ended(const RunOwner& owner, const RunOwner& me) {
  if (!same_machine(owner, me) || owner.process <= 0) return false;
  if (::kill(static_cast<pid_t>(owner.process), 0) != 0 && errno == ESRCH) return true;
  const auto state = state_of(owner.process);
  if (!state) return false;  // of somebody else, and hidden
  return state->state == 'Z' || state->state == 'X' || (owner.process_start > 0 && state->start != owner.process_start);
}

std::int64_t number_of(const fs::path& file) {
  const std::string name = file.filename().string(), prefix = std::string(RunLock::kPrefix) + "-";
  std::int64_t number = 0;
  if (!name.starts_with(prefix)) return 0;
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  return error == std::errc{} && end == name.data() + name.size() && number > 0 ? number : 0;
}

/// The numbers of the locks that are there, ascending. Throws fs::filesystem_error.
std::vector<std::int64_t> numbers_in(const fs::path& directory) {
  std::vector<std::int64_t> out;
  for (const auto& entry : fs::directory_iterator(directory))
    if (const std::int64_t number = number_of(entry.path()); number > 0) out.push_back(number);
  std::ranges::sort(out);
  return out;
}

struct File {
  int descriptor;
  explicit File(const fs::path& path, int flags = O_RDONLY) : descriptor(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~File() {
    if (descriptor >= 0) ::close(descriptor);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

/// Modification time. Opening makes NFS ask its server; nothing where the file is gone.
std::optional<std::int64_t> modified(const fs::path& path) {
  const File file(path);
  struct stat info {};
  if (file.descriptor < 0 || ::fstat(file.descriptor, &info) != 0) return std::nullopt;
  return std::int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000;
}

/// Sets the modification time to the file server's now.
bool touch(const fs::path& path) {
  const File file(path, O_WRONLY);
  return file.descriptor >= 0 && ::futimens(file.descriptor, nullptr) == 0;
}

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(descriptor) == 0;
}

/// A file of our own while a run is being taken: it becomes the lock, and its time is the file server's clock.
class Candidate {
 public:
  Candidate(const fs::path& directory, const RunOwner& me)
      : path_(directory / fmt::format("{}.{:08x}{:08x}", RunLock::kPrefix, std::random_device{}(), std::random_device{}())) {
    write(me);
  }
  ~Candidate() { ::unlink(path_.c_str()); }
  Candidate(const Candidate&) = delete;
  Candidate& operator=(const Candidate&) = delete;
  void write(const RunOwner& me) const {
    const std::string text = to_text(me);
    const File file(path_, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.descriptor < 0 || !write_all(file.descriptor, text)) fail();
  }
  std::int64_t now() const {
    if (!touch(path_)) fail();
    const auto time = modified(path_);
    if (!time) fail();
    return *time;
  }
  bool replaces(const fs::path& lock) const { return ::rename(path_.c_str(), lock.c_str()) == 0; }
  /// False where somebody else was first.
  bool becomes(const fs::path& lock) const {
    if (::link(path_.c_str(), lock.c_str()) == 0) return true;
    if (errno == EEXIST) return false;
    // A file system without hard links. Between creating and writing the lock is empty: its owner is unknown and its lease
    // fresh.
    const File file(lock, O_WRONLY | O_CREAT | O_EXCL);
    if (file.descriptor < 0 && errno == EEXIST) return false;
    const std::string text = text_of(path_);
    if (file.descriptor < 0 || !write_all(file.descriptor, text)) fail();
    return true;
  }

 private:
  [[noreturn]] void fail() const {
    throw ConfigError("cannot write to run directory " + path_.parent_path().string() + ": " + std::strerror(errno));
  }
  fs::path path_;
};

}  // namespace

std::string RunOwner::text() const {
  std::string out = fmt::format("process {} on {}", process, host);
  if (!job.empty()) out += ", job " + job;
  if (!since.empty()) out += ", since " + since;
  return out;
}

RunLock::RunLock(fs::path directory, milliseconds lease, const std::function<void(const std::string&)>& note)
    : directory_(std::move(directory)), lease_(lease), owner_(this_process()) {
  try {
    acquire(note);
  } catch (const fs::filesystem_error& e) {
    throw ConfigError("cannot read run directory " + directory_.string() + ": " + e.code().message());
  }
  renewed_ = Clock::now();
  thread_ = std::thread([this] { renew_until_closed(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  wake_.notify_all();
  thread_.join();
  try {  // where this fails (a full disk) the next one sees that this process has ended, or waits for the lease
    require_owner();
    owner_.given_back = true;
    const Candidate given_back(directory_, owner_);
    // Should the run have got another owner just now, then this number means nothing any more.
    given_back.replaces(file_of(owner_.number));
  } catch (const Error&) {
  }
}

fs::path RunLock::file_of(std::int64_t number) const { return directory_ / fmt::format("{}-{:08}", kPrefix, number); }

void RunLock::acquire(const std::function<void(const std::string&)>& note) {
  for (;;) {
    const auto before = numbers_in(directory_);
    owner_.number = 1;
    if (!before.empty()) {
      const RunOwner last = from_text(text_of(file_of(before.back())), before.back());
      if (!may_replace(last, note)) continue;  // it changed under our eyes: look again
      owner_.number = last.number + 1;
    }
    const Candidate candidate(directory_, owner_);
    if (!candidate.becomes(file_of(owner_.number))) continue;
    sync_directory(directory_);
    // Whoever saw the same and was slow may come late with a number that is old by now.
    if (numbers_in(directory_).back() == owner_.number) break;
    ::unlink(file_of(owner_.number).c_str());
  }
  remove_before();
}

/// True where `owner` has gone; false where the lock is another one by now. Throws ConfigError where it is alive.
bool RunLock::may_replace(const RunOwner& owner, const std::function<void(const std::string&)>& note) {
  const fs::path file = file_of(owner.number);
  if (owner.given_back) return true;
  const Candidate clock(directory_, owner_);
  const auto first = modified(file);
  if (!first) return false;
  const bool here = same_machine(owner, owner_);
  const auto refuse = [&] {
    throw ConfigError(directory_.string() + " is in use by " + owner.text() + "; wait until it ends, " +
                      (here ? fmt::format("stop it (kill {}), ", owner.process) : std::string()) + "or " + kElsewhere);
  };
  const auto begin = Clock::now();
  bool told = false;
  // An owner that is known to run and has a lease is in use. Of any other we see only whether it renews: half a lease more than
  // it has left is twice as long as a living one takes.
  for (auto patience = lease_ / 2;; std::this_thread::sleep_for(std::min(lease_ / 16, milliseconds(here ? 50 : 1000)))) {
    if (has_ended(owner, owner_)) return true;
    const auto time = modified(file);
    if (!time || numbers_in(directory_).back() != owner.number) return false;
    if (*time != *first) {
      if (from_text(text_of(file), owner.number).given_back) return true;
      refuse();
    }
    const milliseconds age(clock.now() - *time), waited = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
    if (age < lease_) {
      if (here && waited >= kDying) refuse();
      if (!here) patience = std::max(patience, waited + lease_ - age + lease_ / 2);
    }
    if (age >= lease_ && waited >= patience) {
      replaced_ = true;
      return true;
    }
    if (!told && (!here || age >= lease_) && note) {
      note(fmt::format("{} belongs to {}, which may be dead; waiting up to {} s for its lease to run out", directory_.string(),
                       owner.text(), std::chrono::ceil<std::chrono::seconds>(patience).count()));
      told = true;
    }
  }
}

void RunLock::remove_before() const {
  for (const std::int64_t number : numbers_in(directory_))
    if (number < owner_.number) ::unlink(file_of(number).c_str());
  const auto now = modified(file_of(owner_.number));
  std::error_code ignored;
  for (fs::directory_iterator at(directory_, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (!at->path().filename().string().starts_with(std::string(kPrefix) + ".")) continue;  // of a newcomer that died here
    if (const auto time = modified(at->path()); time && now && *now - *time > 2 * lease_.count()) ::unlink(at->path().c_str());
  }
  fs::remove(directory_ / kPrefix, ignored);  // what an earlier version locked
}

/// Renews the lease where the run is still ours. What is wrong is found by whoever asks.
void RunLock::renew() const {
  try {
    if (!touch(file_of(owner_.number)) || numbers_in(directory_).back() != owner_.number) return;
  } catch (const fs::filesystem_error&) {
    return;
  }
  const std::lock_guard lock(mutex_);
  renewed_ = Clock::now();
}

void RunLock::renew_until_closed() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, lease_ / 4, [this] { return closed_; })) {
    lock.unlock();
    renew();
    lock.lock();
  }
}

void RunLock::require_owner() const {
  const auto lost = [&](const std::string& how) {
    throw CheckpointError(directory_.string() + " has another owner by now" + how +
                          "; this process was stopped or cut off for longer than its lease of " +
                          fmt::format("{:g} s", std::chrono::duration<double>(lease_).count()) +
                          " and changes nothing any more. The run goes on there");
  };
  std::int64_t newest = 0;
  try {
    const auto numbers = numbers_in(directory_);
    newest = numbers.empty() ? 0 : numbers.back();
  } catch (const fs::filesystem_error& e) {
    throw CheckpointError("cannot tell whether " + directory_.string() + " is still this process's: " + e.code().message());
  }
  if (newest > owner_.number) lost(": " + from_text(text_of(file_of(newest)), newest).text());
  if (newest < owner_.number) lost(" (" + file_of(owner_.number).filename().string() + " was removed)");
  const RunOwner now = from_text(text_of(file_of(newest)), newest);
  if (now.machine != owner_.machine || now.process != owner_.process || now.process_start != owner_.process_start)
    lost(": " + now.text());
  renew();
}

void RunLock::require_lease() const {
  {
    const std::lock_guard lock(mutex_);
    if (Clock::now() - renewed_ < lease_) return;
  }
  require_owner();
}

}  // namespace tradewind::runtime
