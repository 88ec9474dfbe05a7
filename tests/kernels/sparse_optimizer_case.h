// The sparse optimisers' problems, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (sparse_optimizer_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/sparse_optimizer.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::SparseRule;
using kernels::SparseUpdateOptions;
using kernels::StepState;

struct SparseShape {
  std::size_t V, C, n;  // rows of the table, channels, rows of a gradient
};

/// Every row, some rows, one row, none; rows that are whole vectors and that are not.
inline constexpr SparseShape kSparseShapes[] = {{1, 1, 1},      {5, 7, 5},    {40, 4, 0},   {40, 16, 1},
                                                {300, 12, 130}, {50, 64, 23}, {50, 65, 23}, {9, 100, 4},
                                                {30, 132, 9},   {12, 260, 5}, {12, 520, 5}, {3, 1024, 2}};

inline constexpr SparseRule kSparseRules[] = {SparseRule::kSgd, SparseRule::kAdagrad, SparseRule::kRowwiseAdagrad,
                                              SparseRule::kAdam};

inline std::string name_of(SparseRule rule) {
  switch (rule) {
    case SparseRule::kSgd: return "sgd";
    case SparseRule::kAdagrad: return "adagrad";
    case SparseRule::kRowwiseAdagrad: return "rowwise_adagrad";
    case SparseRule::kAdam: return "adam";
  }
  return "?";
}

/// Where and how a case runs.
struct SparseWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 1;
  bool copy = false;     // with a bfloat16 copy
  std::size_t skip = 0;  // elements before each array, which then is not aligned
  std::uint32_t steps = 5;
};

/// `n` of V rows, ascending.
inline std::vector<std::int32_t> some_rows(std::size_t V, std::size_t n, std::uint32_t seed) {
  std::vector<std::int32_t> rows(V);
  std::iota(rows.begin(), rows.end(), 0);
  std::mt19937 engine(seed);
  for (std::size_t i = 0; i < n; ++i) std::swap(rows[i], rows[i + engine() % (V - i)]);
  rows.resize(n);
  std::sort(rows.begin(), rows.end());
  return rows;
}

/// Table and states, and where they are looked up.
struct SparseArrays {
  std::vector<float> table, first, second;
  std::vector<std::uint16_t> copy;
};

inline SparseArrays sparse_arrays(std::size_t V, std::size_t C, SparseRule rule) {
  SparseArrays a{random_values(V * C, 1), {}, {}, {}};
  if (rule == SparseRule::kRowwiseAdagrad) a.first.assign(V, 0.0F);
  if (rule == SparseRule::kAdagrad || rule == SparseRule::kAdam) a.first.assign(V * C, 0.0F);
  if (rule == SparseRule::kAdam) a.second.assign(V * C, 0.0F);
  return a;
}

inline void sparse_update_once(SparseArrays& a, const std::vector<std::int32_t>& rows, const std::vector<float>& values,
                               std::size_t V, std::size_t C, SparseUpdateOptions options, const StepState& state,
                               const SparseWay& way) {
  PlacedArrays at(way.place, kernels::DType::kFloat32, way.skip);
  kernels::Launch launch = at.launch(way.threads);
  launch.step = at.value(state);
  options.copy = way.copy ? at.array(a.copy) : nullptr;
  kernels::sparse_update(
      at.array(a.table), at.array(a.first), at.array(a.second),
      {.rows = at.values(rows), .values = at.values(values), .count = static_cast<std::int64_t>(rows.size())},
      static_cast<std::int64_t>(V), static_cast<std::int64_t>(C), options, launch);
  at.fetch();
}

struct SparseOracle {
  std::vector<double> table, first, second;
  void update(const std::vector<std::int32_t>& rows, const std::vector<float>& values, std::size_t C,
              const SparseUpdateOptions& o, const StepState& s) {
    const double rate = s.learning_rate, b1 = o.beta1, b2 = o.beta2;
    const double step = rate * std::sqrt(1 - std::pow(b2, s.step)) / (1 - std::pow(b1, s.step));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      double squares = 0;
      for (std::size_t c = 0; c < C; ++c) squares += std::pow(double{s.gradient_scale} * values[i * C + c], 2);
      if (o.rule == SparseRule::kRowwiseAdagrad) first[row] += squares / static_cast<double>(C);
      for (std::size_t c = 0; c < C; ++c) {
        const std::size_t at = row * C + c;
        const double g = double{s.gradient_scale} * values[i * C + c];
        switch (o.rule) {
          case SparseRule::kSgd: table[at] -= rate * g; break;
          case SparseRule::kAdagrad:
            first[at] += g * g;
            table[at] -= rate * g / (std::sqrt(first[at]) + o.epsilon);
            break;
          case SparseRule::kRowwiseAdagrad: table[at] -= rate * g / (std::sqrt(first[row]) + o.epsilon); break;
          case SparseRule::kAdam:
            first[at] = b1 * first[at] + (1 - b1) * g;
            second[at] = b2 * second[at] + (1 - b2) * g * g;
            table[at] -= step * first[at] / (std::sqrt(second[at]) + o.epsilon);
            break;
        }
      }
    }
  }
};

/// Some steps with other rows each by the kernel and by the oracle; returns what the kernel made of table and states. epsilon
/// is large, so that it shows where it is added.
inline std::vector<float> check_sparse(SparseRule rule, const SparseShape& shape, const SparseWay& way) {
  constexpr std::uint16_t kUntouched = 0x4321;
  const auto [V, C, n] = shape;
  const std::string what = name_of(rule) + " V " + std::to_string(V) + " C " + std::to_string(C) + " n " + std::to_string(n) +
                           " skip " + std::to_string(way.skip);
  SparseArrays a = sparse_arrays(V, C, rule);
  const std::vector<float> before = a.table;
  a.copy.assign(V * C, kUntouched);
  SparseOracle oracle{widen(a.table), widen(a.first), widen(a.second)};
  const SparseUpdateOptions options{.rule = rule, .beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 0.05F};
  std::vector<bool> touched(V, false);
  for (std::uint32_t step = 1; step <= way.steps; ++step) {
    const StepState state{
        .step = step, .learning_rate = 0.01F * static_cast<float>(step), .gradient_scale = step % 2 == 0 ? 0.3F : 1.0F};
    const auto rows = some_rows(V, n, 20 + step);
    const auto values = random_values(n * C, 10 + step);
    sparse_update_once(a, rows, values, V, C, options, state, way);
    oracle.update(rows, values, C, options, state);
    for (const std::int32_t row : rows) touched[static_cast<std::size_t>(row)] = true;
  }
  check_close(what + " table", a.table, oracle.table, 2e-6);
  check_close(what + " first state", a.first, oracle.first, 2e-6);
  check_close(what + " second state", a.second, oracle.second, 2e-6);
  for (std::size_t i = 0; i < V * C; ++i) {
    const bool is = touched[i / C];
    const std::size_t state = a.first.size() == V ? i / C : i;
    const bool same =
        a.table[i] == before[i] && (a.first.empty() || a.first[state] == 0) && (a.second.empty() || a.second[i] == 0);
    BOOST_REQUIRE_MESSAGE(is || same, what << ": a row was written that is not in the gradient, at " << i);
    const std::uint16_t copied = is && way.copy ? bfloat16_of(a.table[i]) : kUntouched;
    BOOST_REQUIRE_MESSAGE(a.copy[i] == copied, what << ": the copy at " << i << " is " << a.copy[i] << ", not " << copied);
  }
  a.table.insert(a.table.end(), a.first.begin(), a.first.end());
  a.table.insert(a.table.end(), a.second.begin(), a.second.end());
  return a.table;
}

}  // namespace tradewind::tests
