// Every function of kernels/cuda/device does on the executor what it says, whatever the order of threads, blocks and
// operations.
#include "tests/simt/conformance.h"

#include <boost/test/unit_test.hpp>

#include "tests/simt/machine.h"

using namespace tradewind;

BOOST_AUTO_TEST_CASE(every_function_conforms_under_both_schedules) {
  for (const simt::Schedule schedule : {simt::Schedule::kRandom, simt::Schedule::kWarpAhead})
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      simt::Machine machine({.seed = seed, .schedule = schedule});
      for (const tests::Outcome& outcome : tests::check_conformance())
        BOOST_CHECK_MESSAGE(outcome.problem.empty(), "seed " << seed << ": " << outcome.name << ": " << outcome.problem);
      machine.synchronize();
      BOOST_CHECK_EQUAL(machine.live_allocations(), 0U);
    }
}
