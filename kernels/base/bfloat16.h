// bfloat16 on the host: the upper half of a float.
#pragma once

#include <bit>
#include <cstdint>

namespace tradewind::kernels {

/// Round to nearest even. Every NaN becomes 0x7FFF, as on a GPU.
inline std::uint16_t bfloat16_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFFU) > 0x7F800000U ? 0x7FFFU : rounded);
}

inline float float_of_bfloat16_bits(std::uint16_t half) { return std::bit_cast<float>(std::uint32_t{half} << 16); }

}  // namespace tradewind::kernels
