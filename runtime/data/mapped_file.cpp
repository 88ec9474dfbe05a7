#include "runtime/data/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/data/file_error.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const char* doing, const fs::path& file) { throw file_error(doing, file, errno); }

class Descriptor {
 public:
  Descriptor(const fs::path& file, int flags) : value_(::open(file.c_str(), flags | O_CLOEXEC, 0600)) {
    if (value_ < 0) fail("opening", file);
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

/// `bytes` above 0.
std::shared_ptr<void> mapped(const fs::path& file, const Descriptor& descriptor, std::size_t bytes, int protection) {
  void* const at = ::mmap(nullptr, bytes, protection, MAP_SHARED, descriptor.value(), 0);
  if (at == MAP_FAILED) fail("mapping", file);
  return {at, [bytes](void* memory) { ::munmap(memory, bytes); }};
}

}  // namespace

std::pair<std::span<const std::byte>, std::shared_ptr<const void>> map_file(const fs::path& file) {
  const Descriptor descriptor(file, O_RDONLY);
  struct stat info {};
  if (fstat(descriptor.value(), &info) != 0) fail("looking at", file);
  const auto bytes = static_cast<std::size_t>(info.st_size);
  if (bytes == 0) return {};
  const std::shared_ptr<void> memory = mapped(file, descriptor, bytes, PROT_READ);
  return {{static_cast<const std::byte*>(memory.get()), bytes}, memory};
}

std::pair<void*, std::shared_ptr<const void>> ScratchSpace::take(std::size_t bytes) {
  if (bytes == 0) return {nullptr, std::make_shared<int>(0)};
  const fs::path file = folder_ / fmt::format("column-{}", count_++);
  const Descriptor descriptor(file, O_RDWR | O_CREAT | O_EXCL);
  fs::remove(file);
  // With blocks of its own: a full disk is an error here, and no signal later.
  if (const int failure = ::posix_fallocate(descriptor.value(), 0, static_cast<off_t>(bytes)); failure != 0) {
    errno = failure;
    fail("making room for", file);
  }
  const auto memory = mapped(file, descriptor, bytes, PROT_READ | PROT_WRITE);
  return {memory.get(), memory};
}

}  // namespace tradewind::runtime
