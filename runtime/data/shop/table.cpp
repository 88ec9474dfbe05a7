#include "runtime/data/shop/table.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/data/shop/records.h"

namespace tradewind::runtime::shop {
namespace {

std::chrono::year_month_day date_of(std::int64_t day) {
  return std::chrono::sys_days{std::chrono::year{2025} / 1 / 1} + std::chrono::days{day};
}

}  // namespace

std::string json_text(std::string_view text) { return nlohmann::json(text).dump(); }

std::string date_text(std::int64_t day) {
  const auto date = date_of(day);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

void append_time(std::string& row, std::int64_t time) {
  const std::int64_t second = time % kDay;
  const auto date = date_of(time / kDay);
  char text[] = "2025-01-01T00:00:00Z";
  const auto put = [&](int at, std::int64_t value) {
    text[at] = static_cast<char>('0' + value / 10 % 10);
    text[at + 1] = static_cast<char>('0' + value % 10);
  };
  put(0, static_cast<int>(date.year()) / 100);
  put(2, static_cast<int>(date.year()));
  put(5, static_cast<unsigned>(date.month()));
  put(8, static_cast<unsigned>(date.day()));
  put(11, second / kHour);
  put(14, second / 60 % 60);
  put(17, second % 60);
  row.append(text, sizeof text - 1);
}

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::string_view text) {
  bytes_ += static_cast<std::int64_t>(text.size());
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written < 0 && errno != EINTR) fail(errno);
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void OutputFile::close() {
  if (descriptor_ >= 0 && ::close(std::exchange(descriptor_, -1)) != 0) fail(errno);
}

void OutputFile::fail(int error) const {
  throw DataError(
      "writing " + path_.string() + ": " + std::strerror(error) +
      (error == ENOSPC || error == EDQUOT || error == EFBIG ? "; free some space and run the same command again" : ""));
}

}  // namespace tradewind::runtime::shop
