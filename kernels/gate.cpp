#include "kernels/gate.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/gate.h"
#include "kernels/cuda/gate.h"

namespace tradewind::kernels {
namespace {

void check(const char* op, const GateShape& s, DType dtype, const Launch& launch) {
  require_float32_on_cpu(op, launch, dtype);
  require(s.N >= 0 && s.C > 0 && s.gate_stride >= s.C, op, "N must be at least 0, C at least 1, and gate_stride at least C");
}

}  // namespace

void gate_forward(void* y, const void* x, const void* gate, const GateShape& shape, DType dtype, const Launch& launch) {
  const char* op = "gate_forward";
  check(op, shape, dtype, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(op, launch, {{"y", y}, {"x", x}, {"gate", gate}});
      return detail::gate_forward_cuda(y, x, gate, shape, dtype, launch);
    } else {
      throw_no_cuda(op);
    }
  }
  cpu::gate_forward(static_cast<float*>(y), static_cast<const float*>(x), static_cast<const float*>(gate), shape, launch);
}

void gate_backward(void* dx, void* dgate, const void* dy, const void* x, const void* gate, const GateShape& shape, DType dtype,
                   const Launch& launch) {
  const char* op = "gate_backward";
  check(op, shape, dtype, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(op, launch, {{"dx", dx}, {"dgate", dgate}, {"dy", dy}, {"x", x}, {"gate", gate}});
      return detail::gate_backward_cuda(dx, dgate, dy, x, gate, shape, dtype, launch);
    } else {
      throw_no_cuda(op);
    }
  }
  cpu::gate_backward(static_cast<float*>(dx), static_cast<float*>(dgate), static_cast<const float*>(dy),
                     static_cast<const float*>(x), static_cast<const float*>(gate), shape, launch);
}

}  // namespace tradewind::kernels
