// A sign of life on a terminal while a verb works in silence.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace tradewind::launcher {

/// From a second after its beginning a line on standard error says what is going on and for how long; it is gone when this
/// goes. Nothing where standard error is no terminal, so pipes and logs get results alone.
class Waiting {
 public:
  explicit Waiting(std::string what);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  /// total 0: not known.
  void now(const std::string& what, std::int64_t done = 0, std::int64_t total = 0);

 private:
  void draw();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string what_;
  std::int64_t done_ = 0, total_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace tradewind::launcher
