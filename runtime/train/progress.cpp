#include "runtime/train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"

namespace tradewind::runtime {
namespace {

constexpr auto kTick = std::chrono::milliseconds(250);
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlain = std::chrono::seconds(10);

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::min(seconds, 1e9) + 0.5);
  if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

std::string rate_text(double rate) {
  if (rate >= 1e6) return fmt::format("{:.2f}M", rate / 1e6);
  if (rate >= 1e4) return fmt::format("{:.1f}k", rate / 1e3);
  return fmt::format("{:.0f}", rate);
}

std::string memory_text(double bytes) {
  constexpr double kMebi = 1024.0 * 1024.0;
  if (bytes >= 10 * 1024 * kMebi) return fmt::format("{:.1f} GiB", bytes / (1024 * kMebi));
  return fmt::format("{:.0f} MiB", bytes / kMebi);
}

}  // namespace

std::string progress_line(const ProgressState& state, int columns) {
  std::vector<std::string> parts;
  if (!state.phase.empty()) {
    std::string part = state.phase;
    if (state.total > 0) part = fmt::format("{} {}/{}", part, state.done, state.total);
    if (state.phase_seconds >= 1) part = fmt::format("{} {}", part, duration_text(state.phase_seconds));
    parts.push_back(part);
  }
  if (state.steps > 0) parts.push_back(fmt::format("step {}/{}", state.step, state.steps));
  if (state.step > 0) parts.push_back(fmt::format("loss {:.4f}", state.loss));
  if (state.rate > 0) parts.push_back(rate_text(state.rate) + (state.tokens ? " tokens/s" : " samples/s"));
  if (state.seconds_left >= 0.5) parts.push_back(duration_text(state.seconds_left) + " left");
  if (state.mfu > 0) parts.push_back(fmt::format("MFU {:.0f} %", 100 * state.mfu));
  if (state.memory > 0) parts.push_back(memory_text(state.memory));
  std::string line;
  const std::size_t width = static_cast<std::size_t>(std::max(columns, 0));
  for (const std::string& part : parts) {
    const std::string gap = line.empty() ? "" : "  ";
    if (line.size() + gap.size() + part.size() > width) break;
    line += gap;
    line += part;
  }
  return line;
}

Progress::Progress(Log& log) : Progress(log, on_terminal(stdout) && !log.off_terminal()) {}

Progress::Progress(Log& log, bool terminal) : log_(log), terminal_(terminal) {
  if (!terminal_) return;
  log_.before_line([this] { clear(); });
  ticker_ = std::thread([this] { tick(); });
}

Progress::~Progress() { finish(); }

void Progress::finish() {
  {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
  }
  wake_.notify_all();
  if (ticker_.joinable()) ticker_.join();
  if (!terminal_) return;
  log_.with_terminal([this] { clear(); });
  log_.before_line({});
}

void Progress::step(const StepReport& report) {
  bool plain = false;
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const bool first = state_.step == 0;
    // A mean over the last 40 steps or so: the first, slow one is soon forgotten.
    seconds_per_step_ = first ? report.seconds : seconds_per_step_ + 0.05 * (report.seconds - seconds_per_step_);
    if (first && report.seconds > 0) phase_began_ = now;
    state_.phase.clear();
    state_.step = report.step;
    state_.steps = report.steps;
    state_.loss = report.loss;
    state_.tokens = report.tokens > 0;
    const auto count = static_cast<double>(state_.tokens ? report.tokens : report.samples);
    state_.rate = seconds_per_step_ > 0 ? count / seconds_per_step_ : 0;
    state_.mfu = report.seconds > 0 ? report.mfu * report.seconds / seconds_per_step_ : 0;
    state_.seconds_left = seconds_per_step_ * static_cast<double>(report.steps - report.step);
    plain = first || report.step == report.steps || now - plain_ >= kPlain;
    if (plain) {
      plain_ = now;
      state_.memory = static_cast<double>(resident_bytes());
      line = progress_line(state_, 200);
    }
  }
  if (plain && terminal_) log_.note(line);
  if (plain && !terminal_) log_.info(line);
  draw(false);
}

void Progress::phase(const std::string& what, std::int64_t done, std::int64_t total) {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const bool began = state_.phase != what;
    if (began) phase_began_ = now;
    state_.phase = what;
    state_.done = done;
    state_.total = total;
    state_.phase_seconds = std::chrono::duration<double>(now - phase_began_).count();
    if (!terminal_ && now - plain_ >= kPlain && plain_ != Clock::time_point{}) {
      plain_ = now;
      line = progress_line(state_, 200);
    }
  }
  if (!line.empty()) log_.info(line);
  draw(false);
}

void Progress::phase(Phase what, std::int64_t done, std::int64_t total) {
  switch (what) {
    case Phase::kTraining: return phase("", 0, 0);
    case Phase::kEvaluating: return phase("evaluating", done, total);
    case Phase::kSaving: return phase("saving", done, total);
  }
}

void Progress::tick() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kTick, [this] { return finished_; })) {
    if (!state_.phase.empty()) state_.phase_seconds = std::chrono::duration<double>(Clock::now() - phase_began_).count();
    state_.memory = static_cast<double>(resident_bytes());
    lock.unlock();
    draw(true);
    lock.lock();
  }
}

void Progress::draw(bool now) {
  if (!terminal_) return;
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    if (finished_ || (!now && Clock::now() - drawn_ < kRedraw)) return;
    drawn_ = Clock::now();
    line = progress_line(state_, terminal_columns(stdout) - 1);  // a full last column would wrap
  }
  log_.with_terminal([&] {
    const std::string padding(shown_ > line.size() ? shown_ - line.size() : 0, ' ');
    std::fprintf(stdout, "\r%s%s", line.c_str(), padding.c_str());
    if (!padding.empty()) std::fprintf(stdout, "\r%s", line.c_str());
    std::fflush(stdout);
    shown_ = line.size();
  });
}

void Progress::clear() {
  if (shown_ == 0) return;
  std::fprintf(stdout, "\r%s\r", std::string(shown_, ' ').c_str());
  std::fflush(stdout);
  shown_ = 0;
}

}  // namespace tradewind::runtime
