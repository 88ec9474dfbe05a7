// What a conversion must do to which values, on every executor.
#pragma once

#include <cstring>
#include <limits>

#include "kernels/convert.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

/// Every bfloat16, the halves between neighbours, and what is one step beside a half: from each a float.
inline std::vector<float> floats_around_bfloat16(std::uint32_t every) {
  std::vector<float> out;
  for (std::uint32_t half = 0; half < 0x10000; half += every)
    for (const std::uint32_t low : {0x0U, 0x1U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      const std::uint32_t bits = half << 16 | low;
      float x = 0;
      std::memcpy(&x, &bits, 4);
      out.push_back(x);
    }
  return out;
}

/// The nearest bfloat16, of two that are as near the even one; by float64, not by bits.
inline std::uint16_t nearest_bfloat16(float x) {
  if (std::isnan(x)) return 0x7FFF;
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, 4);
  const auto down = static_cast<std::uint16_t>(bits >> 16);  // towards zero
  if (std::isinf(x)) return down;
  const auto up = static_cast<std::uint16_t>(down + 1);
  const double below = std::abs(static_cast<double>(x) - static_cast<double>(float_of_bfloat16(down)));
  // What follows the largest counts as 2^128, as it would if the exponent went on.
  const double next =
      std::isinf(float_of_bfloat16(up)) ? std::copysign(0x1p128, x) : static_cast<double>(float_of_bfloat16(up));
  const double above = std::abs(next - static_cast<double>(x));
  return below < above || (below == above && down % 2 == 0) ? down : up;
}

inline void check_to_bfloat16(const std::string& what, const std::vector<float>& x, Place* place, int threads = 1,
                              std::size_t skip = 0) {
  PlacedArrays at(place, kernels::DType::kFloat32, skip);
  std::vector<std::uint16_t> out(x.size(), 0x1234);
  const kernels::Launch launch = at.launch(threads);
  kernels::convert(at.array(out), kernels::DType::kBFloat16, at.values(x), kernels::DType::kFloat32,
                   static_cast<std::int64_t>(x.size()), launch);
  at.fetch();
  for (std::size_t i = 0; i < x.size(); ++i)
    BOOST_REQUIRE_MESSAGE(out[i] == nearest_bfloat16(x[i]), what << ": " << x[i] << " became " << float_of_bfloat16(out[i]));
}

/// Every bfloat16, and a count that is no whole vector.
inline void check_to_float32(const std::string& what, Place* place, std::size_t count, int threads = 1, std::size_t skip = 0) {
  PlacedArrays at(place, kernels::DType::kFloat32, skip);
  std::vector<std::uint16_t> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<std::uint16_t>(i * (0x10000 / count + 1));
  std::vector<float> out(count, -1.0F);
  const kernels::Launch launch = at.launch(threads);
  kernels::convert(at.array(out), kernels::DType::kFloat32, at.values(x), kernels::DType::kBFloat16,
                   static_cast<std::int64_t>(count), launch);
  at.fetch();
  for (std::size_t i = 0; i < count; ++i) {
    const float want = float_of_bfloat16(x[i]);
    BOOST_REQUIRE_MESSAGE(std::memcmp(&out[i], &want, 4) == 0, what << ": " << x[i] << " became " << out[i]);
  }
}

}  // namespace tradewind::tests
