// RoPE's problems, their float64 oracle, and the list of cases that every executor must solve: the CPU (rope_test.cpp) and the
// CUDA kernel on the executor of tests/simt.
#pragma once

#include <cmath>

#include "kernels/rope.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::Launch;
using kernels::RopeLayout;
using kernels::RopeOptions;

inline std::vector<double> rope_oracle(std::vector<double> x, const std::vector<std::int32_t>& position, std::size_t heads,
                                       std::size_t D, std::size_t stride, const RopeOptions& options) {
  for (std::size_t n = 0; n < position.size(); ++n)
    for (std::size_t h = 0; h < heads; ++h)
      for (std::size_t i = 0; i < D / 2; ++i) {
        double* head = &x[n * stride + h * D];
        double& a = options.layout == RopeLayout::kHalf ? head[i] : head[2 * i];
        double& b = options.layout == RopeLayout::kHalf ? head[i + D / 2] : head[2 * i + 1];
        const double angle = position[n] * std::pow(options.theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
        const double c = std::cos(angle), s = options.backward ? -std::sin(angle) : std::sin(angle), keep = a;
        a = keep * c - b * s;
        b = b * c + keep * s;
      }
  return x;
}

/// Where and how a case runs.
struct RopeWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 1;
  std::size_t skip = 0;  // elements before each array, which then is not aligned
};

inline void apply_rope(std::vector<float>& x, const std::vector<std::int32_t>& position, std::size_t heads, std::size_t D,
                       std::size_t stride, const RopeOptions& options, const RopeWay& way) {
  PlacedArrays at(way.place, options.dtype, way.skip);
  const Launch launch = at.launch(way.threads);
  kernels::rope_apply(at.elements(x), at.values(position), static_cast<std::int64_t>(position.size()),
                      static_cast<std::int64_t>(heads), static_cast<std::int64_t>(D), static_cast<std::int64_t>(stride),
                      options, launch);
  at.fetch();
}

struct RopeCase {
  RopeLayout layout;
  std::size_t N, D;
  int first;  // position
  bool backward;
  std::size_t gap = 5;  // between rows
};

/// Both layouts, head sizes with and without whole vectors, small and large positions, forward and backward.
inline std::vector<RopeCase> rope_cases() {
  std::vector<RopeCase> cases;
  for (const RopeLayout layout : {RopeLayout::kHalf, RopeLayout::kInterleaved})
    for (const std::size_t N : {1, 7, 600})
      for (const std::size_t D : {2, 6, 32, 64, 100})
        for (const int first : {0, 1000, 1000000})
          for (const bool backward : {false, true}) cases.push_back({layout, N, D, first, backward});
  return cases;
}

/// What lies between rows must stay as it is.
inline void check_rope(const std::string& where, const RopeCase& c, DType dtype, const RopeWay& way) {
  const std::size_t heads = 3, stride = heads * c.D + c.gap;
  const RopeOptions options{c.layout, 10000.0, c.backward, dtype};
  auto x = rounded_to(dtype, random_values(c.N * stride, 1));
  std::vector<std::int32_t> position(c.N);
  for (std::size_t n = 0; n < c.N; ++n) position[n] = c.first + static_cast<std::int32_t>(n * 5 % 131);
  const auto expected = rope_oracle(widen(x), position, heads, c.D, stride, options);
  apply_rope(x, position, heads, c.D, stride, options, way);
  check_close(where + " N " + std::to_string(c.N) + " D " + std::to_string(c.D) + " " + name_of(dtype), x, expected,
              dtype == DType::kFloat32 ? 3e-7 : 4e-3);
  for (std::size_t i = 0; i < x.size(); ++i)
    BOOST_REQUIRE_MESSAGE(i % stride < heads * c.D || x[i] == static_cast<float>(expected[i]), where << " wrote between rows");
}

}  // namespace tradewind::tests
