// A library for LD_PRELOAD that lets the k-th change of a file below some folder end the process or fail.
//
//   TRADEWIND_FAULT_IN     a part of the paths that count, as in "/checkpoints"
//   TRADEWIND_FAULT_AT     k, from 1; 0: only count
//   TRADEWIND_FAULT_MODE   exit   the process ends (code 77) instead of the call; of a write the first half is done
//                          power  the same, and what was written but not synced is lost, as in a power cut
//                          eio, enospc   the call fails
//                          short  a write does half
//   TRADEWIND_FAULT_COUNT  a file that gets a line "call path" for each such call
//
// Counted: creating a file, write, pwrite, fsync, rename, link, unlink, mkdir, rmdir, ftruncate. A path given to a descriptor
// by open is remembered. Relative paths count as they are given. Calls of one process are counted in the order in which they
// come.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

namespace {

constexpr int kDescriptors = 4096;
constexpr int kExit = 77;

struct Tracked {
  std::string path;
  int copy = -1;  // of the descriptor, kept open to cut off what was not synced
  off_t synced = 0;
  bool used = false, changed = false;
};

struct State {
  std::mutex mutex;
  std::string in, mode;
  int count_file = -1;
  long at = 0, calls = 0;
  Tracked files[kDescriptors];   // by descriptor
  Tracked closed[kDescriptors];  // written, not synced, closed
  int closed_count = 0;
};

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) next<decltype(&::name)>(#name)

State& state() {
  static State* const kState = [] {  // never destroyed: files are closed until the very end
    auto* s = new State;
    const auto text = [](const char* name) { return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name)); };
    s->in = text("TRADEWIND_FAULT_IN");
    s->mode = text("TRADEWIND_FAULT_MODE");
    s->at = std::atol(text("TRADEWIND_FAULT_AT").c_str());
    if (const std::string file = text("TRADEWIND_FAULT_COUNT"); !file.empty())
      s->count_file = NEXT(open)(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return s;
  }();
  return *kState;
}

bool counts(const std::string& path) { return !state().in.empty() && path.find(state().in) != std::string::npos; }

std::string path_of(int descriptor) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return descriptor >= 0 && descriptor < kDescriptors && s.files[descriptor].used ? s.files[descriptor].path : "";
}

std::string path_at(int directory, const char* path) {
  if (path[0] == '/' || directory == AT_FDCWD) return path;
  return path_of(directory) + "/" + path;
}

void cut(const Tracked& file) {
  struct stat info {};
  if (file.copy >= 0 && file.changed && fstat(file.copy, &info) == 0 && info.st_size > file.synced)
    NEXT(ftruncate)(file.copy, file.synced);
}

[[noreturn]] void end_process() {
  State& s = state();
  if (s.mode == "power") {
    for (const Tracked& file : s.files)
      if (file.used) cut(file);
    for (int i = 0; i < s.closed_count; ++i) cut(s.closed[i]);
  }
  _exit(kExit);
}

enum class Fault { kNone, kEnd, kShort, kError };

/// Counts a call and says what is to happen to it.
Fault fault(const char* call, const std::string& path) {
  if (!counts(path)) return Fault::kNone;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  ++s.calls;
  if (s.count_file >= 0) {
    const std::string line = std::string(call) + " " + path + "\n";
    if (NEXT(write)(s.count_file, line.data(), line.size()) < 0) _exit(78);
  }
  if (s.at == 0 || s.calls != s.at) return Fault::kNone;
  if (s.mode == "exit" || s.mode == "power") return Fault::kEnd;
  if (s.mode == "short") return Fault::kShort;
  errno = s.mode == "enospc" ? ENOSPC : EIO;
  return Fault::kError;
}

/// For calls that happen or do not.
template <class Call>
auto whole(const char* name, const std::string& path, const Call& call) -> decltype(call()) {
  switch (fault(name, path)) {
    case Fault::kEnd: end_process();
    case Fault::kError: return -1;
    default: return call();
  }
}

void opened(int descriptor, const std::string& path, bool made) {
  State& s = state();
  if (descriptor < 0 || descriptor >= kDescriptors || !counts(path)) return;
  const std::lock_guard lock(s.mutex);
  Tracked& file = s.files[descriptor];
  file = {};
  file.used = true;
  file.path = path;
  if (made && s.mode == "power") file.copy = NEXT(fcntl)(descriptor, F_DUPFD_CLOEXEC, 1000);
}

void changed(int descriptor) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (descriptor >= 0 && descriptor < kDescriptors && s.files[descriptor].used) s.files[descriptor].changed = true;
}

int open_any(const char* name, int directory, const char* path, int flags, mode_t mode) {
  const auto call = [&] { return NEXT(openat)(directory, path, flags, mode); };
  const std::string where = path_at(directory, path);
  const bool creates = (flags & O_CREAT) != 0;
  const int descriptor = creates ? whole(name, where, call) : call();
  opened(descriptor, where, creates);
  return descriptor;
}

template <class Write>
ssize_t write_any(const char* name, int descriptor, std::size_t bytes, const Write& write) {
  const std::string path = path_of(descriptor);
  const Fault what = path.empty() ? Fault::kNone : fault(name, path);
  if (what == Fault::kError) return -1;
  if (!path.empty()) changed(descriptor);
  const ssize_t written = write(what == Fault::kNone || (what == Fault::kShort && bytes < 2) ? bytes : bytes / 2);
  if (what == Fault::kEnd) end_process();
  return written;
}

int sync_any(const char* name, int descriptor, int (*sync)(int)) {
  const std::string path = path_of(descriptor);
  if (path.empty()) return sync(descriptor);
  const int result = whole(name, path, [&] { return sync(descriptor); });
  if (result != 0) return result;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  struct stat info {};
  if (fstat(descriptor, &info) == 0) s.files[descriptor].synced = info.st_size;
  s.files[descriptor].changed = false;
  return 0;
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

extern "C" {

#define OPEN(name)                                          \
  int name(const char* path, int flags, ...) {              \
    va_list arguments;                                      \
    va_start(arguments, flags);                             \
    const mode_t mode = mode_of(flags, arguments);          \
    va_end(arguments);                                      \
    return open_any("create", AT_FDCWD, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
#undef OPEN
#define OPENAT(name)                                          \
  int name(int directory, const char* path, int flags, ...) { \
    va_list arguments;                                        \
    va_start(arguments, flags);                               \
    const mode_t mode = mode_of(flags, arguments);            \
    va_end(arguments);                                        \
    return open_any("create", directory, path, flags, mode);  \
  }
OPENAT(openat)
OPENAT(openat64)
#undef OPENAT

int close(int descriptor) {
  State& s = state();
  {
    const std::lock_guard lock(s.mutex);
    if (descriptor >= 0 && descriptor < kDescriptors && s.files[descriptor].used) {
      Tracked& file = s.files[descriptor];
      if (file.copy >= 0 && file.changed && s.closed_count < kDescriptors)
        s.closed[s.closed_count++] = file;
      else if (file.copy >= 0)
        NEXT(close)(file.copy);
      file = {};
    }
  }
  return NEXT(close)(descriptor);
}

ssize_t write(int descriptor, const void* data, std::size_t bytes) {
  return write_any("write", descriptor, bytes, [&](std::size_t n) { return NEXT(write)(descriptor, data, n); });
}
ssize_t pwrite(int descriptor, const void* data, std::size_t bytes, off_t at) {
  return write_any("pwrite", descriptor, bytes, [&](std::size_t n) { return NEXT(pwrite)(descriptor, data, n, at); });
}
ssize_t pwrite64(int descriptor, const void* data, std::size_t bytes, off64_t at) {
  return write_any("pwrite", descriptor, bytes, [&](std::size_t n) { return NEXT(pwrite64)(descriptor, data, n, at); });
}
int fsync(int descriptor) { return sync_any("fsync", descriptor, NEXT(fsync)); }
int fdatasync(int descriptor) { return sync_any("fdatasync", descriptor, NEXT(fdatasync)); }

int ftruncate(int descriptor, off_t size) noexcept {
  const std::string path = path_of(descriptor);
  return path.empty() ? NEXT(ftruncate)(descriptor, size)
                      : whole("ftruncate", path, [&] { return NEXT(ftruncate)(descriptor, size); });
}
int rename(const char* from, const char* to) noexcept {
  return whole("rename", std::string(from) + " " + to, [&] { return NEXT(rename)(from, to); });
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) noexcept {
  return whole("renameat2", path_at(from_directory, from) + " " + path_at(to_directory, to),
               [&] { return NEXT(renameat2)(from_directory, from, to_directory, to, flags); });
}
int link(const char* from, const char* to) noexcept {
  return whole("link", std::string(from) + " " + to, [&] { return NEXT(link)(from, to); });
}
int unlink(const char* path) noexcept {
  return whole("unlink", path, [&] { return NEXT(unlink)(path); });
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return whole("unlinkat", path_at(directory, path), [&] { return NEXT(unlinkat)(directory, path, flags); });
}
int rmdir(const char* path) noexcept {
  return whole("rmdir", path, [&] { return NEXT(rmdir)(path); });
}
int mkdir(const char* path, mode_t mode) noexcept {
  return whole("mkdir", path, [&] { return NEXT(mkdir)(path, mode); });
}
}
