// Where the arrays of a test are when they are not the CPU's own, and bfloat16 on the host.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "kernels/base/launch.h"

namespace tradewind::tests {

/// Where a case runs other than on the CPU's own arrays: the executor of tests/simt, or a GPU.
class Place {
 public:
  virtual ~Place() = default;
  virtual kernels::Launch launch() = 0;
  virtual void* put(const void* host, std::size_t bytes) = 0;
  virtual void get(void* host, const void* device, std::size_t bytes) = 0;  // waits
  virtual void drop(void* device) = 0;
  virtual void overwrite(void* device, const void* host, std::size_t bytes) = 0;
  /// What `body` launches, recorded as a step that runs whenever the result is called.
  virtual std::function<void()> capture(const std::function<void()>& body) = 0;
};

inline std::uint16_t bfloat16_of(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, 4);
  return static_cast<std::uint16_t>(std::isnan(x) ? 0x7FFF : (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}
inline float float_of_bfloat16(std::uint16_t half) {
  const std::uint32_t bits = std::uint32_t{half} << 16;
  float x = 0;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float rounded_to_bfloat16(float x) { return float_of_bfloat16(bfloat16_of(x)); }

}  // namespace tradewind::tests
