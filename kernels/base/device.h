// Where an array lives and a kernel runs.
#pragma once

#include <cstdint>

namespace tradewind::kernels {

enum class DeviceType : std::uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

/// True in a binary that was built with the CUDA backend. Where it is false the CUDA arm of a dispatch is not compiled.
#ifdef TRADEWIND_HAS_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

}  // namespace tradewind::kernels
