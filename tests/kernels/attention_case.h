// Attention's problems, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (attention_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/attention.h"
#include "kernels/base/error.h"
#include "tests/support/device_place.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {

using namespace tradewind::kernels;
using std::int64_t;

inline constexpr double kInf = std::numeric_limits<double>::infinity();

enum class Bias { kNone, kFull, kSharedOverSequences, kSharedOverHeads, kSharedOverAll };

/// A problem with its data. Row strides are wider than a row, so that a kernel that ignores them is seen.
struct Case {
  std::vector<int64_t> tq, tk, lengths{};  // lengths: empty for null
  int64_t H = 2, H_kv = 2, D = 8;
  bool causal = true;
  int64_t window = 0;
  Bias bias_kind = Bias::kNone;
  float dropout = 0;
  int threads = 1;
  int64_t gap = 1;  // between rows, times 3, 5, 2 and 1 elements
  DType dtype = DType::kFloat32;
  Place* place = nullptr;  // null: the CPU

  std::vector<int64_t> q_offsets{0}, k_offsets{0};
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
  std::vector<float> q{}, k{}, v{}, dout{}, bias{}, out{}, lse{}, dq{}, dk{}, dv{}, dbias{};
  std::vector<std::uint64_t> sample{};
  std::vector<std::int32_t> position{};
  StepState step{};
  AttentionShape shape{};
  AttentionOptions options{};
  Launch launch{};

  int64_t sequences() const { return static_cast<int64_t>(tq.size()); }
  int64_t query_rows() const { return q_offsets.back(); }
  int64_t key_rows() const { return k_offsets.back(); }
  int64_t keys(int64_t b) const { return lengths.empty() ? tk[b] : lengths[b]; }

  void prepare(std::uint32_t seed = 1) {
    for (const int64_t t : tq) q_offsets.push_back(q_offsets.back() + t);
    for (const int64_t t : tk) k_offsets.push_back(k_offsets.back() + t);
    q_stride = H * D + 3 * gap, k_stride = H_kv * D + 5 * gap, v_stride = H_kv * D + 2 * gap, out_stride = H * D + gap;
    q = random_values(query_rows() * q_stride, seed, 1.3);
    k = random_values(key_rows() * k_stride, seed + 1, 1.3);
    v = random_values(key_rows() * v_stride, seed + 2);
    dout = random_values(query_rows() * out_stride, seed + 3);
    if (dtype == DType::kBFloat16)
      for (std::vector<float>* x : {&q, &k, &v, &dout})
        for (float& value : *x) value = rounded_to_bfloat16(value);
    const int64_t max_q = sequences() == 0 ? 0 : *std::max_element(tq.begin(), tq.end());
    const int64_t max_k = sequences() == 0 ? 0 : *std::max_element(tk.begin(), tk.end());
    options.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(D)));
    options.causal = causal;
    options.window = window;
    options.dropout = {dropout, 77};
    if (bias_kind != Bias::kNone) {
      options.bias_stride_q = max_k + 1;
      const int64_t plane = max_q * (max_k + 1);
      const bool over_b = bias_kind == Bias::kSharedOverSequences || bias_kind == Bias::kSharedOverAll;
      const bool over_h = bias_kind == Bias::kSharedOverHeads || bias_kind == Bias::kSharedOverAll;
      options.bias_stride_h = over_h ? 0 : plane;
      options.bias_stride_b = over_b ? 0 : over_h ? plane : plane * H;
      bias = random_values((over_b ? 1 : sequences()) * (over_h ? 1 : H) * plane, seed + 4);
    }
    step.seed = 1234;
    for (int64_t n = 0; n < query_rows(); ++n) {
      sample.push_back(5000000000ULL + static_cast<std::uint64_t>(n) * 7);
      position.push_back(static_cast<std::int32_t>(n * 3 + 1));
    }
    shape = {.B = sequences(),
             .q_offsets = nullptr,
             .k_offsets = nullptr,
             .k_lengths = nullptr,
             .max_q = max_q,
             .max_k = max_k,
             .H = H,
             .H_kv = H_kv,
             .D = D,
             .q_stride = q_stride,
             .k_stride = k_stride,
             .v_stride = v_stride,
             .out_stride = out_stride};
  }
  void point() {
    shape.q_offsets = q_offsets.data(), shape.k_offsets = k_offsets.data();
    shape.k_lengths = lengths.empty() ? nullptr : lengths.data();
    options.bias = bias.empty() ? nullptr : bias.data();
    options.keys = {sample.data(), position.data()};
    options.dtype = dtype;
    launch.step = &step;
    launch.threads = threads;
  }
  void forward() {
    point();
    out.assign(dout.size(), NAN);
    lse.assign(query_rows() * H, NAN);
    if (place == nullptr) {
      attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), shape, options, launch);
      return;
    }
    Placed at(*this);
    attention_forward(at.values(out), at.floats(lse), at.values(q), at.values(k), at.values(v), at.shape, at.options,
                      at.launch);
    at.fetch();
  }
  void backward() {
    point();
    dq.assign(q.size(), NAN), dk.assign(k.size(), NAN), dv.assign(v.size(), NAN);
    dbias.assign(bias.size(), 0.5F);  // accumulated
    if (place == nullptr) {
      attention_backward(dq.data(), dk.data(), dv.data(), bias.empty() ? nullptr : dbias.data(), dout.data(), out.data(),
                         lse.data(), q.data(), k.data(), v.data(), shape, options, launch);
      return;
    }
    Placed at(*this);
    attention_backward(at.values(dq), at.values(dk), at.values(dv), at.floats(dbias), at.values(dout), at.values(out),
                       at.floats(lse), at.values(q), at.values(k), at.values(v), at.shape, at.options, at.launch);
    at.fetch();
  }

  /// The arrays of a case on its place, until the end of the scope.
  class Placed {
   public:
    explicit Placed(Case& c) : shape(c.shape), options(c.options), launch(c.launch), case_(c) {
      shape.q_offsets = copy(c.q_offsets), shape.k_offsets = copy(c.k_offsets), shape.k_lengths = copy(c.lengths);
      options.bias = floats(c.bias);
      options.keys = {copy(c.sample), copy(c.position)};
      launch = c.place->launch();
      launch.step = static_cast<StepState*>(put(&c.step, sizeof c.step));
    }
    ~Placed() {
      for (void* p : all_) case_.place->drop(p);
    }
    Placed(const Placed&) = delete;
    Placed& operator=(const Placed&) = delete;

    /// x as the case's dtype; empty: null.
    void* values(std::vector<float>& x) {
      if (case_.dtype == DType::kFloat32) return floats(x);
      std::vector<std::uint16_t> narrow(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) narrow[i] = bfloat16_of(x[i]);
      auto* p = copy(narrow);
      if (p != nullptr) narrow_.emplace_back(p, &x);
      return p;
    }
    float* floats(std::vector<float>& x) {
      float* p = copy(x);
      if (p != nullptr) wide_.emplace_back(p, &x);
      return p;
    }
    /// Everything back.
    void fetch() {
      for (const auto& [p, x] : wide_) case_.place->get(x->data(), p, x->size() * sizeof(float));
      for (const auto& [p, x] : narrow_) {
        std::vector<std::uint16_t> narrow(x->size());
        case_.place->get(narrow.data(), p, narrow.size() * 2);
        for (std::size_t i = 0; i < narrow.size(); ++i) (*x)[i] = float_of_bfloat16(narrow[i]);
      }
    }
    AttentionShape shape;
    AttentionOptions options;
    Launch launch;

   private:
    void* put(const void* host, std::size_t bytes) { return all_.emplace_back(case_.place->put(host, bytes)); }
    template <class T>
    T* copy(const std::vector<T>& x) {
      return x.empty() ? nullptr : static_cast<T*>(put(x.data(), x.size() * sizeof(T)));
    }
    Case& case_;
    std::vector<void*> all_{};
    std::vector<std::pair<void*, std::vector<float>*>> wide_{}, narrow_{};
  };
};

struct Oracle {
  std::vector<double> q, k, v, bias, out, lse, dq, dk, dv, dbias;

  explicit Oracle(const Case& c) : q(widen(c.q)), k(widen(c.k)), v(widen(c.v)), bias(widen(c.bias)) {}

  /// Fills out and lse; with `gradients` the others. Padding between rows comes out as NaN, as in Case.
  void run(const Case& c, bool gradients) {
    out.assign(c.dout.size(), NAN), lse.assign(c.query_rows() * c.H, NAN);
    dq.assign(q.size(), NAN), dk.assign(k.size(), NAN), dv.assign(v.size(), NAN), dbias.assign(bias.size(), 0.5);
    for (int64_t n = 0; n < c.query_rows(); ++n) std::fill_n(dq.begin() + n * c.q_stride, c.H * c.D, 0.0);
    for (int64_t n = 0; n < c.key_rows(); ++n) {
      std::fill_n(dk.begin() + n * c.k_stride, c.H_kv * c.D, 0.0);
      std::fill_n(dv.begin() + n * c.v_stride, c.H_kv * c.D, 0.0);
    }
    const std::uint32_t threshold = dropout_threshold(c.dropout);
    const double keep_scale = dropout_scale(threshold);
    for (int64_t b = 0; b < c.sequences(); ++b)
      for (int64_t h = 0; h < c.H; ++h) {
        const PhiloxKey key = philox_key(c.step.seed, c.options.dropout.purpose + (static_cast<std::uint64_t>(h + 1) << 32));
        const int64_t g = h / (c.H / c.H_kv), tk = c.keys(b);
        for (int64_t i = 0; i < c.tq[b]; ++i) {
          const int64_t n = c.q_offsets[b] + i, at = i + tk - c.tq[b];
          const double* qi = &q[n * c.q_stride + h * c.D];
          const auto kj = [&](int64_t j) { return (c.k_offsets[b] + j) * c.k_stride + g * c.D; };
          const auto vj = [&](int64_t j) { return (c.k_offsets[b] + j) * c.v_stride + g * c.D; };
          const int64_t bias_at = b * c.options.bias_stride_b + h * c.options.bias_stride_h + i * c.options.bias_stride_q;
          std::vector<double> score(tk, -kInf), keep(tk, 1.0);
          double top = -kInf;
          for (int64_t j = 0; j < tk; ++j) {
            if ((c.causal && j > at) || (c.window > 0 && j <= at - c.window)) continue;
            double s = 0;
            for (int64_t d = 0; d < c.D; ++d) s += qi[d] * k[kj(j) + d];
            score[j] = c.options.scale * s + (bias.empty() ? 0 : bias[bias_at + j]);
            top = std::max(top, score[j]);
            if (c.dropout > 0) {
              const std::uint32_t number =
                  dropout_number(key, c.sample[n], static_cast<std::uint32_t>(c.position[n]), static_cast<std::uint32_t>(j));
              keep[j] = number < threshold ? 0.0 : keep_scale;
            }
          }
          double* o = &out[n * c.out_stride + h * c.D];
          std::fill_n(o, c.D, 0.0);
          lse[n * c.H + h] = -kInf;
          if (top == -kInf) continue;
          double total = 0;
          for (const double s : score) total += std::exp(s - top);
          lse[n * c.H + h] = top + std::log(total);
          std::vector<double> p(tk);
          for (int64_t j = 0; j < tk; ++j) {
            p[j] = std::exp(score[j] - lse[n * c.H + h]);
            for (int64_t d = 0; d < c.D; ++d) o[d] += p[j] * keep[j] * v[vj(j) + d];
          }
          if (!gradients) continue;
          const float* g_out = &c.dout[n * c.out_stride + h * c.D];
          double delta = 0;
          for (int64_t d = 0; d < c.D; ++d) delta += g_out[d] * o[d];
          for (int64_t j = 0; j < tk; ++j) {
            if (score[j] == -kInf) continue;
            double dp = 0;
            for (int64_t d = 0; d < c.D; ++d) dp += g_out[d] * v[vj(j) + d];
            const double ds = p[j] * (dp * keep[j] - delta);
            if (!bias.empty()) dbias[bias_at + j] += ds;
            for (int64_t d = 0; d < c.D; ++d) {
              dv[vj(j) + d] += p[j] * keep[j] * g_out[d];
              dq[n * c.q_stride + h * c.D + d] += ds * c.options.scale * k[kj(j) + d];
              dk[kj(j) + d] += ds * c.options.scale * qi[d];
            }
          }
        }
      }
  }
  double loss(const Case& c) {
    run(c, false);
    double sum = 0;
    for (int64_t n = 0; n < c.query_rows(); ++n)
      for (int64_t d = 0; d < c.H * c.D; ++d) sum += out[n * c.out_stride + d] * c.dout[n * c.out_stride + d];
    return sum;
  }
};

/// The H * D used elements of each row; checks that the padding was left alone (NaN).
template <class T>
std::vector<T> rows_of(const std::string& what, const std::vector<T>& x, int64_t stride, int64_t used) {
  std::vector<T> rows;
  bool untouched = true;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (static_cast<int64_t>(i) % stride < used)
      rows.push_back(x[i]);
    else
      untouched = untouched && std::isnan(x[i]);
  }
  BOOST_CHECK_MESSAGE(untouched, what << ": wrote between the rows");
  return rows;
}

/// What a result may be off by, relative to the largest of its kind (check_gradient: and to 1).
struct Tolerances {
  double out = 2e-6, lse = 2e-6, gradient = 5e-6;
};

inline void check_lse(const std::string& what, const std::vector<float>& got, const std::vector<double>& expected,
                      double tolerance = 2e-6) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const bool same =
        expected[i] == -kInf ? got[i] == -kInf : std::abs(got[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i]));
    BOOST_REQUIRE_MESSAGE(same, what << ": lse[" << i << "] = " << got[i] << ", expected " << expected[i]);
  }
}

inline std::string describe(const Case& c) {
  std::string s = "H " + std::to_string(c.H) + "/" + std::to_string(c.H_kv) + " D " + std::to_string(c.D);
  for (int64_t b = 0; b < c.sequences(); ++b) s += " [" + std::to_string(c.tq[b]) + "x" + std::to_string(c.tk[b]) + "]";
  if (!c.lengths.empty()) s += " lengths";
  if (c.causal) s += " causal";
  if (c.window > 0) s += " window " + std::to_string(c.window);
  if (c.bias_kind != Bias::kNone) s += " bias " + std::to_string(static_cast<int>(c.bias_kind));
  if (c.dropout > 0) s += " dropout";
  return s + " threads " + std::to_string(c.threads);
}

/// dq and dk are differences that cancel, down to 0 where a query sees one key: errors are relative to 1 at least.
template <class A, class B>
void check_gradient(const std::string& what, const A& got, const B& expected, double tolerance = 5e-6) {
  BOOST_REQUIRE(got.size() == expected.size());
  const double error = relative_error(got, expected, 1.0);
  BOOST_CHECK_MESSAGE(!!(error <= tolerance), what << ": relative error " << error);
}

inline void check_case(Case c, const Tolerances& allowed = {}) {
  c.prepare();
  c.forward();
  c.backward();
  Oracle o(c);
  o.run(c, true);
  const std::string what = describe(c);
  const int64_t wide = c.H * c.D, narrow = c.H_kv * c.D;
  check_close(what + " out", rows_of("out", c.out, c.out_stride, wide), rows_of("out", o.out, c.out_stride, wide), allowed.out);
  check_lse(what, c.lse, o.lse, allowed.lse);
  check_gradient(what + " dq", rows_of("dq", c.dq, c.q_stride, wide), rows_of("dq", o.dq, c.q_stride, wide), allowed.gradient);
  check_gradient(what + " dk", rows_of("dk", c.dk, c.k_stride, narrow), rows_of("dk", o.dk, c.k_stride, narrow),
                 allowed.gradient);
  check_close(what + " dv", rows_of("dv", c.dv, c.v_stride, narrow), rows_of("dv", o.dv, c.v_stride, narrow), allowed.gradient);
  check_close(what + " dbias", c.dbias, o.dbias, allowed.gradient);
}

inline bool same_bits(const float* a, const float* b, int64_t count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

/// The list that every executor runs: sizes around the tiles', lengths that differ, every combination of options, nothing to
/// do.
inline std::vector<Case> size_cases() {
  std::vector<Case> cases;
  for (const int64_t T : {1, 2, 6, 7, 16, 63, 64, 65, 100, 129, 200})
    for (const int64_t D : {1, 7, 16, 32, 64, 65, 100})
      for (const bool causal : {true, false})
        if (T <= 100 || D <= 32) cases.push_back({.tq = {T}, .tk = {T}, .H = 2, .H_kv = 2, .D = D, .causal = causal});
  cases.push_back({.tq = {130}, .tk = {130}, .H = 1, .H_kv = 1, .D = 128});
  return cases;
}

inline std::vector<Case> length_cases() {
  std::vector<Case> cases;
  for (const bool causal : {true, false})
    for (const auto& [tq, tk] :
         std::vector<std::pair<int64_t, int64_t>>{{1, 200}, {5, 64}, {64, 65}, {65, 130}, {70, 3}, {200, 100}})
      for (const int64_t window : {0, 1, 50})
        cases.push_back({.tq = {tq}, .tk = {tk}, .H = 2, .H_kv = 1, .D = 16, .causal = causal, .window = window});
  // Tiles of keys that no query sees, and of queries that see no key, in rows that asynchronous copies take.
  cases.push_back({.tq = {5}, .tk = {200}, .H = 2, .H_kv = 1, .D = 16, .window = 20, .gap = 0});
  cases.push_back({.tq = {200}, .tk = {100}, .H = 2, .H_kv = 1, .D = 16, .gap = 0});
  // A tile that all but the last of sixteen queries see whole: that one misses the first key.
  cases.push_back({.tq = {130}, .tk = {130}, .H = 2, .H_kv = 1, .D = 16, .causal = true, .window = 79});
  return cases;
}

inline std::vector<Case> option_cases() {
  std::vector<Case> cases;
  for (const bool causal : {true, false})
    for (const int64_t window : {0, 70})
      for (const Bias bias :
           {Bias::kNone, Bias::kFull, Bias::kSharedOverSequences, Bias::kSharedOverHeads, Bias::kSharedOverAll})
        for (const float dropout : {0.0F, 0.25F})
          for (const bool lengths : {false, true}) {
            Case c{.tq = {67, 1, 0, 100}, .tk = {67, 90, 5, 130}, .H = 4, .H_kv = 2, .D = 12};
            if (lengths) c.lengths = {67, 77, 3, 101};
            c.causal = causal, c.window = window, c.bias_kind = bias, c.dropout = dropout;
            cases.push_back(c);
          }
  return cases;
}

inline std::vector<Case> empty_cases() {
  return {{.tq = {}, .tk = {}, .threads = 2},
          {.tq = {0, 3}, .tk = {4, 0}, .threads = 2},
          {.tq = {3, 1}, .tk = {4, 4}, .lengths = {0, 0}, .bias_kind = Bias::kFull, .threads = 3}};
}

}  // namespace tradewind::tests
