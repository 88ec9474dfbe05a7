#include "kernels/linear.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/linear.h"
#include "kernels/cuda/linear.h"

namespace tradewind::kernels {
namespace {

/// Checks the sizes and fills in the strides.
LinearShape checked(const char* op, LinearShape shape, const LinearOptions& options, const Launch& launch) {
  require(shape.M >= 0 && shape.N >= 1 && shape.K >= 1, op, "M must be at least 0, N and K at least 1");
  if (shape.ldx == 0) shape.ldx = shape.K;
  if (shape.ldy == 0) shape.ldy = shape.N;
  require(shape.ldx >= shape.K, op, "the row stride ldx is smaller than K");
  require(shape.ldy >= shape.N, op, "the row stride ldy is smaller than N");
  require(launch.threads >= 1, op, "launch.threads must be at least 1");
  require_float32_on_cpu(op, launch, options.dtype);
  if (!kHasCuda && launch.device.type == DeviceType::kCuda) throw_no_cuda(op);
  return shape;
}

}  // namespace

void linear_forward(void* y, void* pre, const void* x, const void* w, const void* bias, const LinearShape& shape,
                    const LinearOptions& options, const Launch& launch) {
  const LinearShape full = checked("linear_forward", shape, options, launch);
  if (full.M == 0) return;
  require(y != nullptr && x != nullptr && w != nullptr, "linear_forward", "y, x and w must not be null");
  require(y != x && y != w && pre != x && pre != w, "linear_forward", "y and pre must not be an input");
  require_device_memory("linear_forward", launch, {{"y", y}, {"pre", pre}, {"x", x}, {"w", w}, {"bias", bias}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda) return detail::linear_forward_cuda(y, pre, x, w, bias, full, options, launch);
  cpu::linear_forward(static_cast<float*>(y), static_cast<float*>(pre), static_cast<const float*>(x),
                      static_cast<const float*>(w), static_cast<const float*>(bias), full, options.activation, launch);
}

void linear_backward_input(void* dx, const void* dy, const void* w, const LinearShape& shape, Write write,
                           const LinearOptions& options, const Launch& launch) {
  const LinearShape full = checked("linear_backward_input", shape, options, launch);
  if (full.M == 0) return;
  require(dx != nullptr && dy != nullptr && w != nullptr, "linear_backward_input", "dx, dy and w must not be null");
  require(dx != dy && dx != w, "linear_backward_input", "dx must not be an input");
  require_device_memory("linear_backward_input", launch, {{"dx", dx}, {"dy", dy}, {"w", w}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::linear_backward_input_cuda(dx, dy, w, full, write, options, launch);
  cpu::linear_backward_input(static_cast<float*>(dx), static_cast<const float*>(dy), static_cast<const float*>(w), full, write,
                             launch);
}

void linear_backward_weight(float* dw, float* dbias, const void* dy, const void* x, const LinearShape& shape, Write write,
                            const LinearOptions& options, const Launch& launch) {
  const LinearShape full = checked("linear_backward_weight", shape, options, launch);
  require(dw != nullptr, "linear_backward_weight", "dw must not be null");
  require(full.M == 0 || (dy != nullptr && x != nullptr), "linear_backward_weight", "dy and x must not be null");
  require(dw != dy && dw != x && (dbias == nullptr || (dbias != dy && dbias != x && dbias != dw)), "linear_backward_weight",
          "dw and dbias must not be an input or each other");
  require_device_memory("linear_backward_weight", launch, {{"dw", dw}, {"dbias", dbias}, {"dy", dy}, {"x", x}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::linear_backward_weight_cuda(dw, dbias, dy, x, full, write, options, launch);
  cpu::linear_backward_weight(dw, dbias, static_cast<const float*>(dy), static_cast<const float*>(x), full, write, launch);
}

}  // namespace tradewind::kernels
