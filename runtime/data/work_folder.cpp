#include "runtime/data/work_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "kernels/base/error.h"
#include "runtime/data/file_error.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "journal.jsonl";

/// A `prepare` has written it, of events or of a text. Partitions and columns lose their names at once, unless it dies then.
bool is_work(const fs::directory_entry& entry) {
  constexpr std::array<std::string_view, 4> kNames = {kLock, "prepared.h5", "key.json", "tokenizer.json"};
  const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
  return entry.is_regular_file() && (std::ranges::find(kNames, name) != kNames.end() || name.starts_with("events-") ||
                                     name.starts_with("column-") || kind == ".tokens" || kind == ".documents");
}

}  // namespace

WorkFolder::WorkFolder(fs::path folder, bool fresh) : folder_(std::move(folder)), was_there_(fs::exists(folder_)) {
  fs::create_directories(folder_);
  descriptor_ = ::open((folder_ / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor_ < 0) throw file_error("opening", folder_ / kLock, errno);
  try {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)  // some file systems have no locks
      throw DataError(fmt::format("another process is preparing: {} is in use. Wait for it", folder_.string()));
    clear(fresh);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

WorkFolder::~WorkFolder() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  ::close(descriptor_);
}

void WorkFolder::clear(bool fresh) const {
  if (fs::exists(folder_ / "key.json") && !fresh)
    throw DataError(
        fmt::format("{} holds a text that is half prepared. Choose another file with --to, or begin anew with --fresh, which "
                    "removes it",
                    folder_.string()));
  for (const auto& left : fs::directory_iterator(folder_))
    if (!is_work(left))
      throw DataError(
          fmt::format("{} is for unfinished work, and {} in it is none. Move that away, or choose another file with --to",
                      folder_.string(), left.path().filename().string()));
  for (const auto& left : fs::directory_iterator(folder_))
    if (left.path().filename() != kLock) fs::remove(left.path());
  fs::resize_file(folder_ / kLock, 0);
}

}  // namespace tradewind::runtime
