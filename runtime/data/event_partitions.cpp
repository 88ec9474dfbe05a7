#include "runtime/data/event_partitions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/data/file_error.h"
#include "runtime/data/name_runs.h"
#include "runtime/data/time_parse.h"
#include "runtime/data/write_at.h"

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

  void rewind(off_t to = 0) { at_ = to; }
  off_t at() const { return at_; }
  /// What is behind is of before.
  void cut() {
    if (::ftruncate(descriptor_, at_) != 0) fail("cutting");
  }
  bool ended() const { return at_ >= ::lseek(descriptor_, 0, SEEK_END); }

  template <class Values>
  void put(const Values& values) {
    const std::uint64_t count = values.size();
    write(&count, sizeof count);
    write(values.data(), values.size() * sizeof(values[0]));
  }
  template <class T>
  void get_behind(std::vector<T>& values) {
    std::uint64_t count = 0;
    read(&count, sizeof count);
    values.resize(values.size() + count);
    read(values.data() + values.size() - count, count * sizeof(T));
  }
  /// Past an array.
  template <class T>
  void pass() {
    std::uint64_t count = 0;
    read(&count, sizeof count);
    at_ += static_cast<off_t>(count * sizeof(T));
  }
  template <class T>
  std::vector<T> get() {
    std::vector<T> out;
    get_behind(out);
    return out;
  }

 private:
  [[noreturn]] void fail(const char* doing) const { throw file_error(doing, path_, errno); }
  void write(const void* from, std::size_t bytes) {
    if (!write_at(descriptor_, static_cast<std::uint64_t>(at_), from, bytes)) fail("writing");
    at_ += static_cast<off_t>(bytes);
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

/// Some events of one partition, their users numbered among themselves.
struct EventsOnDisk::Block {
  EventArrays events;
  std::string names;                // of the users, one behind the other
  std::vector<std::uint32_t> ends;  // of each in `names`

  void clear() {
    events.user.clear(), events.item.clear(), events.time.clear(), events.source.clear(), events.line.clear();
    names.clear(), ends.clear();
  }
};

namespace {

/// The users of a partition, in front of its events.
template <class File>
void put_users(File& file, const Vocabulary& users) {
  std::vector<std::uint32_t> sizes;
  std::vector<char> names;
  for (std::int32_t u = 0; u < users.size(); ++u) {
    const std::string_view name = users.name(u);
    sizes.push_back(static_cast<std::uint32_t>(name.size()));
    names.insert(names.end(), name.begin(), name.end());
  }
  file.put(sizes), file.put(names);
}

template <class File>
Vocabulary get_users(File& file) {
  const auto sizes = file.template get<std::uint32_t>();
  const auto names = file.template get<char>();
  Vocabulary out;
  std::string_view left(names.data(), names.size());
  for (const std::uint32_t size : sizes) {
    out.add(left.substr(0, size), 0);
    left.remove_prefix(size);
  }
  return out;
}

template <class File>
void put_events(File& file, const OrderedEvents& part) {
  file.put(part.user), file.put(part.offsets), file.put(part.item), file.put(part.time), file.put(part.source),
      file.put(part.line);
  file.cut();
}

}  // namespace

EventsOnDisk::EventsOnDisk(fs::path folder, int partitions, std::function<void()> between)
    : folder_(std::move(folder)), between_(std::move(between)), blocks_(index(partitions)) {
  require(partitions >= 1, "EventsOnDisk", "there must be a partition");
  for (int i = 0; i < partitions; ++i) files_.push_back(std::make_unique<File>(folder_ / fmt::format("events-{}", i)));
}

EventsOnDisk::~EventsOnDisk() = default;

void EventsOnDisk::take(const EventArrays& events, const Vocabulary& users, int unit) {
  for (Block& block : blocks_) block.clear();
  std::vector<std::pair<Block*, std::int32_t>> place(index(users.size()));  // and number there
  for (std::int32_t u = 0; u < users.size(); ++u) {
    const std::string_view name = users.name(u);
    // Mixed, as the vocabulary of a partition looks names up by the low bits of the hash itself.
    Block& block = blocks_[kernels::mix64(XXH3_64bits(name.data(), name.size())) % blocks_.size()];
    place[index(u)] = {&block, static_cast<std::int32_t>(block.ends.size())};
    block.names += name;
    block.ends.push_back(static_cast<std::uint32_t>(block.names.size()));
  }
  for (std::size_t i = 0; i < events.user.size(); ++i) {
    const auto [block, user] = place[index(events.user[i])];
    EventArrays& to = block->events;
    to.user.push_back(user);
    to.item.push_back(events.item[i]);
    if (!events.time.empty()) to.time.push_back(events.time[i]);
    if (!events.source.empty()) to.source.push_back(events.source[i]);
    if (!events.line.empty()) to.line.push_back(events.line[i]);
  }
  for (std::size_t p = 0; p < files_.size(); ++p) {
    const auto& [some, names, ends] = blocks_[p];
    if (some.user.empty()) continue;
    files_[p]->put(std::vector<std::int32_t>{unit});
    files_[p]->put(ends), files_[p]->put(names);
    files_[p]->put(some.user), files_[p]->put(some.item), files_[p]->put(some.time), files_[p]->put(some.source),
        files_[p]->put(some.line);
  }
}

void EventsOnDisk::order(int unit) {
  std::vector<Block>().swap(blocks_);
  for (const auto& file : files_) {
    between_();
    EventArrays all;
    Vocabulary users;
    file->rewind();
    while (!file->ended()) {
      const int of_block = file->get<std::int32_t>().at(0);
      const auto ends = file->get<std::uint32_t>();
      const auto names = file->get<char>();
      std::vector<std::int32_t> number_of;
      for (std::uint32_t begin = 0; const std::uint32_t end : ends) {
        number_of.push_back(users.add(std::string_view(names.data(), names.size()).substr(begin, end - begin), 0));
        begin = end;
      }
      const std::size_t before = all.user.size(), times_before = all.time.size();
      file->get_behind(all.user), file->get_behind(all.item), file->get_behind(all.time), file->get_behind(all.source),
          file->get_behind(all.line);
      for (std::size_t i = before; i < all.user.size(); ++i) all.user[i] = number_of[index(all.user[i])];
      TimeColumn::rescale(std::span(all.time).subspan(times_before), of_block, unit);
    }
    largest_ = std::max(largest_, static_cast<std::int64_t>(all.user.size()));
    OrderedEvents part = order_events(all, users.size());
    if (users.size() > std::numeric_limits<std::int32_t>::max() - users_)
      throw DataError(fmt::format("more than {} different ids", std::numeric_limits<std::int32_t>::max()));
    for (std::int32_t& user : part.user) user += users_;
    users_ += users.size();
    file->rewind();
    put_users(*file, users);
    put_events(*file, part);
  }
}

NumberedUsers EventsOnDisk::number_users(std::span<const std::int64_t> counts, ColumnSpace& space) {
  NameRuns runs(space);
  std::size_t before = 0;
  for (const auto& file : files_) {
    between_();
    file->rewind();
    const Vocabulary users = get_users(*file);
    runs.add(users, counts.subspan(before, index(users.size())));
    before += index(users.size());
  }
  NumberedUsers out;
  out.names = runs.merge(out.number_of);
  return out;
}

void EventsOnDisk::each(Access access, const std::function<void(OrderedEvents&)>& visit) {
  for (const auto& file : files_) {
    between_();
    file->rewind();
    file->pass<std::uint32_t>(), file->pass<char>();  // the users
    const off_t begin = file->at();
    OrderedEvents part;
    part.user = file->get<std::int32_t>();
    part.offsets = file->get<std::int64_t>();
    part.item = file->get<std::int32_t>();
    part.time = file->get<std::int64_t>();
    part.source = file->get<Part>();
    part.line = file->get<std::int64_t>();
    visit(part);
    if (access != Access::kChange) continue;
    file->rewind(begin);
    put_events(*file, part);
  }
}

}  // namespace tradewind::runtime
