#include "kernels/rope.h"

#include <algorithm>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/rope.h"
#include "kernels/cuda/rope.h"

namespace tradewind::kernels {

void rope_apply(void* x, const std::int32_t* position, std::int64_t N, std::int64_t heads, std::int64_t D, std::int64_t stride,
                const RopeOptions& options, const Launch& launch) {
  require(N >= 0 && heads >= 0, "rope_apply", "a negative size");
  if (N == 0 || heads == 0) return;
  require(D > 0 && D % 2 == 0, "rope_apply", "the head size must be even");
  require(stride >= heads * D, "rope_apply", "stride must be at least heads * D");
  require(x != nullptr && position != nullptr, "rope_apply", "x and position must be given");
  require(options.theta > 0, "rope_apply", "theta must be positive");
  require_float32_on_cpu("rope_apply", launch, options.dtype);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("rope_apply", launch, {{"x", x}, {"position", position}});
      return detail::rope_apply_cuda(x, position, N, heads, D, stride, options, launch);
    } else {
      throw_no_cuda("rope_apply");
    }
  }
  const auto lowest = std::min_element(position, position + N);
  if (*lowest < 0)
    throw InternalError("rope_apply: position " + std::to_string(*lowest) + " of row " + std::to_string(lowest - position) +
                        " is negative");
  cpu::rope_apply(static_cast<float*>(x), position, N, heads, D, stride, options, launch);
}

}  // namespace tradewind::kernels
