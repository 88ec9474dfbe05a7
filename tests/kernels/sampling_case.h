// Sampling's problems and their oracle, for every executor: the CPU (sampling_test.cpp) and the CUDA kernels on the executor of
// tests/simt.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/sampling.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::Launch;
using kernels::SamplingOptions;
using kernels::StepState;

/// Keys of the rows of a batch.
struct Rows {
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  kernels::RowKeys keys() const { return {sample.data(), position.data()}; }
};

inline Rows rows(std::int64_t N) {
  Rows out{std::vector<std::uint64_t>(N), std::vector<std::int32_t>(N)};
  for (std::int64_t n = 0; n < N; ++n) out.sample[n] = (std::uint64_t{1} << 40) + n / 10, out.position[n] = n % 10;
  return out;
}

/// Where and how a case runs. `call` as kernels::sample, which it is where null.
struct SamplingWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 2;
  std::uint64_t seed = 7;
  std::int64_t from = 0;  // the first row's number among those of rows()
  std::function<void(std::int32_t*, const float*, std::int64_t, std::int64_t, const kernels::RowKeys&, const SamplingOptions&,
                     const Launch&)>
      call = kernels::sample;
};

inline std::vector<std::int32_t> sample(const std::vector<float>& logits, std::int64_t V, const SamplingOptions& options,
                                        const SamplingWay& way = {}) {
  const auto N = static_cast<std::int64_t>(logits.size()) / V;
  Rows keys = rows(way.from + N);
  keys.sample.erase(keys.sample.begin(), keys.sample.begin() + way.from);
  keys.position.erase(keys.position.begin(), keys.position.begin() + way.from);
  StepState step;
  step.seed = way.seed;
  std::vector<std::int32_t> next(N, -7);
  PlacedArrays at(way.place, kernels::DType::kFloat32);
  Launch launch = at.launch(way.threads);
  launch.step = at.value(step);
  way.call(at.array(next), at.values(logits), N, V, {at.values(keys.sample), at.values(keys.position)}, options, launch);
  at.fetch();
  return next;
}

inline std::vector<float> repeat(const std::vector<float>& row, std::int64_t N) {
  std::vector<float> out;
  for (std::int64_t n = 0; n < N; ++n) out.insert(out.end(), row.begin(), row.end());
  return out;
}

/// The probability of each id by the words of the contract, everything sorted, in float64.
inline std::vector<double> probabilities(const std::vector<float>& row, const SamplingOptions& o) {
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  if (o.top_k > 0 && static_cast<std::size_t>(o.top_k) < order.size()) order.resize(o.top_k);
  std::vector<double> weight(row.size());
  double total = 0, sum = 0;
  for (const auto v : order) total += weight[v] = std::exp((static_cast<double>(row[v]) - row[order[0]]) / o.temperature);
  std::size_t kept = 0;
  while (kept < order.size() && (kept == 0 || sum < o.top_p * total)) sum += weight[order[kept++]];
  std::vector<double> out(row.size());
  for (std::size_t i = 0; i < kept; ++i) out[order[i]] = weight[order[i]] / sum;
  return out;
}

/// Normal logits, many of them the same.
inline std::vector<float> tied_logits(std::int64_t N, std::int64_t V, std::uint32_t seed) {
  auto logits = random_values(N * V, seed);
  for (auto& z : logits) z = std::round(z * 8) / 8;
  return logits;
}

/// Every draw is the one that the sorted cumulative sum gives.
inline void check_inverts(const std::string& where, const std::vector<float>& logits, std::int64_t V,
                          const SamplingOptions& options, const SamplingWay& way) {
  const auto next = sample(logits, V, options, way);
  const auto N = static_cast<std::int64_t>(next.size());
  const Rows keys = rows(N);
  for (std::int64_t n = 0; n < N; ++n) {
    const std::vector<float> row(logits.begin() + n * V, logits.begin() + (n + 1) * V);
    const auto p = probabilities(row, options);
    std::vector<std::size_t> order(V);
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
    const auto block =
        kernels::philox(kernels::philox_key(way.seed, options.purpose),
                        {{0, static_cast<std::uint32_t>(keys.position[n]), static_cast<std::uint32_t>(keys.sample[n]),
                          static_cast<std::uint32_t>(keys.sample[n] >> 32)}});
    const double u = (block.w[0] * 4294967296.0 + block.w[1]) / 18446744073709551616.0;
    double sum = 0;
    std::size_t i = 0;
    while (i + 1 < order.size() && !((sum += p[order[i]]) > u)) ++i;
    BOOST_CHECK_MESSAGE(next[n] == static_cast<std::int32_t>(order[i]),
                        where << " V " << V << " row " << n << ": " << next[n] << ", expected " << order[i]);
  }
}

/// Shares of four equal logits that are reached exactly, and just not: how many ids are drawn.
inline int kept_of_four(float top_p, const SamplingWay& way = {}) {
  std::vector<int> count(4);
  for (const auto id : sample(std::vector<float>(400, 1.0F), 4, {.top_p = top_p}, way)) ++count[id];
  return static_cast<int>(std::count_if(count.begin(), count.end(), [](int c) { return c > 0; })) * 10 + (count[0] > 0);
}
struct KeptCase {
  float top_p;
  int kept;  // tens: how many; ones: whether id 0 is among them
};
inline constexpr KeptCase kKeptCases[] = {{1e-6F, 11}, {0.25F, 11}, {0.26F, 21}, {0.5F, 21}, {0.75F, 31}, {0.76F, 41}};

/// Batches of three rows of two whose row 1 cannot be sampled from.
inline const std::vector<std::vector<float>> kUnsampleable = {
    {1, 2, NAN, 1, 1, 2}, {1, 2, 1, NAN, 1, 2}, {1, 2, 1, INFINITY, 1, 2}, {1, 2, -INFINITY, -INFINITY, 1, 2}};

}  // namespace tradewind::tests
