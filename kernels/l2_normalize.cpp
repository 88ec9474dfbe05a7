#include "kernels/l2_normalize.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/l2_normalize.h"
#include "kernels/cuda/l2_normalize.h"

namespace tradewind::kernels {
namespace {

void require_rows(const char* op, std::int64_t N, std::int64_t C, bool given, const L2NormalizeOptions& o,
                  const Launch& launch) {
  require(N >= 0 && C >= 1, op, "N must be at least 0 and C at least 1");
  require(launch.threads >= 1, op, "launch.threads must be at least 1");
  require(o.epsilon > 0, op, "epsilon must be positive");
  require_float32_on_cpu(op, launch, o.dtype);
  require(N == 0 || given, op, "every array must be given");
}

}  // namespace

void l2_normalize_forward(void* y, float* length, const void* x, std::int64_t N, std::int64_t C, const L2NormalizeOptions& o,
                          const Launch& launch) {
  constexpr const char* kOp = "l2_normalize_forward";
  require_rows(kOp, N, C, y != nullptr && length != nullptr && x != nullptr, o, launch);
  if (N == 0) return;
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch, {{"y", y}, {"length", length}, {"x", x}});
      return detail::l2_normalize_forward_cuda(y, length, x, N, C, o, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  cpu::l2_normalize_forward(static_cast<float*>(y), length, static_cast<const float*>(x), N, C, o.epsilon, launch);
}

void l2_normalize_backward(void* dx, const void* dy, const void* y, const float* length, std::int64_t N, std::int64_t C,
                           Write write, const L2NormalizeOptions& o, const Launch& launch) {
  constexpr const char* kOp = "l2_normalize_backward";
  require_rows(kOp, N, C, dx != nullptr && dy != nullptr && y != nullptr && length != nullptr, o, launch);
  require(N == 0 || dx != dy || write == Write::kAssign, kOp, "dx may be dy only where it is assigned");
  if (N == 0) return;
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch, {{"dx", dx}, {"dy", dy}, {"y", y}, {"length", length}});
      return detail::l2_normalize_backward_cuda(dx, dy, y, length, N, C, write, o, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  cpu::l2_normalize_backward(static_cast<float*>(dx), static_cast<const float*>(dy), static_cast<const float*>(y), length, N, C,
                             write, o.epsilon, launch);
}

}  // namespace tradewind::kernels
