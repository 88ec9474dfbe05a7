// The CUDA arm of kernels/base/device_runtime.h.
#pragma once

#include "kernels/base/device_runtime.h"

namespace tradewind::kernels::detail {

DeviceRuntime& cuda_runtime_cuda();

}  // namespace tradewind::kernels::detail
