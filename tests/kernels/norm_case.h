// Problems of layer norm, RMS norm and the fused residual branch, their float64 oracle, and what every executor must get right:
// the CPU (norm_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/norm.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::Dropout;
using kernels::DType;
using kernels::Launch;
using kernels::NormKind;
using kernels::NormOptions;
using kernels::RowKeys;
using kernels::Write;
using Doubles = std::vector<double>;

struct NormOracle {
  bool layer;
  std::size_t N, C;
  double epsilon;

  // y of x, float64, by the formula.
  Doubles forward(const Doubles& x, const Doubles& w, const Doubles& b) const {
    Doubles y(N * C);
    for (std::size_t n = 0; n < N; ++n) {
      const auto [mean, rstd] = statistics(x, n);
      for (std::size_t c = 0; c < C; ++c) y[n * C + c] = (x[n * C + c] - mean) * rstd * w[c] + (b.empty() ? 0 : b[c]);
    }
    return y;
  }

  std::pair<double, double> statistics(const Doubles& x, std::size_t n) const {
    double mean = 0, square = 0;
    for (std::size_t c = 0; c < C; ++c) mean += layer ? x[n * C + c] / static_cast<double>(C) : 0;
    for (std::size_t c = 0; c < C; ++c) square += (x[n * C + c] - mean) * (x[n * C + c] - mean) / static_cast<double>(C);
    return {mean, 1 / std::sqrt(square + epsilon)};
  }

  struct Gradients {
    Doubles dx, dw, db;
  };
  // Analytic; checked against the numeric gradient of `forward` below.
  Gradients backward(const Doubles& dy, const Doubles& x, const Doubles& w) const {
    Gradients out{Doubles(N * C), Doubles(C), Doubles(C)};
    for (std::size_t n = 0; n < N; ++n) {
      const auto [mean, rstd] = statistics(x, n);
      double g = 0, gx = 0;
      for (std::size_t c = 0; c < C; ++c) {
        const double up = dy[n * C + c], xhat = (x[n * C + c] - mean) * rstd;
        out.dw[c] += up * xhat;
        out.db[c] += up;
        g += layer ? up * w[c] / static_cast<double>(C) : 0;
        gx += up * w[c] * xhat / static_cast<double>(C);
      }
      for (std::size_t c = 0; c < C; ++c)
        out.dx[n * C + c] = rstd * (dy[n * C + c] * w[c] - g - (x[n * C + c] - mean) * rstd * gx);
    }
    return out;
  }
};

/// Rows of several samples, and their masks.
struct DropoutRows {
  kernels::StepState step{.seed = 3};
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  explicit DropoutRows(std::size_t N) {
    for (std::size_t n = 0; n < N; ++n) {
      sample.push_back(n / 7);
      position.push_back(static_cast<std::int32_t>(n % 7));
    }
  }
  /// Puts keys and seed where the arrays are.
  RowKeys keys(PlacedArrays& at) const { return {at.values(sample), at.values(position)}; }
  Launch launch(PlacedArrays& at, int threads) const {
    Launch launch = at.launch(threads);
    launch.step = at.value(step);
    return launch;
  }
  // 0 or the scale for each element.
  Doubles multipliers(const Dropout& dropout, std::size_t C) const {
    Doubles out;
    const auto threshold = kernels::dropout_threshold(dropout.p);
    const auto key = kernels::philox_key(step.seed, dropout.purpose);
    for (std::size_t n = 0; n < sample.size(); ++n)
      for (std::uint32_t c = 0; c < C; ++c)
        out.push_back(kernels::dropout_number(key, sample[n], static_cast<std::uint32_t>(position[n]), c) >= threshold
                          ? kernels::dropout_scale(threshold)
                          : 0);
    return out;
  }
};

inline Doubles plus(const Doubles& a, const Doubles& b) {
  Doubles out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] += b[i];
  return out;
}
inline Doubles times(const Doubles& a, const Doubles& b) {
  Doubles out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] *= b[i];
  return out;
}

inline NormOptions norm_options(bool layer, float epsilon = 1e-5F, DType dtype = DType::kFloat32) {
  return {.kind = layer ? NormKind::kLayerNorm : NormKind::kRmsNorm, .epsilon = epsilon, .dtype = dtype};
}

struct NormCase {
  bool layer;
  std::size_t N, C;
  int threads = 1;
  DType dtype = DType::kFloat32;
  Place* place = nullptr;

  std::vector<float> values(std::size_t count, std::uint32_t seed, double scale = 1.0) const {
    return rounded_to(dtype, random_values(count, seed, scale));
  }
  NormOracle oracle() const { return {layer, N, C, 1e-5}; }
  NormOptions options() const { return norm_options(layer, 1e-5F, dtype); }
  std::int64_t rows() const { return static_cast<std::int64_t>(N); }
  std::int64_t channels() const { return static_cast<std::int64_t>(C); }
  /// What `tolerance` becomes for an array of the op's elements.
  double of_elements(double tolerance) const { return dtype == DType::kBFloat16 ? 1e-2 : tolerance; }
};

inline std::string describe(const NormCase& c) {
  return std::string(kernels::name_of(c.dtype)) + " N " + std::to_string(c.N) + " C " + std::to_string(c.C) +
         (c.layer ? " layer" : " rms") + " threads " + std::to_string(c.threads);
}

struct NormSaved {
  std::vector<float> mean, rstd;  // mean empty for RMS norm
  explicit NormSaved(const NormCase& c) : mean(c.layer ? c.N : 0), rstd(c.N) {}
};

inline NormSaved check_norm_forward(const NormCase& c, const std::string& what, const std::vector<float>& x,
                                    const std::vector<float>& w) {
  const auto b = random_values(c.C, 3);
  std::vector<float> y(c.N * c.C), plain(c.N * c.C);
  NormSaved saved(c), again(c);
  PlacedArrays at(c.place, c.dtype);
  const void* in = at.read(x);
  kernels::norm_forward(at.elements(y), at.array(saved.mean), at.array(saved.rstd), in, at.values(w), at.values(b), c.rows(),
                        c.channels(), c.options(), at.launch(c.threads));
  kernels::norm_forward(at.elements(plain), at.array(again.mean), at.array(again.rstd), in, at.values(w), nullptr, c.rows(),
                        c.channels(), c.options(), at.launch(c.threads));
  at.fetch();
  check_close(what + " y", y, c.oracle().forward(widen(x), widen(w), widen(b)), c.of_elements(2e-6));
  check_close(what + " y without bias", plain, c.oracle().forward(widen(x), widen(w), {}), c.of_elements(2e-6));
  return saved;
}

/// Without weights and bias: what ones and zeros give.
inline void check_plain_norm(const NormCase& c) {
  const auto x = c.values(c.N * c.C, 1, 2.0), dy = c.values(c.N * c.C, 4);
  std::vector<float> y(c.N * c.C), dx(c.N * c.C);
  NormSaved saved(c);
  PlacedArrays at(c.place, c.dtype);
  const void* in = at.read(x);
  float *mean = at.array(saved.mean), *rstd = at.array(saved.rstd);
  kernels::norm_forward(at.elements(y), mean, rstd, in, nullptr, nullptr, c.rows(), c.channels(), c.options(),
                        at.launch(c.threads));
  kernels::norm_backward(at.elements(dx), nullptr, nullptr, at.read(dy), in, mean, rstd, nullptr, c.rows(), c.channels(),
                         Write::kAssign, Write::kAssign, c.options(), at.launch(c.threads));
  at.fetch();
  const Doubles ones(c.C, 1.0);
  check_close(describe(c) + " y without weights", y, c.oracle().forward(widen(x), ones, {}), c.of_elements(2e-6));
  if (c.C == 1) return;  // the gradient is 0
  check_close(describe(c) + " dx without weights", dx, c.oracle().backward(widen(dy), widen(x), ones).dx, c.of_elements(5e-6));
}

/// A mean that float32 rounds by more than the tolerance; rows of one value, whose deviations are that rounding alone.
inline void check_norm_far_from_zero(std::size_t C, Place* place) {
  const std::size_t N = 3;
  auto x = random_values(N * C, 1);
  for (float& value : x) value += 3000.0F;
  std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(C), C, 1234567.1F);
  std::vector<float> y(N * C), mean(N), rstd(N);
  PlacedArrays at(place, DType::kFloat32);
  kernels::norm_forward(at.elements(y), at.array(mean), at.array(rstd), at.read(x), nullptr, nullptr, 3,
                        static_cast<std::int64_t>(C), norm_options(true, 1e-12F), at.launch());
  at.fetch();
  const std::string what = "C " + std::to_string(C);
  for (std::size_t c = 0; c < C; ++c) BOOST_REQUIRE_MESSAGE(std::isfinite(y[C + c]), what << " rows of one value");
  const Doubles want = NormOracle{true, N, C, 1e-12}.forward(widen(x), Doubles(C, 1.0), {});
  for (const std::size_t n : {0, 2}) {
    const auto row = [&](const auto& all) { return std::vector<double>(&all[n * C], &all[n * C] + C); };
    check_close(what + " y far from 0", row(y), row(want), 1e-5);
  }
}

inline void check_norm(const NormCase& c) {
  check_plain_norm(c);
  const std::string what = describe(c);
  const std::size_t N = c.N, C = c.C;
  const auto x = c.values(N * C, 1, 2.0), dy = c.values(N * C, 4), base_dx = c.values(N * C, 5);
  const auto w = random_values(C, 2), base_dw = random_values(C, 6), base_db = random_values(C, 7);
  const NormSaved saved = check_norm_forward(c, what, x, w);

  const auto [edx, edw, edb] = c.oracle().backward(widen(dy), widen(x), widen(w));
  // With C = 1 the exact gradient is 0 or nearly so, and what is left is rounding: compare with the size of its terms.
  double floor = 0;
  for (std::size_t i = 0; i < N * C; ++i) floor = std::max(floor, std::abs(double{dy[i]} * w[i % C] * saved.rstd[i / C]));
  const auto close = [&](const std::string& name, const auto& a, const auto& e) {
    const double error = relative_error(a, e, C == 1 ? floor : 1e-30);
    BOOST_CHECK_MESSAGE(!!(error <= c.of_elements(5e-6)), what << name << ": relative error " << error);
  };
  std::vector<float> dx(N * C), dw(C), db(C), sum_dx = base_dx, sum_dw = base_dw, sum_db = base_db, in_place = dy, again(C);
  PlacedArrays at(c.place, c.dtype);
  const void *in = at.read(x), *up = at.read(dy);
  const float *mean = at.values(saved.mean), *rstd = at.values(saved.rstd), *weight = at.values(w);
  const auto backward = [&](void* to, float* to_dw, float* to_db, const void* from, Write write) {
    kernels::norm_backward(to, to_dw, to_db, from, in, mean, rstd, weight, c.rows(), c.channels(), write, write, c.options(),
                           at.launch(c.threads));
  };
  void* over_dy = at.elements(in_place);
  backward(at.elements(dx), at.array(dw), at.array(db), up, Write::kAssign);
  backward(at.elements(sum_dx), at.array(sum_dw), at.array(sum_db), up, Write::kAccumulate);
  backward(over_dy, nullptr, nullptr, over_dy, Write::kAssign);
  std::vector<float> other(N * C);
  backward(at.elements(other), at.array(again), nullptr, up, Write::kAssign);
  at.fetch();
  close(" dx", dx, edx);
  check_close(what + " dw", plus(widen(dw), Doubles(C, 1)), plus(edw, Doubles(C, 1)), 5e-6);
  check_close(what + " db", db, edb, 5e-6);
  close(" accumulated dx", sum_dx, plus(widen(base_dx), edx));
  check_close(what + " accumulated dw", sum_dw, plus(widen(base_dw), edw), 1e-5);
  check_close(what + " accumulated db", sum_db, plus(widen(base_db), edb), 5e-6);
  close(" dx over dy", in_place, edx);
  BOOST_TEST(again == dw);  // the same bits in every run
}

/// residual, x, dy and ds of one problem with dropout.
struct ResidualNormRun {
  const NormCase& c;
  Dropout dropout;
  DropoutRows rows{c.N};
  std::vector<float> x = c.values(c.N * c.C, 1), residual = c.values(c.N * c.C, 2, 2.0), w = random_values(c.C, 3),
                     b = random_values(c.C, 4), dy = c.values(c.N * c.C, 5), ds = c.values(c.N * c.C, 6);
  std::vector<float> s = std::vector<float>(c.N * c.C);
  NormSaved saved{c};

  void forward() {
    const std::string what = describe(c) + " p " + std::to_string(dropout.p);
    const Doubles es = plus(widen(residual), times(widen(x), rows.multipliers(dropout, c.C)));
    std::vector<float> y(c.N * c.C), only_s(c.N * c.C), over = residual, over_x = x;
    PlacedArrays at(c.place, c.dtype);
    const RowKeys keys = rows.keys(at);
    const Launch launch = rows.launch(at, c.threads);
    float *mean = at.array(saved.mean), *rstd = at.array(saved.rstd);
    const float *weight = at.values(w), *bias = at.values(b);
    const auto run = [&](void* to, void* to_y, const void* r, const void* branch) {
      kernels::residual_norm_forward(to, to_y, mean, rstd, r, branch, weight, bias, c.rows(), c.channels(), dropout, keys,
                                     c.options(), launch);
    };
    const void *given_residual = at.read(residual), *given_x = at.read(x);
    void *to_over = at.elements(over), *to_over_x = at.elements(over_x);
    run(at.elements(s), at.elements(y), given_residual, given_x);
    run(at.elements(only_s), nullptr, given_residual, given_x);
    run(to_over, nullptr, to_over, given_x);
    run(to_over_x, nullptr, given_residual, to_over_x);
    at.fetch();
    check_close(what + " s", s, es, c.dtype == DType::kBFloat16 ? 4e-3 : 3e-7);
    check_close(what + " y", y, c.oracle().forward(widen(s), widen(w), widen(b)), c.of_elements(5e-6));
    BOOST_TEST(only_s == s);
    BOOST_TEST(over == s);
    BOOST_TEST(over_x == s);
  }

  void backward() {
    const std::string what = describe(c) + " p " + std::to_string(dropout.p);
    const std::size_t N = c.N, C = c.C;
    const Doubles keep = rows.multipliers(dropout, C);
    const auto [edx, edw, edb] = c.oracle().backward(widen(dy), widen(s), widen(w));
    const Doubles d = plus(edx, widen(ds));
    std::vector<float> dr(N * C), dx(N * C), dw(C), db(C), over_ds = ds, over_dy = dy, shared(N * C);
    std::vector<float> of_y(N * C), x_of_y(N * C), of_s(N * C), x_of_s(N * C), none(C, 3.0F), unused(C);
    PlacedArrays at(c.place, c.dtype);
    const RowKeys keys = rows.keys(at);
    const Launch launch = rows.launch(at, c.threads);
    const float *mean = at.values(saved.mean), *rstd = at.values(saved.rstd), *weight = at.values(w);
    const void *given_dy = at.read(dy), *given_ds = at.read(ds), *given_s = at.read(s);
    float* any = at.array(unused);
    const auto run = [&](void* to, void* to_x, float* to_dw, float* to_db, const void* up, const void* up_s) {
      kernels::residual_norm_backward(to, to_x, to_dw, to_db, up, up_s, given_s, mean, rstd, weight, c.rows(), c.channels(),
                                      dropout, keys, Write::kAssign, c.options(), launch);
    };
    void *to_over_ds = at.elements(over_ds), *to_over_dy = at.elements(over_dy);
    run(at.elements(dr), at.elements(dx), at.array(dw), at.array(db), given_dy, given_ds);
    run(to_over_ds, to_over_dy, any, any, to_over_dy, to_over_ds);
    if (dropout.p == 0.0F) run(at.elements(shared), nullptr, any, any, given_dy, given_ds);
    run(at.elements(of_y), at.elements(x_of_y), any, any, given_dy, nullptr);
    run(at.elements(of_s), at.elements(x_of_s), at.array(none), any, nullptr, given_ds);
    at.fetch();
    check_close(what + " dresidual", dr, d, c.of_elements(5e-6));
    check_close(what + " dx", dx, times(d, keep), c.of_elements(5e-6));
    check_close(what + " dw", plus(widen(dw), Doubles(C, 1)), plus(edw, Doubles(C, 1)), 5e-6);
    check_close(what + " db", db, edb, 5e-6);
    BOOST_TEST(over_ds == dr);
    BOOST_TEST(over_dy == dx);
    if (dropout.p == 0.0F) BOOST_TEST(shared == dr);
    check_close(what + " dresidual of y alone", of_y, edx, c.of_elements(5e-6));
    BOOST_TEST(of_s == ds);
    check_close(what + " dx of s alone", x_of_s, times(widen(ds), keep), c.of_elements(1e-6));
    BOOST_TEST(none == std::vector<float>(C, 0.0F));  // assigned: nothing came through the norm
    for (std::size_t i = 0; i < keep.size(); ++i)     // the mask of the contract, bit for bit
      if (keep[i] == 0) BOOST_REQUIRE(dx[i] == 0.0F && x_of_s[i] == 0.0F);
  }
};

inline void check_residual_norm(const NormCase& c) {
  if (c.C == 1) return;  // y hardly depends on x, and its gradient is rounding
  for (const float p : {0.0F, 0.25F}) {
    ResidualNormRun run{.c = c, .dropout = {p, 8}};
    run.forward();
    run.backward();
  }
}

inline std::vector<NormCase> norm_cases(const std::vector<std::size_t>& rows, const std::vector<std::size_t>& channels) {
  std::vector<NormCase> cases;
  for (const bool layer : {true, false})
    for (const std::size_t N : rows)
      for (const std::size_t C : channels) cases.push_back({.layer = layer, .N = N, .C = C});
  return cases;
}

}  // namespace tradewind::tests
