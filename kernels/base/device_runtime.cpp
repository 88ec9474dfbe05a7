#include "kernels/base/device_runtime.h"

#include "kernels/base/error.h"
#include "kernels/cuda/device_runtime.h"

namespace tradewind::kernels {
namespace {

constexpr const char* kWithoutCuda =
    "this binary was built without CUDA; configure with -DTRADEWIND_CUDA=on where nvcc is, or set device = \"cpu\"";
constexpr int kLeastMajor = 8;  // mma of bfloat16, cp.async

std::string cuda_version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

}  // namespace

std::string why_unusable(const DeviceFacts& f, int index) {
  const std::string or_cpu = ", or set device = \"cpu\"";
  if (f.driver == 0) return "there is no NVIDIA driver on this machine; install one" + or_cpu;
  // Within one major version a newer run-time library works with an older driver.
  if (f.driver / 1000 < f.runtime / 1000)
    return "the NVIDIA driver serves CUDA up to " + cuda_version(f.driver) + " and this build is of CUDA " +
           cuda_version(f.runtime) + "; update the driver" + or_cpu;
  if (f.devices == 0)
    return "no NVIDIA GPU can be used here" + (f.problem.empty() ? "" : " (" + f.problem + ")") +
           "; look at nvidia-smi and CUDA_VISIBLE_DEVICES" + or_cpu;
  if (index < 0 || index >= f.devices)
    return "there is no GPU " + std::to_string(index) + ", only " + std::to_string(f.devices) +
           " from 0 on; look at CUDA_VISIBLE_DEVICES" + or_cpu;
  if (f.major < kLeastMajor)
    return "the GPU, " + f.name + ", has compute capability " + std::to_string(f.major) + "." + std::to_string(f.minor) +
           "; the kernels need 8.0 (A100, RTX 30) or later: use another GPU" + or_cpu;
  return "";
}

DeviceRuntime& cuda_runtime() {
  if constexpr (kHasCuda)
    return detail::cuda_runtime_cuda();
  else
    throw DeviceError(std::string("device = \"cuda\": ") + kWithoutCuda);
}

std::string why_no_cuda(int index) {
  if constexpr (kHasCuda)
    return why_unusable(cuda_runtime().facts(index), index);
  else
    return kWithoutCuda;
}

}  // namespace tradewind::kernels
