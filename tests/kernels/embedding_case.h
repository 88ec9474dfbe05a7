// Embedding's problems, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (embedding_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/embedding.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::Launch;
using kernels::Write;

/// Skewed: half of the ids are 0 to 3, as words and items are.
inline std::vector<std::int32_t> some_ids(std::size_t N, std::size_t V, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<std::int32_t> out(N);
  for (auto& id : out) {
    const std::uint32_t range = engine() % 2 == 0 ? 4U : static_cast<std::uint32_t>(V);
    id = static_cast<std::int32_t>(engine() % range % V);
  }
  return out;
}

struct EmbeddingShape {
  std::size_t N, V;
};
inline constexpr EmbeddingShape kEmbeddingShapes[] = {{1, 1},   {7, 3},     {100, 5},   {5, 100},
                                                      {600, 7}, {300, 200}, {50, 5000}, {400, 3000000}};

inline constexpr std::size_t kEmbeddingChannels[] = {1, 7, 64, 65, 100};

/// Where and how a case runs.
struct EmbeddingWay {
  Place* place = nullptr;  // null: the CPU
  DType dtype = DType::kFloat32;
  int threads = 1;
  std::size_t skip = 0;  // elements before each array, which then is not aligned
  float scale = 1.0F;

  kernels::EmbeddingOptions options() const { return {dtype, scale}; }
};

inline std::string describe(std::size_t N, std::size_t V, std::size_t C, const EmbeddingWay& way) {
  return "N " + std::to_string(N) + " V " + std::to_string(V) + " C " + std::to_string(C) + " " + name_of(way.dtype) +
         " skip " + std::to_string(way.skip) + " scale " + std::to_string(way.scale);
}

/// Copies are exact; so are sums, but for their one rounding.
inline void check_forward(const std::string& where, std::size_t N, std::size_t V, std::size_t C, const EmbeddingWay& way) {
  const auto table = rounded_to(way.dtype, random_values(V * C, 1)), base = rounded_to(way.dtype, random_values(N * C, 2));
  const auto ids = some_ids(N, V, 3);
  std::vector<float> y(N * C, -5.0F), sum = base, expected(N * C), added = base;
  for (std::size_t i = 0; i < N * C; ++i) {
    expected[i] = way.scale * table[static_cast<std::size_t>(ids[i / C]) * C + i % C];
    added[i] = std::fma(way.scale, table[static_cast<std::size_t>(ids[i / C]) * C + i % C], added[i]);
  }
  const auto n = static_cast<std::int64_t>(N), v = static_cast<std::int64_t>(V), c = static_cast<std::int64_t>(C);
  PlacedArrays at(way.place, way.dtype, way.skip);
  const Launch launch = at.launch(way.threads);
  const void* on_table = at.read(table);
  const std::int32_t* on_ids = at.values(ids);
  kernels::embedding_forward(at.elements(y), on_table, on_ids, n, v, c, Write::kAssign, way.options(), launch);
  kernels::embedding_forward(at.elements(sum), on_table, on_ids, n, v, c, Write::kAccumulate, way.options(), launch);
  at.fetch();
  BOOST_REQUIRE_MESSAGE(y == rounded_to(way.dtype, expected), where << " " << describe(N, V, C, way));
  BOOST_REQUIRE_MESSAGE(sum == rounded_to(way.dtype, added), where << " " << describe(N, V, C, way));
}

/// Dense, assigned and accumulated, and sparse; returns the dense one.
inline std::vector<float> check_gradients(const std::string& where, std::size_t N, std::size_t V, std::size_t C,
                                          const EmbeddingWay& way) {
  const std::string what = where + " " + describe(N, V, C, way);
  const auto dy = rounded_to(way.dtype, random_values(N * C, 1)), base = random_values(V * C, 2);
  const auto ids = some_ids(N, V, 3);
  std::vector<double> expected(V * C), added = widen(base);
  for (std::size_t i = 0; i < N * C; ++i) {
    expected[static_cast<std::size_t>(ids[i / C]) * C + i % C] += double{way.scale} * dy[i];
    added[static_cast<std::size_t>(ids[i / C]) * C + i % C] += double{way.scale} * dy[i];
  }
  const auto n = static_cast<std::int64_t>(N), v = static_cast<std::int64_t>(V), c = static_cast<std::int64_t>(C);
  std::vector<float> dtable(V * C, NAN), sum = base, values(N * C, -7.0F);
  std::vector<std::int32_t> rows(N, -7), distinct = ids;
  PlacedArrays at(way.place, way.dtype, way.skip);
  const Launch launch = at.launch(way.threads);
  const void* on_dy = at.read(dy);
  const std::int32_t* on_ids = at.values(ids);
  kernels::embedding_backward_dense(at.array(dtable), on_dy, on_ids, n, v, c, Write::kAssign, way.options(), launch);
  kernels::embedding_backward_dense(at.array(sum), on_dy, on_ids, n, v, c, Write::kAccumulate, way.options(), launch);
  const auto count = static_cast<std::size_t>(
      kernels::embedding_backward_sparse(at.array(rows), at.array(values), on_dy, on_ids, n, v, c, way.options(), launch));
  at.fetch();
  check_close(what + " dense", dtable, expected, 2e-6);
  check_close(what + " dense, accumulated", sum, added, 2e-6);

  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  BOOST_REQUIRE_MESSAGE(count == distinct.size(), what << ": " << count << " rows, expected " << distinct.size());
  rows.resize(count);
  values.resize(count * C);
  BOOST_TEST(rows == distinct);
  std::vector<float> of_dense;
  for (const std::int32_t id : distinct)
    of_dense.insert(of_dense.end(), dtable.begin() + id * c, dtable.begin() + (id + 1) * c);
  BOOST_CHECK_MESSAGE(values == of_dense, what << ": sparse and dense sums differ");
  return dtable;
}

}  // namespace tradewind::tests
