#include <unistd.h>

#include <cstdlib>

#include "launcher/run.h"

namespace {

/// libgomp lets a waiting thread spin for milliseconds before it sleeps. Where another process shares the cores, that slows a
/// small model twentyfold: the thread it waits for gets no time. A shorter spin costs an idle machine little
/// (tests/benchmarks/README.md). The library reads its settings when it is loaded, so the program starts itself once more with
/// the setting; whoever sets a policy of their own keeps it.
void spin_briefly(char** argv) {
  for (const char* name : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"})
    if (std::getenv(name) != nullptr) return;
  if (setenv("GOMP_SPINCOUNT", "10000", 0) == 0) execv("/proc/self/exe", argv);  // returns only where it failed: go on as it is
}

}  // namespace

int main(int argc, char** argv) {
  spin_briefly(argv);
  return tradewind::launcher::run(argc, argv, tradewind::models::builtin_registry());
}
