#include "runtime/core/log.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/core/terminal.h"

namespace tradewind::runtime {
namespace {

// UTC: a run may move between machines.
std::string time_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Log::~Log() {
  if (file_ != nullptr) std::fclose(file_);
}

void Log::open(const std::filesystem::path& file) {
  std::FILE* opened = std::fopen(file.c_str(), "ae");
  if (opened == nullptr) throw ConfigError("cannot write the log " + file.string() + ": " + std::strerror(errno));
  const std::lock_guard lock(mutex_);
  if (file_ != nullptr) std::fclose(file_);
  file_ = opened;
  failed_ = false;
}

void Log::info(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (clear_) clear_();
  if (!off_terminal_) {
    say(stdout, text);
    std::fflush(stdout);
  }
  write("info", text);
}

void Log::warning(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (clear_) clear_();
  if (!off_terminal_) say(stderr, "warning: " + text);
  write("warning", text);
}

void Log::note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  write("info", text);
}

void Log::before_line(std::function<void()> clear) {
  const std::lock_guard lock(mutex_);
  clear_ = std::move(clear);
}

void Log::with_terminal(const std::function<void()>& draw) {
  const std::lock_guard lock(mutex_);
  draw();
}

void Log::write(const char* level, const std::string& text) {
  if (file_ == nullptr) return;
  const std::string stamp = time_stamp();
  bool good = true;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    good &= std::fprintf(file_, "%s %-7s %.*s\n", stamp.c_str(), level, static_cast<int>(end - at), text.data() + at) >= 0;
    at = end + 1;
  }
  good &= std::fflush(file_) == 0;
  if (!good && !std::exchange(failed_, true))
    say(stderr, std::string("warning: the run's log cannot be written any more: ") + std::strerror(errno));
}

}  // namespace tradewind::runtime
