// What a run says: plain lines on the terminal, and with time stamps in the run's log file.
#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>

namespace tradewind::runtime {

/// Thread-safe. A text of several lines gets a stamp on each. A log file that cannot be written any more (a full disk) is told
/// once and does not end the run.
class Log {
 public:
  /// Says things on stdout and stderr only, until open().
  Log() = default;
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Appends to `file` from here on. Throws ConfigError where it cannot be opened.
  void open(const std::filesystem::path& file);

  /// From here on info and warning go to the file alone: for ranks other than 0.
  void keep_off_terminal() { off_terminal_ = true; }
  bool off_terminal() const { return off_terminal_; }

  void info(const std::string& text);     // stdout and file
  void warning(const std::string& text);  // "warning: ..." on stderr, and file
  void note(const std::string& text);     // file only

  /// `clear` is called before a line goes to the terminal: the progress line must be out of its way. Empty: nothing to clear.
  void before_line(std::function<void()> clear);
  /// Holds back the lines of other threads while `draw` writes to the terminal.
  void with_terminal(const std::function<void()>& draw);

 private:
  void write(const char* level, const std::string& text);

  std::mutex mutex_;
  std::FILE* file_ = nullptr;
  bool failed_ = false, off_terminal_ = false;
  std::function<void()> clear_;
};

}  // namespace tradewind::runtime
