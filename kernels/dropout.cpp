#include "kernels/dropout.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cuda/dropout.h"

namespace tradewind::kernels {

void dropout_apply(void* y, const void* x, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                   Write write, DType dtype, const Launch& launch) {
  require(N >= 0 && C >= 0, "dropout_apply", "a negative size");
  require(N * C == 0 || (y != nullptr && x != nullptr), "dropout_apply", "y and x must be given");
  require(y != x || write == Write::kAssign, "dropout_apply", "y cannot be accumulated over x itself");
  require_dropout("dropout_apply", dropout, keys, launch);
  require_float32_on_cpu("dropout_apply", launch, dtype);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(
          "dropout_apply", launch,
          {{"y", y}, {"x", x}, {"keys.sample", keys.sample}, {"keys.position", keys.position}, {"launch.step", launch.step}});
      return detail::dropout_apply_cuda(y, x, N, C, dropout, keys, write, dtype, launch);
    } else {
      throw_no_cuda("dropout_apply");
    }
  }
  cpu::dropout_apply(static_cast<float*>(y), static_cast<const float*>(x), N, C, dropout, keys, write, launch);
}

}  // namespace tradewind::kernels
