#include "kernels/softmax.h"

#include <limits>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/softmax.h"
#include "kernels/cuda/softmax.h"

namespace tradewind::kernels {
namespace {

void check(const char* op, std::int64_t N, std::int64_t C, bool pointers, DType dtype, const Launch& launch) {
  require(N >= 0 && C >= 1 && C <= std::numeric_limits<std::int32_t>::max(), op, "N must be at least 0 and C be in [1, 2^31)");
  require(N == 0 || pointers, op, "arrays must not be null");
  require(launch.threads >= 1, op, "launch.threads must be at least 1");
  require_float32_on_cpu(op, launch, dtype);
}

}  // namespace

void softmax_forward(void* y, const void* x, std::int64_t N, std::int64_t C, bool log, DType dtype, const Launch& launch) {
  check("softmax_forward", N, C, y != nullptr && x != nullptr, dtype, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("softmax_forward", launch, {{"y", y}, {"x", x}});
      return detail::softmax_forward_cuda(y, x, N, C, log, dtype, launch);
    } else {
      throw_no_cuda("softmax_forward");
    }
  }
  cpu::softmax_forward(static_cast<float*>(y), static_cast<const float*>(x), N, C, log, launch);
}

void softmax_backward(void* dx, const void* dy, const void* y, std::int64_t N, std::int64_t C, bool log, Write write,
                      DType dtype, const Launch& launch) {
  check("softmax_backward", N, C, dx != nullptr && dy != nullptr && y != nullptr, dtype, launch);
  require(dx != dy || dx == nullptr || write == Write::kAssign, "softmax_backward", "dx may be dy only where it is assigned");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("softmax_backward", launch, {{"dx", dx}, {"dy", dy}, {"y", y}});
      return detail::softmax_backward_cuda(dx, dy, y, N, C, log, write, dtype, launch);
    } else {
      throw_no_cuda("softmax_backward");
    }
  }
  cpu::softmax_backward(static_cast<float*>(dx), static_cast<const float*>(dy), static_cast<const float*>(y), N, C, log, write,
                        launch);
}

}  // namespace tradewind::kernels
