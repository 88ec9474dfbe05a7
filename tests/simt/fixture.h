// The runtime on the executor.
#pragma once

#include <boost/test/unit_test.hpp>

#include "runtime/core/context.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

/// Several orders of operations and threads.
template <class Action>
void on_every_machine(const Action& action) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    simt::Machine machine({.seed = seed, .schedule = seed % 2 == 0 ? simt::Schedule::kRandom : simt::Schedule::kWarpAhead});
    action(machine);
    BOOST_CHECK_EQUAL(machine.first_fault(), "");
  }
}

}  // namespace tradewind::tests
