// Every function of kernels/cuda/device does on a GPU what it does on the executor (tests/simt/conformance.cu).
#include <boost/test/unit_test.hpp>
#include <cstdio>

#include "tests/cuda/gpu.h"
#include "tests/simt/conformance.h"

using namespace tradewind::tests;

BOOST_AUTO_TEST_CASE(every_function_conforms_on_a_gpu) {
  const std::string missing = why_no_gpu();
  if (!missing.empty()) {
    std::printf("SKIPPED cuda/conformance_gpu_test: %s\n", missing.c_str());
    return;
  }
  for (const Outcome& outcome : check_conformance())
    BOOST_CHECK_MESSAGE(outcome.problem.empty(), outcome.name << ": " << outcome.problem);
}
