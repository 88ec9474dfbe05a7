// Problems of HSTU attention, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (hstu_attention_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>

#include "kernels/hstu_attention.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::Write;
using Doubles = std::vector<double>;

/// A problem with its data. Rows are wider than what is in them, and a gap that is written shows.
struct HstuCase {
  std::vector<std::int64_t> lengths;
  std::int64_t H = 2, D = 4, Dv = 5;
  bool position = true, time = true;
  Write write = Write::kAssign;  // of the tables' gradients
  std::int64_t gap = 1, buckets = 129;
  int threads = 2;
  DType dtype = DType::kFloat32;
  Place* place = nullptr;  // null: the CPU

  std::vector<std::int64_t> offsets{0}, query_times{}, key_times{};
  std::int64_t longest = 0, positions = 0;
  std::vector<float> q{}, k{}, v{}, dout{}, position_bias{}, time_bias{};  // given
  std::vector<float> out{}, dq{}, dk{}, dv{}, dposition{}, dtime{};        // results

  std::int64_t rows() const { return offsets.back(); }
  kernels::HstuAttentionShape shape() const {
    return {.B = static_cast<std::int64_t>(lengths.size()),
            .offsets = nullptr,
            .max_length = longest,
            .H = H,
            .D = D,
            .Dv = Dv,
            .q_stride = H * D + 3 * gap,
            .k_stride = H * D + 5 * gap,
            .v_stride = H * Dv + 2 * gap,
            .out_stride = H * Dv + gap};
  }
  static constexpr float kScale = 0.125F;

  void prepare() {
    for (const std::int64_t t : lengths) {
      offsets.push_back(offsets.back() + t);
      longest = std::max(longest, t);
    }
    positions = longest + 3;  // more than any pair reads
    const auto s = shape();
    q = rounded_to(dtype, random_values(rows() * s.q_stride, 1));
    k = rounded_to(dtype, random_values(rows() * s.k_stride, 2));
    v = rounded_to(dtype, random_values(rows() * s.v_stride, 3));
    dout = rounded_to(dtype, random_values(rows() * s.out_stride, 4));
    if (position) position_bias = random_values(positions, 5);
    if (time) time_bias = random_values(buckets, 6);
    if (!query_times.empty()) return;
    std::mt19937 engine(7);  // gaps of 0 seconds to months, now and then back in time
    for (const std::int64_t length : lengths) {
      std::int64_t now = 1'700'000'000;
      for (std::int64_t t = 0; t < length; ++t) {
        key_times.push_back(now);
        const auto by = static_cast<std::int64_t>(std::exp((engine() % 1700) / 100.0)) - 1;
        now += engine() % 9 == 0 ? -by : by;
        query_times.push_back(now);  // of the next one
      }
    }
  }
  void solve() {
    auto s = shape();
    out.assign(dout.size(), NAN), dq.assign(q.size(), NAN), dk.assign(k.size(), NAN), dv.assign(v.size(), NAN);
    dposition.assign(position_bias.size(), 0.5F), dtime.assign(time_bias.size(), 0.5F);
    PlacedArrays at(place, dtype);
    s.offsets = at.values(offsets);
    kernels::HstuAttentionOptions options{.scale = kScale, .dtype = dtype};
    options.position_bias = at.values(position_bias);
    options.positions = positions;
    options.time_bias = at.values(time_bias);
    options.time_buckets = buckets;
    options.query_times = at.values(query_times);
    options.key_times = at.values(key_times);
    const void *in_q = at.read(q), *in_k = at.read(k), *in_v = at.read(v);
    kernels::hstu_attention_forward(at.elements(out), in_q, in_k, in_v, s, options, at.launch(threads));
    kernels::hstu_attention_backward(
        at.elements(dq), at.elements(dk), at.elements(dv),
        {.position = at.array(dposition), .time = at.array(dtime), .write_position = write, .write_time = write}, at.read(dout),
        in_q, in_k, in_v, s, options, at.launch(threads));
    at.fetch();
  }
};

struct HstuOracle {
  Doubles q, k, v, position_bias, time_bias, out, dq, dk, dv, dposition, dtime;
  double total = 0;  // <out, dout>

  explicit HstuOracle(const HstuCase& c)
      : q(widen(c.q)), k(widen(c.k)), v(widen(c.v)), position_bias(widen(c.position_bias)), time_bias(widen(c.time_bias)) {}

  /// Gaps between rows come out as NaN, as in HstuCase.
  void run(const HstuCase& c) {
    const auto s = c.shape();
    out.assign(c.dout.size(), NAN), dq.assign(q.size(), NAN), dk.assign(k.size(), NAN), dv.assign(v.size(), NAN);
    for (std::int64_t n = 0; n < c.rows(); ++n) {
      std::fill_n(out.begin() + n * s.out_stride, c.H * c.Dv, 0.0);
      std::fill_n(dq.begin() + n * s.q_stride, c.H * c.D, 0.0);
      std::fill_n(dk.begin() + n * s.k_stride, c.H * c.D, 0.0);
      std::fill_n(dv.begin() + n * s.v_stride, c.H * c.Dv, 0.0);
    }
    const double before = c.write == Write::kAccumulate ? 0.5 : 0.0;
    dposition.assign(position_bias.size(), before), dtime.assign(time_bias.size(), before);
    total = 0;
    for (std::size_t b = 0; b < c.lengths.size(); ++b)
      for (std::int64_t h = 0; h < c.H; ++h)
        for (std::int64_t t = 0; t < c.lengths[b]; ++t)
          for (std::int64_t j = 0; j <= t; ++j) pair(c, s, h, c.offsets[b] + t, c.offsets[b] + j);
  }

 private:
  /// Query row n and key row m.
  void pair(const HstuCase& c, const kernels::HstuAttentionShape& s, std::int64_t h, std::int64_t n, std::int64_t m) {
    const std::int64_t q_at = n * s.q_stride + h * c.D, k_at = m * s.k_stride + h * c.D, v_at = m * s.v_stride + h * c.Dv,
                       out_at = n * s.out_stride + h * c.Dv;
    double z = 0;
    for (std::int64_t d = 0; d < c.D; ++d) z += q[q_at + d] * k[k_at + d];
    const std::int64_t place = c.positions - 1 - (n - m);
    if (c.position) z += position_bias[place];
    const double apart = std::max(std::abs(static_cast<double>(c.query_times[n] - c.key_times[m])), 1.0);
    const std::int64_t bucket = std::min(static_cast<std::int64_t>(std::log(apart) / 0.301), c.buckets - 1);
    if (c.time) z += time_bias[bucket];
    const double sigmoid = 1 / (1 + std::exp(-z)), a = c.kScale * z * sigmoid;
    double da = 0;
    for (std::int64_t d = 0; d < c.Dv; ++d) {
      out[out_at + d] += a * v[v_at + d];
      total += a * v[v_at + d] * c.dout[out_at + d];
      da += v[v_at + d] * c.dout[out_at + d];
      dv[v_at + d] += a * c.dout[out_at + d];
    }
    const double dz = da * c.kScale * sigmoid * (1 + z * (1 - sigmoid));
    for (std::int64_t d = 0; d < c.D; ++d) {
      dq[q_at + d] += dz * k[k_at + d];
      dk[k_at + d] += dz * q[q_at + d];
    }
    if (c.position) dposition[place] += dz;
    if (c.time) dtime[bucket] += dz;
  }
};

inline std::string describe(const HstuCase& c) {
  std::string s = std::string(kernels::name_of(c.dtype)).append(" H ").append(std::to_string(c.H));
  s.append(" D ").append(std::to_string(c.D)).append("/").append(std::to_string(c.Dv));
  for (std::size_t b = 0; b < std::min<std::size_t>(c.lengths.size(), 4); ++b)
    s.append(" ").append(std::to_string(c.lengths[b]));
  return s.append(c.position ? " position" : "")
      .append(c.time ? " time" : "")
      .append(" threads ")
      .append(std::to_string(c.threads));
}

/// What is in the rows; checks that what lies between them was left alone.
template <class T>
std::vector<T> in_rows(const std::string& what, const std::vector<T>& x, std::int64_t stride, std::int64_t used) {
  std::vector<T> rows;
  bool untouched = true;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (static_cast<std::int64_t>(i) % stride < used)
      rows.push_back(x[i]);
    else
      untouched = untouched && std::isnan(x[i]);
  }
  BOOST_CHECK_MESSAGE(untouched, what << ": wrote between the rows");
  return rows;
}

/// Errors relative to the largest value, and to 0.01 at least: gradients of a short sequence may all but cancel.
template <class A, class B>
void check_hstu(const std::string& what, const A& got, const B& expected, double tolerance) {
  BOOST_REQUIRE_MESSAGE(got.size() == expected.size(), what << ": " << got.size() << " values, not " << expected.size());
  const double error = relative_error(got, expected, 0.01);
  BOOST_CHECK_MESSAGE(!!(error <= tolerance), what << ": relative error " << error);
}

inline void check_case(HstuCase c, double of_out = 2e-6, double of_gradients = 5e-6) {
  c.prepare();
  c.solve();
  HstuOracle want(c);
  want.run(c);
  const auto s = c.shape();
  const std::string what = describe(c);
  const std::int64_t narrow = c.H * c.D, wide = c.H * c.Dv;
  check_hstu(what + " out", in_rows("out", c.out, s.out_stride, wide), in_rows("out", want.out, s.out_stride, wide), of_out);
  check_hstu(what + " dq", in_rows("dq", c.dq, s.q_stride, narrow), in_rows("dq", want.dq, s.q_stride, narrow), of_gradients);
  check_hstu(what + " dk", in_rows("dk", c.dk, s.k_stride, narrow), in_rows("dk", want.dk, s.k_stride, narrow), of_gradients);
  check_hstu(what + " dv", in_rows("dv", c.dv, s.v_stride, wide), in_rows("dv", want.dv, s.v_stride, wide), of_gradients);
  check_hstu(what + " dposition", c.dposition, want.dposition, of_gradients);
  check_hstu(what + " dtime", c.dtime, want.dtime, of_gradients);
}

/// Lengths around the tiles', widths around the padded ones', each bias alone and together, nothing to do.
inline std::vector<HstuCase> hstu_cases() {
  std::vector<HstuCase> cases;
  for (const std::int64_t T : {1, 2, 7, 16, 63, 64, 65, 130}) cases.push_back({.lengths = {T}, .H = 1, .D = 8, .Dv = 8});
  for (const auto& [D, Dv] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 3}, {3, 1}, {16, 32}, {33, 16}, {25, 50}, {64, 64}, {64, 96}, {128, 100}})
    cases.push_back({.lengths = {40, 3}, .H = 1, .D = D, .Dv = Dv});
  for (const bool position : {false, true})
    for (const bool time : {false, true})
      for (const Write write : {Write::kAssign, Write::kAccumulate})
        cases.push_back(
            {.lengths = {67, 1, 0, 20}, .H = 2, .D = 4, .Dv = 6, .position = position, .time = time, .write = write});
  cases.push_back({.lengths = {5, 70}, .H = 2, .D = 16, .Dv = 16, .gap = 0});  // whole vectors
  cases.push_back({.lengths = {9}, .buckets = 3});
  cases.push_back({.lengths = {9}, .buckets = 1});
  cases.push_back({.lengths = {0, 0}});
  cases.push_back({.lengths = {}});
  return cases;
}

/// Pairs of rows whose times are apart by the least of each bucket, and by a second less.
inline HstuCase bounds_of_buckets() {
  HstuCase c{.lengths = {}, .H = 1, .D = 1, .Dv = 1, .position = false};
  const kernels::TimeBuckets buckets(c.buckets);
  for (std::size_t b = 1; b < 129; ++b)
    for (const std::int64_t less : {0, 1}) {
      c.lengths.push_back(2);
      c.key_times.insert(c.key_times.end(), {0, 0});
      const std::int64_t apart = buckets.first[b] - less;
      c.query_times.insert(c.query_times.end(), {0, b % 2 == 0 ? apart : -apart});
    }
  return c;
}

}  // namespace tradewind::tests
