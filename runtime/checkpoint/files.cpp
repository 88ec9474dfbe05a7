#include "runtime/checkpoint/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLeftover = ".unfinished-";
// Large enough for any disk's speed, small enough to stay in the cache between hashing and writing.
constexpr std::size_t kPiece = std::size_t{1} << 20;

std::uint64_t free_bytes(const fs::path& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

[[noreturn]] void fail(const std::string& doing, const fs::path& path, int error) {
  std::string message = doing + " " + path.string() + ": " + std::system_category().message(error);
  if (error == EACCES || error == EPERM || error == EROFS) message += "; choose a directory that you may write to";
  throw CheckpointError(message);
}

std::string hex(XXH64_hash_t hash) { return fmt::format("{:016x}", hash); }

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

int open_or_fail(const std::string& doing, const fs::path& path, int flags) {
  int descriptor = -1;
  do descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) fail(doing, path, errno);
  return descriptor;
}

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

void rename_or_fail(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail("renaming " + from.string() + " to", to, errno);
}

}  // namespace

bool is_disk_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

struct DurableFile::Hash {
  XXH3_state_t* state = XXH3_createState();
  ~Hash() { XXH3_freeState(state); }
};

DurableFile::DurableFile(fs::path path)
    : path_(std::move(path)),
      descriptor_(open_or_fail("creating", path_, O_WRONLY | O_CREAT | O_EXCL)),
      hash_(std::make_unique<Hash>()) {
  XXH3_64bits_reset(hash_->state);
}

DurableFile::~DurableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void DurableFile::write(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const std::size_t piece = std::min(bytes, kPiece);
    const ssize_t written = ::write(descriptor_, at, piece);
    if (written < 0) {
      const int error = errno;
      if (error == EINTR) continue;
      if (is_disk_full(error))
        throw CheckpointError(fmt::format("writing {}: {} after {} bytes, {} bytes are free on that disk", path_.string(),
                                          std::system_category().message(error), bytes_, free_bytes(parent_of(path_))));
      fail("writing", path_, error);
    }
    XXH3_64bits_update(hash_->state, at, static_cast<std::size_t>(written));
    at += written;
    bytes_ += static_cast<std::uint64_t>(written);
    bytes -= static_cast<std::size_t>(written);
  }
}

void DurableFile::finish() {
  // Some file systems tell of a full disk only here.
  if (::fsync(descriptor_) != 0) fail("syncing", path_, errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("closing", path_, errno);
}

std::string DurableFile::checksum() const { return hex(XXH3_64bits_digest(hash_->state)); }

InputFile::InputFile(fs::path path) : path_(std::move(path)), descriptor_(-1) {
  Descriptor file{open_or_fail("opening", path_, O_RDONLY)};
  struct stat info {};
  if (::fstat(file.value, &info) != 0) fail("opening", path_, errno);
  if (!S_ISREG(info.st_mode)) throw CheckpointError("opening " + path_.string() + ": it is no file");
  size_ = static_cast<std::uint64_t>(info.st_size);
  descriptor_ = std::exchange(file.value, -1);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::uint64_t offset, void* destination, std::size_t bytes) const {
  auto* at = static_cast<char*>(destination);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, at, bytes, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      fail("reading", path_, errno);
    }
    if (got == 0) throw CheckpointError(fmt::format("reading {}: the file ends at byte {}", path_.string(), offset));
    at += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
}

std::string InputFile::read_all() const {
  std::string out(size_, '\0');
  read(0, out.data(), out.size());
  return out;
}

std::string InputFile::checksum() const {
  XXH3_state_t* state = XXH3_createState();
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> owner(state, XXH3_freeState);
  XXH3_64bits_reset(state);
  std::vector<char> piece(std::min<std::uint64_t>(kPiece, size_));
  for (std::uint64_t at = 0; at < size_; at += kPiece) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, size_ - at));
    read(at, piece.data(), bytes);
    XXH3_64bits_update(state, piece.data(), bytes);
  }
  return hex(XXH3_64bits_digest(state));
}

std::string checksum_of(std::string_view text) { return hex(XXH3_64bits(text.data(), text.size())); }

void write_file_durably(const fs::path& to, std::string_view contents) {
  const fs::path unfinished = leftover_name(to);
  try {
    DurableFile file(unfinished);
    file.write(contents.data(), contents.size());
    file.finish();
    rename_or_fail(unfinished, to);
  } catch (...) {
    ::unlink(unfinished.c_str());
    throw;
  }
  sync_directory(parent_of(to));
}

void make_directories_durably(const fs::path& path) {
  if (path.empty() || fs::is_directory(path)) return;
  make_directories_durably(parent_of(path));
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) fail("creating the directory", path, errno);
  sync_directory(parent_of(path));
}

void put_directory(const fs::path& from, const fs::path& to) {
  if (!fs::exists(fs::symlink_status(to))) {
    rename_or_fail(from, to);
    sync_directory(parent_of(to));
    if (parent_of(from) != parent_of(to)) sync_directory(parent_of(from));
    return;
  }
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    sync_directory(parent_of(to));
  } else {  // a file system that cannot exchange: for a moment there is only the old one, under a leftover's name
    remove_directory(to, parent_of(from));
    rename_or_fail(from, to);
    sync_directory(parent_of(to));
  }
  std::error_code ignored;  // what stays is removed with the leftovers
  fs::remove_all(from, ignored);
}

void remove_directory(const fs::path& path, const fs::path& trash) {
  const fs::path out_of_the_way = leftover_name(trash / path.filename());
  rename_or_fail(path, out_of_the_way);
  std::error_code ignored;  // NFS keeps what somebody still reads; it goes with the leftovers
  fs::remove_all(out_of_the_way, ignored);
}

void sync_directory(const fs::path& path) {
  const Descriptor directory{open_or_fail("opening the directory", path, O_RDONLY | O_DIRECTORY)};
  // EINVAL: a file system that has nothing to sync.
  if (::fsync(directory.value) != 0 && errno != EINVAL) fail("syncing the directory", path, errno);
}

void require_free_space(const fs::path& directory, std::uint64_t bytes) {
  const std::uint64_t free = free_bytes(directory);
  if (bytes > free)
    throw CheckpointError(
        fmt::format("{} bytes are needed in {} and {} are free on that disk", bytes, directory.string(), free));
}

fs::path leftover_name(const fs::path& path) {
  static std::atomic<unsigned> count{0};
  return parent_of(path) / fmt::format("{}{}-{}-{}", kLeftover, path.filename().string(), ::getpid(), count++);
}

fs::path leftover_name(const fs::path& directory, std::int64_t fence) {
  return directory / fmt::format("{}{:08}", kLeftover, fence);
}

bool is_leftover(const fs::path& path) { return path.filename().string().starts_with(kLeftover); }

void remove_leftovers(const fs::path& directory, const fs::path& keep) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (is_leftover(it->path()) && it->path().filename() != keep.filename()) found.push_back(it->path());
  for (const fs::path& path : found) fs::remove_all(path, error);
}

}  // namespace tradewind::runtime
