// main of the programs that test on a GPU: where there is none, they say so and pass.
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/cuda/gpu.h"

int main(int argc, char** argv) {
  const std::string missing = tradewind::tests::why_no_gpu();
  if (!missing.empty()) {
    std::printf("SKIPPED cuda/%s: %s\n", std::filesystem::path(argv[0]).filename().c_str(), missing.c_str());
    return 0;
  }
  return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
