// Is there a GPU that runs this build's code? Where not, why: the text of a reported skip.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace tradewind::tests {

/// Empty where there is one.
inline std::string why_no_gpu() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) return std::string("no GPU here: ") + cudaGetErrorString(code);
  return count == 0 ? "no GPU here" : "";
}

}  // namespace tradewind::tests
