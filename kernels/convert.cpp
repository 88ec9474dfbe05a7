#include "kernels/convert.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/convert.h"
#include "kernels/cuda/convert.h"

namespace tradewind::kernels {

void convert(void* to, DType to_type, const void* from, DType from_type, std::int64_t count, const Launch& launch) {
  const bool narrows = to_type == DType::kBFloat16 && from_type == DType::kFloat32;
  require(narrows || (to_type == DType::kFloat32 && from_type == DType::kBFloat16), "convert",
          "one type must be float32 and the other bfloat16");
  require(count >= 0 && (count == 0 || (to != nullptr && from != nullptr)), "convert", "to and from must be given");
  if (count == 0) return;
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("convert", launch, {{"to", to}, {"from", from}});
      return detail::convert_cuda(to, to_type, from, count, launch);
    } else {
      throw_no_cuda("convert");
    }
  }
  if (narrows)
    cpu::to_bfloat16(static_cast<std::uint16_t*>(to), static_cast<const float*>(from), count, launch);
  else
    cpu::to_float32(static_cast<float*>(to), static_cast<const std::uint16_t*>(from), count, launch);
}

}  // namespace tradewind::kernels
