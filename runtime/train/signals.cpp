#include "runtime/train/signals.h"

#include <unistd.h>

#include <cstring>

namespace tradewind::runtime {
namespace {

// A signal handler has no argument to pass a context in: the one mutable global.
volatile std::sig_atomic_t received_signal = 0;

void say(const char* text) {
  // write is async-signal-safe, stdio is not; if stderr is gone there is nobody to tell.
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void on_interrupt(int signal) {
  received_signal = signal;
  say("\nstopping at the end of this step; Ctrl-C again ends at once\n");
}
void on_terminate(int signal) { received_signal = signal; }

}  // namespace

StopSignals::StopSignals() {
  received_signal = 0;
  struct sigaction action = {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);  // the second one finds the default: the end
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, &interrupt_);
  action.sa_flags = SA_RESTART;
  action.sa_handler = on_terminate;
  sigaction(SIGTERM, &action, &terminate_);
  sigaction(SIGUSR1, &action, &user_);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
  sigaction(SIGUSR1, &user_, nullptr);
}

int StopSignals::received() const { return received_signal; }

}  // namespace tradewind::runtime
