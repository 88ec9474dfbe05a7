#include "kernels/norm.h"

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::Dropout;
using kernels::DType;
using kernels::Launch;
using kernels::NormKind;
using kernels::NormOptions;
using kernels::RowKeys;
using kernels::Write;
using Doubles = std::vector<double>;

struct Oracle {
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

struct Rows {
  kernels::StepState step{.seed = 3};
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  explicit Rows(std::size_t N) {
    for (std::size_t n = 0; n < N; ++n) {
      sample.push_back(n / 7);
      position.push_back(static_cast<std::int32_t>(n % 7));
    }
  }
  RowKeys keys() const { return {sample.data(), position.data()}; }
  Launch launch(int threads) const {
    Launch launch;
    launch.threads = threads;
    launch.step = &step;
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

Doubles plus(const Doubles& a, const Doubles& b) {
  Doubles out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] += b[i];
  return out;
}
Doubles times(const Doubles& a, const Doubles& b) {
  Doubles out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] *= b[i];
  return out;
}

NormOptions options(bool layer, float epsilon = 1e-5F) {
  return {.kind = layer ? NormKind::kLayerNorm : NormKind::kRmsNorm, .epsilon = epsilon, .dtype = DType::kFloat32};
}

void for_shapes(const std::function<void(bool, std::size_t, std::size_t, int, const std::string&)>& body) {
  on_every_target([&](const std::string& target) {
    for (const bool layer : {true, false})
      for (const std::size_t N : {1, 7, 300})
        for (const std::size_t C : {1, 7, 64, 65, 100, 384})
          for (const int threads : {1, 2, 3})
            body(layer, N, C, threads,
                 target + " N " + std::to_string(N) + " C " + std::to_string(C) + (layer ? " layer" : " rms"));
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_oracles_gradient_is_the_numeric_one) {
  for (const bool layer : {true, false}) {
    const Oracle oracle{layer, 3, 7, 1e-5};
    Doubles x = widen(random_values(21, 1)), w = widen(random_values(7, 2)), b = widen(random_values(7, 3));
    const Doubles dy = widen(random_values(21, 4));
    const auto loss = [&] {
      double sum = 0;
      const Doubles y = oracle.forward(x, w, b);
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
      return sum;
    };
    const auto [dx, dw, db] = oracle.backward(dy, x, w);
    check_close("dx", dx, numeric_gradient(x, loss), 1e-6);
    check_close("dw", dw, numeric_gradient(w, loss), 1e-6);
    check_close("db", db, numeric_gradient(b, loss), 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(norm_matches_float64) {
  for_shapes([](bool layer, std::size_t N, std::size_t C, int threads, const std::string& what) {
    const auto x = random_values(N * C, 1, 2.0), w = random_values(C, 2), b = random_values(C, 3), dy = random_values(N * C, 4);
    const auto base_dx = random_values(N * C, 5), base_dw = random_values(C, 6), base_db = random_values(C, 7);
    const Oracle oracle{layer, N, C, 1e-5};
    const auto n = static_cast<std::int64_t>(N), c = static_cast<std::int64_t>(C);
    Launch launch;
    launch.threads = threads;
    std::vector<float> y(N * C), mean(N), rstd(N);
    float* means = layer ? mean.data() : nullptr;
    kernels::norm_forward(y.data(), means, rstd.data(), x.data(), w.data(), b.data(), n, c, options(layer), launch);
    check_close(what + " y", y, oracle.forward(widen(x), widen(w), widen(b)), 2e-6);
    kernels::norm_forward(y.data(), means, rstd.data(), x.data(), w.data(), nullptr, n, c, options(layer), launch);
    check_close(what + " y without bias", y, oracle.forward(widen(x), widen(w), {}), 2e-6);

    const auto [edx, edw, edb] = oracle.backward(widen(dy), widen(x), widen(w));
    // With C = 1 the exact gradient is 0 or nearly so, and what is left is rounding: compare with the size of its terms.
    double floor = 0;
    for (std::size_t i = 0; i < N * C; ++i) floor = std::max(floor, std::abs(double{dy[i]} * w[i % C] * rstd[i / C]));
    const auto close = [&](const std::string& name, const auto& a, const auto& e) {
      const double error = relative_error(a, e, C == 1 ? floor : 1e-30);
      BOOST_CHECK_MESSAGE(!!(error <= 5e-6), what << name << ": relative error " << error);
    };
    std::vector<float> dx(N * C), dw(C), db(C), sum_dx = base_dx, sum_dw = base_dw, sum_db = base_db, in_place = dy;
    const auto backward = [&](std::vector<float>& to, float* to_dw, float* to_db, const std::vector<float>& up, Write write) {
      kernels::norm_backward(to.data(), to_dw, to_db, up.data(), x.data(), means, rstd.data(), w.data(), n, c, write, write,
                             options(layer), launch);
    };
    backward(dx, dw.data(), db.data(), dy, Write::kAssign);
    close(" dx", dx, edx);
    check_close(what + " dw", plus(widen(dw), Doubles(C, 1)), plus(edw, Doubles(C, 1)), 5e-6);
    check_close(what + " db", db, edb, 5e-6);
    backward(sum_dx, sum_dw.data(), sum_db.data(), dy, Write::kAccumulate);
    close(" accumulated dx", sum_dx, plus(widen(base_dx), edx));
    check_close(what + " accumulated dw", sum_dw, plus(widen(base_dw), edw), 1e-5);
    check_close(what + " accumulated db", sum_db, plus(widen(base_db), edb), 5e-6);
    backward(in_place, nullptr, nullptr, in_place, Write::kAssign);
    close(" dx over dy", in_place, edx);
    std::vector<float> again(C);
    backward(dx, again.data(), nullptr, dy, Write::kAssign);
    BOOST_TEST(again == dw);  // the same bits in every run
  });
}

BOOST_AUTO_TEST_CASE(fused_residual_norm_matches_float64) {
  for_shapes([](bool layer, std::size_t N, std::size_t C, int threads, const std::string& what) {
    if (C == 1) return;  // y hardly depends on x, and its gradient is rounding
    const auto x = random_values(N * C, 1), residual = random_values(N * C, 2, 2.0), w = random_values(C, 3),
               b = random_values(C, 4), dy = random_values(N * C, 5), ds = random_values(N * C, 6);
    const Oracle oracle{layer, N, C, 1e-5};
    const Rows rows(N);
    const auto n = static_cast<std::int64_t>(N), c = static_cast<std::int64_t>(C);
    const Launch launch = rows.launch(threads);
    for (const float p : {0.0F, 0.25F}) {
      const Dropout dropout{p, 8};
      const Doubles keep = rows.multipliers(dropout, C);
      const Doubles es = plus(widen(residual), times(widen(x), keep));
      std::vector<float> s(N * C), y(N * C), mean(N), rstd(N), only_s(N * C), over = residual, over_x = x;
      float* means = layer ? mean.data() : nullptr;
      const auto forward = [&](std::vector<float>& to, float* to_y, const std::vector<float>& r,
                               const std::vector<float>& branch) {
        kernels::residual_norm_forward(to.data(), to_y, means, rstd.data(), r.data(), branch.data(), w.data(), b.data(), n, c,
                                       dropout, rows.keys(), options(layer), launch);
      };
      forward(s, y.data(), residual, x);
      check_close(what + " s", s, es, 3e-7);
      check_close(what + " y", y, oracle.forward(es, widen(w), widen(b)), 5e-6);
      forward(only_s, nullptr, residual, x);
      forward(over, nullptr, over, x);
      forward(over_x, nullptr, residual, over_x);
      BOOST_TEST(only_s == s);
      BOOST_TEST(over == s);
      BOOST_TEST(over_x == s);

      const auto [edx, edw, edb] = oracle.backward(widen(dy), widen(s), widen(w));
      const Doubles d = plus(edx, widen(ds));
      std::vector<float> dr(N * C), dx(N * C), dw(C), db(C), over_ds = ds, over_dy = dy, shared(N * C);
      const auto backward = [&](std::vector<float>& to, float* to_x, const float* up, const float* up_s) {
        kernels::residual_norm_backward(to.data(), to_x, dw.data(), db.data(), up, up_s, s.data(), means, rstd.data(), w.data(),
                                        n, c, dropout, rows.keys(), Write::kAssign, options(layer), launch);
      };
      backward(dr, dx.data(), dy.data(), ds.data());
      check_close(what + " dresidual", dr, d, 5e-6);
      check_close(what + " dx", dx, times(d, keep), 5e-6);
      check_close(what + " dw", plus(widen(dw), Doubles(C, 1)), plus(edw, Doubles(C, 1)), 5e-6);
      check_close(what + " db", db, edb, 5e-6);
      backward(over_ds, over_dy.data(), over_dy.data(), over_ds.data());
      BOOST_TEST(over_ds == dr);
      BOOST_TEST(over_dy == dx);
      if (p == 0.0F) {
        backward(shared, nullptr, dy.data(), ds.data());
        BOOST_TEST(shared == dr);
      }
      backward(dr, dx.data(), dy.data(), nullptr);
      check_close(what + " dresidual of y alone", dr, edx, 5e-6);
      backward(dr, dx.data(), nullptr, ds.data());
      BOOST_TEST(dr == ds);
      check_close(what + " dx of s alone", dx, times(widen(ds), keep), 1e-6);
      BOOST_TEST(dw == std::vector<float>(C, 0.0F));  // assigned: nothing came through the norm
    }
  });
}

BOOST_AUTO_TEST_CASE(golden_norms) {
  for (const auto& [name, layer, epsilon] :
       {std::tuple{"layer_norm", true, 1e-5F}, {"layer_norm_offset", true, 1e-12F}, {"rms_norm", false, 1e-5F}}) {
    const GoldenTensors golden(golden_path("layers/") + name + ".safetensors");
    const auto &x = golden.values("x"), &w = golden.values("weight");
    const float* bias = layer ? golden.values("bias").data() : nullptr;
    const std::size_t C = w.size(), N = x.size() / C;
    const auto n = static_cast<std::int64_t>(N), c = static_cast<std::int64_t>(C);
    std::vector<float> y(N * C), mean(N), rstd(N), dx(N * C), dw(C), db(C);
    float* means = layer ? mean.data() : nullptr;
    kernels::norm_forward(y.data(), means, rstd.data(), x.data(), w.data(), bias, n, c, options(layer, epsilon), {});
    kernels::norm_backward(dx.data(), dw.data(), layer ? db.data() : nullptr, golden.values("grad_out").data(), x.data(), means,
                           rstd.data(), w.data(), n, c, Write::kAssign, Write::kAssign, options(layer, epsilon), {});
    const bool offset = std::string(name) == "layer_norm_offset";
    check_close(std::string(name) + " out", y, golden.values("out"), offset ? 1e-5 : 1e-6);
    check_close(std::string(name) + " grad_x", dx, golden.values("grad_x"), offset ? 1e-4 : 1e-6);
    check_close(std::string(name) + " grad_weight", dw, golden.values("grad_weight"), offset ? 1e-4 : 1e-6);
    if (layer) check_close(std::string(name) + " grad_bias", db, golden.values("grad_bias"), 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(nan_reaches_its_row_and_no_other) {
  std::vector<float> x = random_values(3 * 100, 1), w(100, 1.0F), y(300), mean(3), rstd(3);
  x[150] = NAN;
  kernels::norm_forward(y.data(), mean.data(), rstd.data(), x.data(), w.data(), nullptr, 3, 100, options(true), {});
  for (std::size_t i = 0; i < 300; ++i) BOOST_REQUIRE(std::isnan(y[i]) == (i / 100 == 1));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(8), y(8), m(2), r(2), w(4);
  const auto forward = [&](const float* from, float* mean, std::int64_t C, const NormOptions& o, const Launch& launch) {
    kernels::norm_forward(y.data(), mean, r.data(), from, w.data(), nullptr, 2, C, o, launch);
  };
  BOOST_CHECK_NO_THROW(forward(x.data(), m.data(), 4, options(true), {}));
  BOOST_CHECK_THROW(forward(nullptr, m.data(), 4, options(true), {}), InternalError);
  BOOST_CHECK_THROW(forward(x.data(), nullptr, 4, options(true), {}), InternalError);
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 4, options(false), {}), InternalError);
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 0, options(true), {}), InternalError);
  NormOptions half = options(true);
  half.dtype = DType::kBFloat16;
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 4, half, {}), DeviceError);
  Launch cuda;
  cuda.device.type = kernels::DeviceType::kCuda;
  BOOST_CHECK_THROW(forward(x.data(), m.data(), 4, options(true), cuda), DeviceError);
  BOOST_CHECK_THROW(kernels::residual_norm_forward(y.data(), nullptr, nullptr, nullptr, x.data(), x.data(), nullptr, nullptr, 2,
                                                   4, {0.5F, 1}, {}, options(true), {}),
                    InternalError);
  BOOST_CHECK_THROW(kernels::residual_norm_backward(y.data(), nullptr, nullptr, nullptr, nullptr, nullptr, x.data(), m.data(),
                                                    r.data(), w.data(), 2, 4, {}, {}, Write::kAssign, options(true), {}),
                    InternalError);
}

}  // namespace tradewind::tests
