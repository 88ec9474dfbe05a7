// Problems of dropout, and what every executor must get right, mask and values to the bit: the CPU (dropout_test.cpp) and the
// CUDA kernels on the executor of tests/simt.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/dropout.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::Dropout;
using kernels::DType;
using kernels::Launch;
using kernels::RowKeys;
using kernels::Write;

/// Rows of several samples, whose numbers cross into the high word.
struct DropoutKeys {
  kernels::StepState step{.seed = 77};
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  explicit DropoutKeys(std::size_t N) {
    for (std::size_t n = 0; n < N; ++n) {
      sample.push_back(0xFFFFFFFFULL + n / 5);
      position.push_back(static_cast<std::int32_t>(n % 5));
    }
  }
  RowKeys keys() const { return {sample.data(), position.data()}; }
  Launch launch(int threads) const {
    Launch launch;
    launch.threads = threads;
    launch.step = &step;
    return launch;
  }
};

struct DropoutCase {
  std::size_t N, C;
  float p;
  int threads = 1;
  DType dtype = DType::kFloat32;
  Place* place = nullptr;
};

inline std::string describe(const DropoutCase& c) {
  return std::string(kernels::name_of(c.dtype)) + " N " + std::to_string(c.N) + " C " + std::to_string(c.C) + " p " +
         std::to_string(c.p) + " threads " + std::to_string(c.threads);
}

inline void check_dropout(const DropoutCase& c) {
  const std::size_t N = c.N, C = c.C;
  const DropoutKeys rows(N);
  auto x = rounded_to(c.dtype, random_values(N * C, 1));
  if (c.p > 0) x[0] = INFINITY;
  const auto base = rounded_to(c.dtype, random_values(N * C, 2));
  const Dropout dropout{c.p, 9};
  const std::uint32_t threshold = kernels::dropout_threshold(c.p);
  const auto key = kernels::philox_key(77, 9);
  std::vector<float> expected(N * C), added = base;
  for (std::size_t i = 0; i < N * C; ++i) {
    const std::size_t n = i / C;
    const bool kept = kernels::dropout_number(key, rows.sample[n], static_cast<std::uint32_t>(rows.position[n]),
                                              static_cast<std::uint32_t>(i % C)) >= threshold;
    expected[i] = kept ? x[i] * kernels::dropout_scale(threshold) : 0;
    added[i] += expected[i];
  }
  std::vector<float> y(N * C), in_place = x, sum = base;
  PlacedArrays at(c.place, c.dtype);
  const RowKeys keys{at.values(rows.sample), at.values(rows.position)};
  Launch launch = at.launch(c.threads);
  launch.step = at.value(rows.step);
  const auto apply = [&](void* to, const void* from, Write write) {
    kernels::dropout_apply(to, from, static_cast<std::int64_t>(N), static_cast<std::int64_t>(C), dropout, keys, write, c.dtype,
                           launch);
  };
  const void* in = at.read(x);
  void* over = at.elements(in_place);
  apply(at.elements(y), in, Write::kAssign);
  apply(over, over, Write::kAssign);
  apply(at.elements(sum), in, Write::kAccumulate);
  at.fetch();
  BOOST_REQUIRE_MESSAGE(y == rounded_to(c.dtype, expected), describe(c));
  BOOST_REQUIRE_MESSAGE(in_place == y, describe(c) << " in place");
  BOOST_REQUIRE_MESSAGE(sum == rounded_to(c.dtype, added), describe(c) << " accumulated");
}

}  // namespace tradewind::tests
