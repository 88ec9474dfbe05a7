// What a failed call of the CUDA run-time library becomes: a DeviceError with the call, CUDA's words and what to do.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "kernels/base/error.h"

namespace tradewind::kernels {

inline void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  const char* remedy = "run tests/run on this machine to see whether its CUDA works at all";
  switch (code) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      remedy =
          "this machine has no NVIDIA GPU or a driver older than this build's CUDA: update the driver, or set device = \"cpu\"";
      break;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:  // the driver is to translate PTX of a CUDA that it does not know
      remedy =
          "this build has no code for this GPU: configure with -DTRADEWIND_CUDA_ARCHITECTURES=<its compute capability>, or set "
          "device = \"cpu\"";
      break;
    case cudaErrorMemoryAllocation:
      remedy = "the GPU's memory is full: lower train.micro_batch, model.context or the model's size";
      break;
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
      remedy = "a kernel touched memory that is not the device's or not its own, a bug of ours: compute-sanitizer says which";
      break;
    default: break;
  }
  throw DeviceError(std::string(call) + ": " + cudaGetErrorString(code) + "; " + remedy);
}
#define TRADEWIND_CHECK_CUDA(call) ::tradewind::kernels::check_cuda(call, #call)

}  // namespace tradewind::kernels
