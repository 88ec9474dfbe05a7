// What the dispatching sources (kernels/<op>.cpp) share: refusing a device or dtype that an op has no arm for, with the remedy.
#pragma once

#include <initializer_list>
#include <string>

#include "kernels/base/device_runtime.h"
#include "kernels/base/error.h"
#include "kernels/base/launch.h"
#include "kernels/base/philox.h"

namespace tradewind::kernels {

[[noreturn]] inline void throw_no_cuda(const char* op) {
  throw DeviceError(std::string(op) + ": this build has no CUDA kernel for it; set device = \"cpu\"");
}

struct NamedArray {
  const char* name;
  const void* p;  // null: not given
};

/// A kernel that follows a host pointer ends the whole process with an error that names nothing: ask before. On a CPU nothing.
inline void require_device_memory(const char* op, const Launch& launch, std::initializer_list<NamedArray> arrays) {
  if (!kHasCuda || launch.device.type != DeviceType::kCuda) return;
  for (const NamedArray& array : arrays)
    if (array.p != nullptr && !cuda_runtime().is_device_memory(array.p))
      throw DeviceError(std::string(op) + ": " + array.name +
                        " is in host memory and the kernel runs on a GPU; copy it to the device first (runtime::on_device), or "
                        "launch on the CPU");
}

/// CPU arms compute in float32. Wider support is stated where an op has it.
inline void require_float32_on_cpu(const char* op, const Launch& launch, DType dtype) {
  if (launch.device.type == DeviceType::kCpu && dtype != DType::kFloat32)
    throw DeviceError(std::string(op) + ": the CPU kernel computes in float32 and was given " + name_of(dtype) +
                      "; set precision = \"float32\"");
}

/// Arguments of every op that drops out: p in [0, 1); where p > 0 the row keys and the run's seed.
inline void require_dropout(const char* op, const Dropout& dropout, const RowKeys& keys, const Launch& launch) {
  require(dropout.p >= 0.0F && dropout_threshold(dropout.p) < 65536U, op, "the probability of dropout must be in [0, 1)");
  if (dropout_threshold(dropout.p) == 0) return;
  require(keys.sample != nullptr && keys.position != nullptr, op, "dropout needs the sample and position of each row");
  require(launch.step != nullptr, op, "dropout needs the seed of the run, launch.step");
}

}  // namespace tradewind::kernels
