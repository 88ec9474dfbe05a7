// Each function of kernels/cuda/device does what simt.cuh and stream.cuh say: one list of checks, for the executor and for a
// GPU.
#pragma once

#include <string>
#include <vector>

namespace tradewind::tests {

struct Outcome {
  std::string name;
  std::string problem;  // empty where it conforms
};

/// Runs every check on the current device (or simt::Machine).
std::vector<Outcome> check_conformance();

}  // namespace tradewind::tests
