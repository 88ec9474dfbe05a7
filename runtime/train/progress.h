// What somebody who waits for a run sees.
//
// On a terminal one line is drawn over and over, by the loop and by a ticker thread, so that it moves in long phases too
// (reading, evaluating, saving). Off a terminal a plain line now and then. log.txt gets the plain lines in both cases.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/core/log.h"
#include "runtime/train/trainer.h"

namespace tradewind::runtime {

/// What the line shows. Nothing is shown of what is 0 or empty.
struct ProgressState {
  std::string phase;                 // "reading data", "evaluating"; "" while training
  std::int64_t done = 0, total = 0;  // of the phase
  double phase_seconds = 0;
  std::int64_t step = 0, steps = 0;
  double loss = 0;
  double rate = 0;  // tokens, or samples, a second
  bool tokens = true;
  double mfu = 0;     // share of what matrix products reach here
  double memory = 0;  // bytes
  double seconds_left = 0;
};

/// At most `columns` wide: what fits whole, the most important first.
std::string progress_line(const ProgressState& state, int columns);

class Progress {
 public:
  /// `terminal`: draw on stdout; by default where stdout is one.
  explicit Progress(Log& log);
  Progress(Log& log, bool terminal);
  ~Progress();  // clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(const StepReport& report);
  /// Something else than training steps is going on; until the next step() or phase(). total 0: not known.
  void phase(const std::string& what, std::int64_t done = 0, std::int64_t total = 0);
  /// As TrainObserver tells it.
  void phase(Phase what, std::int64_t done, std::int64_t total);
  /// Clears the line and stops drawing.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void tick();
  void draw(bool now);
  void clear();  // with the terminal held

  Log& log_;
  const bool terminal_;
  std::mutex mutex_;  // of what follows
  ProgressState state_;
  Clock::time_point phase_began_ = Clock::now(), drawn_{}, plain_{};
  double seconds_per_step_ = 0;
  std::size_t shown_ = 0;  // characters on the terminal now
  bool finished_ = false;
  std::condition_variable wake_;
  std::thread ticker_;
};

}  // namespace tradewind::runtime
