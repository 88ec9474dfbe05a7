#include "kernels/activation.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/activation.h"
#include "kernels/cuda/activation.h"

namespace tradewind::kernels {

void activation_forward(void* y, const void* x, std::int64_t count, Activation activation, DType dtype, const Launch& launch) {
  require(count >= 0, "activation_forward", "a negative count");
  require(count == 0 || (y != nullptr && x != nullptr), "activation_forward", "y and x must be given");
  require_float32_on_cpu("activation_forward", launch, dtype);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("activation_forward", launch, {{"y", y}, {"x", x}});
      return detail::activation_forward_cuda(y, x, count, activation, dtype, launch);
    } else {
      throw_no_cuda("activation_forward");
    }
  }
  cpu::activation_forward(static_cast<float*>(y), static_cast<const float*>(x), count, activation, launch);
}

void activation_backward(void* dx, void* y, const void* dy, const void* x, std::int64_t count, Activation activation,
                         Write write, DType dtype, const Launch& launch) {
  require(count >= 0, "activation_backward", "a negative count");
  require(count == 0 || (dx != nullptr && dy != nullptr && x != nullptr), "activation_backward", "dx, dy and x must be given");
  require(count == 0 || (y != dx && y != dy && y != x) || y == nullptr, "activation_backward", "y must be an array of its own");
  require_float32_on_cpu("activation_backward", launch, dtype);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("activation_backward", launch, {{"dx", dx}, {"y", y}, {"dy", dy}, {"x", x}});
      return detail::activation_backward_cuda(dx, y, dy, x, count, activation, write, dtype, launch);
    } else {
      throw_no_cuda("activation_backward");
    }
  }
  cpu::activation_backward(static_cast<float*>(dx), static_cast<float*>(y), static_cast<const float*>(dy),
                           static_cast<const float*>(x), count, activation, write, launch);
}

void swiglu_forward(void* y, const void* x, std::int64_t N, std::int64_t C, DType dtype, const Launch& launch) {
  require(N >= 0 && C >= 0, "swiglu_forward", "a negative size");
  require(N * C == 0 || (y != nullptr && x != nullptr && y != x), "swiglu_forward", "y and x must be two arrays");
  require_float32_on_cpu("swiglu_forward", launch, dtype);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("swiglu_forward", launch, {{"y", y}, {"x", x}});
      return detail::swiglu_forward_cuda(y, x, N, C, dtype, launch);
    } else {
      throw_no_cuda("swiglu_forward");
    }
  }
  cpu::swiglu_forward(static_cast<float*>(y), static_cast<const float*>(x), N, C, launch);
}

void swiglu_backward(void* dx, const void* dy, const void* x, std::int64_t N, std::int64_t C, Write write, DType dtype,
                     const Launch& launch) {
  require(N >= 0 && C >= 0, "swiglu_backward", "a negative size");
  require(N * C == 0 || (dx != nullptr && dy != nullptr && x != nullptr && dx != dy), "swiglu_backward",
          "dx, dy and x must be given, dx apart from dy");
  require_float32_on_cpu("swiglu_backward", launch, dtype);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("swiglu_backward", launch, {{"dx", dx}, {"dy", dy}, {"x", x}});
      return detail::swiglu_backward_cuda(dx, dy, x, N, C, write, dtype, launch);
    } else {
      throw_no_cuda("swiglu_backward");
    }
  }
  cpu::swiglu_backward(static_cast<float*>(dx), static_cast<const float*>(dy), static_cast<const float*>(x), N, C, write,
                       launch);
}

}  // namespace tradewind::kernels
