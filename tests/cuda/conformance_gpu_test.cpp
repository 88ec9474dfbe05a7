// Every function of kernels/cuda/device does on a GPU what it does on the executor (tests/simt/conformance.cu).
#include <boost/test/unit_test.hpp>

#include "tests/simt/conformance.h"

using namespace tradewind::tests;

BOOST_AUTO_TEST_CASE(every_function_conforms_on_a_gpu) {
  for (const Outcome& outcome : check_conformance())
    BOOST_CHECK_MESSAGE(outcome.problem.empty(), outcome.name << ": " << outcome.problem);
}
