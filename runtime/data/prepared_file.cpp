#include "runtime/data/prepared_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRemedy = "Prepare it again: tradewind prepare RECIPE --fresh";

/// A running XXH3-64 of parts of a file.
class FileHash {
 public:
  explicit FileHash(int descriptor) : descriptor_(descriptor), state_(XXH3_createState(), XXH3_freeState) {
    XXH3_64bits_reset(state_.get());
  }
  /// False where the file ends before.
  bool add(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t at = begin; at < end;) {
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece_.size(), end - at));
      const ssize_t got = ::pread(descriptor_, piece_.data(), wanted, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      XXH3_64bits_update(state_.get(), piece_.data(), static_cast<std::size_t>(got));
      at += static_cast<std::uint64_t>(got);
    }
    return true;
  }
  std::uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

 private:
  int descriptor_;
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
  std::vector<char> piece_ = std::vector<char>(std::size_t{1} << 20);
};

}  // namespace

class PreparedFile::Descriptor {
 public:
  explicit Descriptor(fs::path file) : path(std::move(file)), value(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat info {};
    if (value < 0 || fstat(value, &info) != 0)
      throw DataError(fmt::format("{} cannot be opened: {}. Prepare it: tradewind prepare RECIPE", path.string(),
                                  std::system_category().message(errno)));
    bytes = static_cast<std::uint64_t>(info.st_size);
  }
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: {}. {}", path.string(), what, kRemedy));
  }
  void read(std::uint64_t offset, void* to, std::size_t count) const {
    for (auto* at = static_cast<char*>(to); count > 0;) {
      const ssize_t got = ::pread(value, at, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw DataError(fmt::format("reading {}: {}", path.string(), std::system_category().message(errno)));
      if (got == 0) fail(fmt::format("the file ends at byte {}: it was cut off", offset));
      at += got, offset += static_cast<std::uint64_t>(got), count -= static_cast<std::size_t>(got);
    }
  }

  const fs::path path;
  const int value;
  std::uint64_t bytes = 0;
};

namespace {

/// Tokens that lie at an offset of a file.
template <class Id>
class FileTokens final : public TokenSource {
 public:
  using Read = std::function<void(std::uint64_t offset, void* to, std::size_t bytes)>;
  FileTokens(Read read, const PreparedArray& array) : read_(std::move(read)), offset_(array.offset), count_(array.count) {}

  std::int64_t size() const override { return count_; }
  void read(std::int64_t begin, std::span<std::int32_t> ids) const override {
    require(begin >= 0 && begin + static_cast<std::int64_t>(ids.size()) <= count_, "FileTokens", "out of range");
    const std::uint64_t at = offset_ + static_cast<std::uint64_t>(begin) * sizeof(Id);
    if constexpr (sizeof(Id) == sizeof(std::int32_t)) {
      read_(at, ids.data(), ids.size_bytes());
    } else {
      std::vector<Id> stored(ids.size());
      read_(at, stored.data(), stored.size() * sizeof(Id));
      std::copy(stored.begin(), stored.end(), ids.begin());
    }
  }

 private:
  Read read_;
  std::uint64_t offset_;
  std::int64_t count_;
};

}  // namespace

std::uint64_t checksum_of_rest(int descriptor, std::vector<PreparedArray> arrays, std::uint64_t bytes) {
  std::sort(arrays.begin(), arrays.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  FileHash hash(descriptor);
  std::uint64_t at = kUserBlock;
  for (const PreparedArray& array : arrays) {
    hash.add(at, array.offset);
    at = array.offset + array.bytes();
  }
  hash.add(at, bytes);
  return hash.value();
}

bool is_prepared(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  std::string head(std::string_view(kPreparedFormat).size() + 1, '\0');
  const ssize_t got = ::pread(descriptor, head.data(), head.size(), 0);
  ::close(descriptor);
  return got == static_cast<ssize_t>(head.size()) && head == std::string(kPreparedFormat) + ' ';
}

PreparedFile::PreparedFile(const fs::path& path) : file_(std::make_shared<const Descriptor>(path)) {
  read_user_block();
  verify();
  const auto is_tokenizer = [](const PreparedArray& array) { return array.name == "/tokenizer"; };
  if (std::ranges::any_of(arrays_, is_tokenizer)) tokenizer_ = json_of("/tokenizer");
  description_ = json_of("/description");
}

PreparedFile::~PreparedFile() = default;

void PreparedFile::read_user_block() {
  std::string block(kUserBlock, '\0');
  if (file_->bytes < kUserBlock || !is_prepared(file_->path))
    throw DataError(
        fmt::format("{} is no file that `tradewind prepare` has written, or its beginning is damaged. Prepare the text: "
                    "tradewind prepare RECIPE --to FILE",
                    file_->path.string()));
  file_->read(0, block.data(), block.size());
  // "tradewind-prepared VERSION CHECKSUM JSON"
  const std::size_t version = block.find(' ') + 1, checksum = block.find(' ', version) + 1, text = checksum + 17;
  const std::size_t end = block.find('\n');
  if (checksum == 0 || end == std::string::npos || text > end) file_->fail("its beginning is damaged");
  const std::string number = block.substr(version, checksum - 1 - version), contents = block.substr(text, end - text);
  if (number != std::to_string(kPreparedVersion))
    throw DataError(
        fmt::format("{} has the format version {}, this program knows {}. Use the Tradewind that wrote it, or prepare "
                    "the text again with --fresh",
                    file_->path.string(), number, kPreparedVersion));
  if (block.substr(checksum, 16) != checksum_of(contents)) file_->fail("its beginning is damaged");
  const json j = json::parse(contents);
  for (const json& a : j.at("arrays"))
    arrays_.push_back({.name = a.at("name"),
                       .bytes_each = a.at("bytes_each"),
                       .count = a.at("count"),
                       .checksum = a.at("checksum"),
                       .offset = a.at("offset")});
  bytes_ = j.at("bytes");
  rest_ = j.at("rest");
}

void PreparedFile::verify() const {
  if (file_->bytes != bytes_)
    file_->fail(fmt::format("it has {} bytes, but {} were written: it was cut off or added to", file_->bytes, bytes_));
  for (const PreparedArray& array : arrays_) {
    FileHash hash(file_->value);
    if (!hash.add(array.offset, array.offset + array.bytes())) file_->fail(array.name + " cannot be read");
    if (hash.value() != array.checksum)
      file_->fail(fmt::format("{} is damaged: its checksum is not that of what was written", array.name));
  }
  if (checksum_of_rest(file_->value, arrays_, bytes_) != rest_) file_->fail("the structures of the file are damaged");
}

json PreparedFile::json_of(const std::string& name) const {
  for (const PreparedArray& array : arrays_) {
    if (array.name != name) continue;
    std::string text(array.bytes(), '\0');
    file_->read(array.offset, text.data(), text.size());
    return json::parse(text);
  }
  file_->fail("it lacks " + name);
}

const fs::path& PreparedFile::path() const { return file_->path; }

std::shared_ptr<const TokenSource> PreparedFile::tokens(const std::string& part) const {
  const auto read = [file = file_](std::uint64_t offset, void* to, std::size_t bytes) { file->read(offset, to, bytes); };
  for (const PreparedArray& array : arrays_) {
    if (array.name != "/" + part + "/tokens") continue;
    if (array.bytes_each == 2) return std::make_shared<FileTokens<std::uint16_t>>(read, array);
    return std::make_shared<FileTokens<std::int32_t>>(read, array);
  }
  return nullptr;
}

}  // namespace tradewind::runtime
