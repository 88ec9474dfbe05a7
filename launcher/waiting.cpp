#include "launcher/waiting.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

namespace tradewind::launcher {

Waiting::Waiting(std::string what) : what_(std::move(what)) {
  if (isatty(STDERR_FILENO) == 1) thread_ = std::thread([this] { draw(); });
}

Waiting::~Waiting() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Waiting::now(const std::string& what, std::int64_t done, std::int64_t total) {
  const std::lock_guard lock(mutex_);
  what_ = what;
  done_ = done;
  total_ = total;
}

void Waiting::draw() {
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  std::size_t shown = 0;
  std::unique_lock lock(mutex_);
  for (auto tick = std::chrono::milliseconds(1000); !wake_.wait_for(lock, tick, [this] { return stop_; });
       tick = std::chrono::milliseconds(500)) {
    std::string line = what_;
    if (total_ > 0) line += fmt::format(" {}/{}", done_, total_);
    line += fmt::format("  {:.0f}s", std::chrono::duration<double>(Clock::now() - began).count());
    const std::string padding(shown > line.size() ? shown - line.size() : 0, ' ');
    shown = line.size();
    std::fprintf(stderr, "\r%s%s", line.c_str(), padding.c_str());
    std::fflush(stderr);
  }
  if (shown == 0) return;
  std::fprintf(stderr, "\r%s\r", std::string(shown, ' ').c_str());
  std::fflush(stderr);
}

}  // namespace tradewind::launcher
