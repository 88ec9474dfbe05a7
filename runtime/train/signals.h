// Ctrl-C, SIGTERM and SIGUSR1 ask the loop to stop at the next step boundary. (mpirun passes SIGUSR1 on to its ranks and lets
// them finish; at SIGTERM it gives them a second. Slurm sends it before a time limit with --signal=USR1@60.)
#pragma once

#include <csignal>

namespace tradewind::runtime {

/// While it lives SIGINT, SIGTERM and SIGUSR1 set a flag. A second SIGINT ends the process at once (exit code 130 in a shell).
/// One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();  // what was installed before comes back
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The signal that came, 0 while none did.
  int received() const;
  bool stop_requested() const { return received() != 0; }

 private:
  struct sigaction interrupt_, terminate_, user_;
};

}  // namespace tradewind::runtime
