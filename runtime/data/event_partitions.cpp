#include "runtime/data/event_partitions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/data/time_parse.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

/// Arrays one behind the other, each with its length before it. The name is removed at once.
class EventsOnDisk::File {
 public:
  explicit File(const fs::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) {
    if (descriptor_ < 0) fail("creating");
    fs::remove(path);
  }
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void rewind() { at_ = 0; }
  /// What is behind is of before.
  void cut() {
    if (::ftruncate(descriptor_, at_) != 0) fail("cutting");
  }
  bool ended() const { return at_ >= ::lseek(descriptor_, 0, SEEK_END); }

  template <class T>
  void put(const std::vector<T>& values) {
    const std::uint64_t count = values.size();
    write(&count, sizeof count);
    write(values.data(), values.size() * sizeof(T));
  }
  template <class T>
  void get_behind(std::vector<T>& values) {
    std::uint64_t count = 0;
    read(&count, sizeof count);
    values.resize(values.size() + count);
    read(values.data() + values.size() - count, count * sizeof(T));
  }
  template <class T>
  std::vector<T> get() {
    std::vector<T> out;
    get_behind(out);
    return out;
  }

 private:
  [[noreturn]] void fail(const char* doing) const {
    throw DataError(fmt::format("{} {}: {}", doing, path_.string(), std::system_category().message(errno)));
  }
  void write(const void* from, std::size_t bytes) {
    for (const auto* next = static_cast<const char*>(from); bytes > 0;) {
      const ssize_t put = ::pwrite(descriptor_, next, bytes, at_);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail("writing");
      next += put, at_ += put, bytes -= static_cast<std::size_t>(put);
    }
  }
  void read(void* to, std::size_t bytes) {
    for (auto* next = static_cast<char*>(to); bytes > 0;) {
      const ssize_t got = ::pread(descriptor_, next, bytes, at_);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("reading");
      require(got > 0, "EventsOnDisk", "a partition ends too early");
      next += got, at_ += got, bytes -= static_cast<std::size_t>(got);
    }
  }

  fs::path path_;
  int descriptor_;
  off_t at_ = 0;
};

EventsOnDisk::EventsOnDisk(fs::path folder, int partitions) : folder_(std::move(folder)), sorted_(index(partitions)) {
  require(partitions >= 1, "EventsOnDisk", "there must be a partition");
  for (int i = 0; i < partitions; ++i) files_.push_back(std::make_unique<File>(folder_ / fmt::format("events-{}", i)));
}

EventsOnDisk::~EventsOnDisk() = default;

void EventsOnDisk::take(const EventArrays& events, int unit) {
  for (EventArrays& arrays : sorted_)
    arrays.user.clear(), arrays.item.clear(), arrays.time.clear(), arrays.source.clear(), arrays.line.clear();
  for (std::size_t i = 0; i < events.user.size(); ++i) {
    EventArrays& to = sorted_[kernels::mix64(static_cast<std::uint64_t>(events.user[i])) % sorted_.size()];
    to.user.push_back(events.user[i]);
    to.item.push_back(events.item[i]);
    if (!events.time.empty()) to.time.push_back(events.time[i]);
    if (!events.source.empty()) to.source.push_back(events.source[i]);
    if (!events.line.empty()) to.line.push_back(events.line[i]);
  }
  for (std::size_t p = 0; p < files_.size(); ++p) {
    const EventArrays& some = sorted_[p];
    if (some.user.empty()) continue;
    files_[p]->put(std::vector<std::int32_t>{unit});
    files_[p]->put(some.user), files_[p]->put(some.item), files_[p]->put(some.time), files_[p]->put(some.source),
        files_[p]->put(some.line);
  }
}

namespace {

template <class File>
void store(File& file, const OrderedEvents& part) {
  file.rewind();
  file.put(part.user), file.put(part.offsets), file.put(part.item), file.put(part.time), file.put(part.source),
      file.put(part.line);
  file.cut();
}

}  // namespace

void EventsOnDisk::order(const EventLog& log) {
  sorted_.clear();
  for (const auto& file : files_) {
    EventArrays all;
    file->rewind();
    while (!file->ended()) {
      const int unit = file->get<std::int32_t>().at(0);
      const std::size_t before = all.time.size();
      file->get_behind(all.user), file->get_behind(all.item), file->get_behind(all.time), file->get_behind(all.source),
          file->get_behind(all.line);
      TimeColumn::rescale(std::span(all.time).subspan(before), unit, log.time_unit);
    }
    largest_ = std::max(largest_, static_cast<std::int64_t>(all.user.size()));
    store(*file, order_events(all, log.users.size()));
  }
}

void EventsOnDisk::each(Access access, const std::function<void(OrderedEvents&)>& visit) {
  for (const auto& file : files_) {
    file->rewind();
    OrderedEvents part;
    part.user = file->get<std::int32_t>();
    part.offsets = file->get<std::int64_t>();
    part.item = file->get<std::int32_t>();
    part.time = file->get<std::int64_t>();
    part.source = file->get<Part>();
    part.line = file->get<std::int64_t>();
    visit(part);
    if (access == Access::kChange) store(*file, part);
  }
}

}  // namespace tradewind::runtime
