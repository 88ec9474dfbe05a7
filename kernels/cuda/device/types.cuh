// The plain types of simt.cuh, which includes this.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tradewind::kernels {

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

inline constexpr int kWarpSize = 32;
inline constexpr std::uint32_t kFullWarp = 0xFFFFFFFFU;

/// What one 16-byte load or store moves.
struct alignas(16) Vector16 {
  std::uint32_t w[4];
};

/// The upper half of a float.
struct BFloat16 {
  std::uint16_t bits;
};

}  // namespace tradewind::kernels
