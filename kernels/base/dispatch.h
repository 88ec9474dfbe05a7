// One way to pick the arm of an op: dispatch("gelu_forward", launch, [&]{ cpu arm }, [&]{ cuda arm }).
#pragma once

#include <string>

#include "kernels/base/error.h"
#include "kernels/base/launch.h"

namespace tradewind::kernels {

[[noreturn]] inline void throw_no_cuda(const char* op) {
  throw DeviceError(std::string(op) + ": this build has no CUDA backend; set device = \"cpu\"");
}

/// CPU arms compute in float32. Wider support is stated where an op has it.
inline void require_float32_on_cpu(const char* op, const Launch& launch, DType dtype) {
  if (launch.device.type == DeviceType::kCpu && dtype != DType::kFloat32)
    throw DeviceError(std::string(op) + ": the CPU kernel computes in float32 and was given " + name_of(dtype) +
                      "; set precision = \"float32\"");
}

}  // namespace tradewind::kernels
