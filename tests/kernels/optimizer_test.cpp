#include "kernels/optimizer.h"

#include <algorithm>
#include <limits>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::AdamOptions;
using kernels::Launch;
using kernels::Segment;
using kernels::SgdOptions;
using kernels::StepState;

// Segments of awkward sizes and positions, with holes between them that nobody may touch.
struct Layout {
  std::vector<Segment> segments;
  std::size_t size = 0;
  explicit Layout(const std::vector<std::int64_t>& sizes) {
    std::int64_t at = 3;
    for (const std::int64_t n : sizes) {
      segments.push_back({at, at + n, segments.size() % 2 == 0 ? 0.1F : 0.0F, segments.size() % 3 == 0 ? 1.0F : 0.5F});
      at += n + static_cast<std::int64_t>(segments.size() % 2) * 5;
    }
    size = static_cast<std::size_t>(at + 3);
  }
  std::int64_t count() const { return static_cast<std::int64_t>(segments.size()); }
};

const std::vector<std::vector<std::int64_t>> kLayouts = {
    {1}, {7}, {64}, {65}, {100}, {1, 7, 0, 64, 65, 100}, {40001}, {16385, 1, 30000, 2}};

struct Oracle {
  std::vector<double> p, m, v;
  void adam(const std::vector<float>& gradient, const Layout& layout, const AdamOptions& o, const StepState& s) {
    const double b1 = o.beta1, b2 = o.beta2, c1 = 1 - std::pow(b1, s.step), c2 = 1 - std::pow(b2, s.step);
    for (const Segment& segment : layout.segments)
      for (auto i = static_cast<std::size_t>(segment.begin); i < static_cast<std::size_t>(segment.end); ++i) {
        const double rate = static_cast<double>(s.learning_rate) * segment.rate, decay = segment.weight_decay;
        double g = static_cast<double>(s.gradient_scale) * gradient[i];
        if (o.decoupled)
          p[i] -= rate * decay * p[i];
        else
          g += decay * p[i];
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        p[i] -= rate * (m[i] / c1) / (std::sqrt(v[i] / c2) + o.epsilon);
      }
  }
  void sgd(const std::vector<float>& gradient, const Layout& layout, const SgdOptions& o, const StepState& s) {
    for (const Segment& segment : layout.segments)
      for (auto i = static_cast<std::size_t>(segment.begin); i < static_cast<std::size_t>(segment.end); ++i) {
        double g = static_cast<double>(s.gradient_scale) * gradient[i] + static_cast<double>(segment.weight_decay) * p[i];
        if (o.momentum != 0) {
          m[i] = s.step == 1 ? g : o.momentum * m[i] + (1.0 - o.dampening) * g;
          g = o.nesterov ? g + o.momentum * m[i] : m[i];
        }
        p[i] -= static_cast<double>(s.learning_rate) * segment.rate * g;
      }
  }
};

// Runs `steps` with the kernel and the oracle; returns what the kernel made of p, m and v, one after another.
template <class Kernel, class Reference>
std::vector<float> run(const std::string& what, const Layout& layout, int threads, const Kernel& kernel,
                       const Reference& reference) {
  auto p = random_values(layout.size, 1), m = std::vector<float>(layout.size, 0.0F), v = m;
  const auto before = p;
  Oracle oracle{widen(p), widen(m), widen(v)};
  StepState state;
  Launch launch;
  launch.threads = threads;
  launch.step = &state;
  for (std::uint32_t step = 1; step <= 5; ++step) {
    state.step = step;
    state.learning_rate = 0.01F * static_cast<float>(step);
    state.gradient_scale = step % 2 == 0 ? 0.3F : 1.0F;
    auto gradient = random_values(layout.size, 10 + step);
    kernel(p, m, v, gradient, launch);
    reference(oracle, gradient, state);
  }
  check_close(what + " parameter", p, oracle.p, 2e-6);
  check_close(what + " first state", m, oracle.m, 2e-6);
  check_close(what + " second state", v, oracle.v, 2e-6);
  std::vector<bool> inside(layout.size, false);
  for (const Segment& s : layout.segments) std::fill(inside.begin() + s.begin, inside.begin() + s.end, true);
  for (std::size_t i = 0; i < layout.size; ++i)
    if (!inside[i])
      BOOST_REQUIRE_MESSAGE(p[i] == before[i] && m[i] == 0 && v[i] == 0, what << " wrote between segments, at " << i);
  p.insert(p.end(), m.begin(), m.end());
  p.insert(p.end(), v.begin(), v.end());
  return p;
}

// Softmax regression of golden/optim/problem: the gradient at weight and bias, in float64.
struct Problem {
  GoldenTensors golden{golden_path("optim/problem.safetensors")};
  const std::vector<float>& x = golden.values("x");
  const std::vector<std::int64_t>& labels = golden["labels"].ints;
  static constexpr std::size_t kClasses = 6, kFeatures = 10;

  // parameters: weight [6, 10], then bias [6].
  std::vector<float> gradient(const std::vector<float>& parameters) const {
    std::vector<double> out(parameters.size());
    const float* bias = parameters.data() + kClasses * kFeatures;
    for (std::size_t n = 0; n < labels.size(); ++n) {
      double logit[kClasses], most = -1e300, sum = 0;
      for (std::size_t k = 0; k < kClasses; ++k) {
        logit[k] = bias[k];
        for (std::size_t c = 0; c < kFeatures; ++c)
          logit[k] += static_cast<double>(parameters[k * kFeatures + c]) * x[n * kFeatures + c];
        most = std::max(most, logit[k]);
      }
      for (double& l : logit) sum += l = std::exp(l - most);
      for (std::size_t k = 0; k < kClasses; ++k) {
        const double g = (logit[k] / sum - (static_cast<std::int64_t>(k) == labels[n])) / static_cast<double>(labels.size());
        for (std::size_t c = 0; c < kFeatures; ++c) out[k * kFeatures + c] += g * x[n * kFeatures + c];
        out[kClasses * kFeatures + k] += g;
      }
    }
    return {out.begin(), out.end()};
  }
};

template <class Update>
void follow_golden(const std::string& name, float rate, float decay, const Update& update) {
  const Problem problem;
  const GoldenTensors golden(golden_path("optim/" + name + ".safetensors"));
  const auto &weight = golden.values("weight"), &bias = golden.values("bias");
  std::vector<float> p(problem.golden.values("weight"));
  p.insert(p.end(), problem.golden.values("bias").begin(), problem.golden.values("bias").end());
  std::vector<float> m(p.size()), v(p.size());
  const std::vector<Segment> segments = {{0, 60, decay}, {60, 66, decay}};
  StepState state;
  state.learning_rate = rate;
  Launch launch;
  launch.step = &state;
  for (std::size_t t = 1; t <= 20; ++t) {
    state.step = static_cast<std::int64_t>(t);
    const auto gradient = problem.gradient(p);
    update(p.data(), m.data(), v.data(), gradient.data(), segments.data(), std::int64_t{2}, launch);
    std::vector<float> expected(weight.begin() + static_cast<std::ptrdiff_t>(t) * 60,
                                weight.begin() + static_cast<std::ptrdiff_t>(t + 1) * 60);
    expected.insert(expected.end(), bias.begin() + static_cast<std::ptrdiff_t>(t) * 6,
                    bias.begin() + static_cast<std::ptrdiff_t>(t + 1) * 6);
    check_close(name + " step " + std::to_string(t), p, expected, 5e-6);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(adam_matches_float64_and_its_bits_do_not_depend_on_threads) {
  on_every_target([](const std::string& target) {
    for (const bool decoupled : {true, false})
      for (const auto& sizes : kLayouts) {
        const Layout layout(sizes);
        const AdamOptions options{.beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 1e-6F, .decoupled = decoupled};
        std::vector<float> one;
        for (const int threads : {1, 2, 3}) {
          const auto got = run(
              target + (decoupled ? " adamw" : " adam with L2"), layout, threads,
              [&](auto& p, auto& m, auto& v, auto& g, const Launch& launch) {
                kernels::adam_update(p.data(), m.data(), v.data(), g.data(), layout.segments.data(), layout.count(), options,
                                     launch);
              },
              [&](Oracle& o, auto& g, const StepState& s) { o.adam(g, layout, options, s); });
          if (threads == 1) one = got;
          BOOST_TEST((got == one));
        }
      }
  });
}

BOOST_AUTO_TEST_CASE(sgd_matches_float64_in_all_its_forms) {
  on_every_target([](const std::string& target) {
    for (const SgdOptions& options :
         {SgdOptions{}, SgdOptions{.momentum = 0.9F}, SgdOptions{.momentum = 0.9F, .dampening = 0.5F},
          SgdOptions{.momentum = 0.9F, .nesterov = true}})
      for (const auto& sizes : kLayouts)
        for (const int threads : {1, 2, 3}) {
          const Layout layout(sizes);
          run(
              target + " sgd", layout, threads,
              [&](auto& p, auto& m, auto&, auto& g, const Launch& launch) {
                kernels::sgd_update(p.data(), options.momentum == 0 ? nullptr : m.data(), g.data(), layout.segments.data(),
                                    layout.count(), options, launch);
              },
              [&](Oracle& o, auto& g, const StepState& s) { o.sgd(g, layout, options, s); });
        }
  });
}

BOOST_AUTO_TEST_CASE(sgd_ignores_what_the_momentum_buffer_holds_before_the_first_step) {
  std::vector<float> p = {1}, b = {std::numeric_limits<float>::quiet_NaN()}, g = {2};
  const Segment segment{0, 1, 0.0F};
  StepState state;
  state.step = 1;
  state.learning_rate = 0.25F;
  Launch launch;
  launch.step = &state;
  kernels::sgd_update(p.data(), b.data(), g.data(), &segment, 1, {.momentum = 0.9F, .dampening = 0.5F}, launch);
  BOOST_TEST(p[0] == 0.5F);
  BOOST_TEST(b[0] == 2.0F);
}

BOOST_AUTO_TEST_CASE(twenty_steps_follow_pytorch) {
  const auto adam = [](const AdamOptions& options) {
    return [options](auto... arguments) {
      const auto call = [&](float* p, float* m, float* v, const float* g, const Segment* s, std::int64_t n, const Launch& l) {
        kernels::adam_update(p, m, v, g, s, n, options, l);
      };
      call(arguments...);
    };
  };
  const auto sgd = [](const SgdOptions& options) {
    return [options](float* p, float* m, float*, const float* g, const Segment* s, std::int64_t n, const Launch& l) {
      kernels::sgd_update(p, m, g, s, n, options, l);
    };
  };
  follow_golden("adam", 0.05F, 0.0F, adam({}));
  follow_golden("adam_l2", 0.05F, 0.1F, adam({.decoupled = false}));
  follow_golden("adamw", 0.05F, 0.1F, adam({.beta2 = 0.95F}));
  follow_golden("sgd", 0.5F, 0.0F, sgd({}));
  follow_golden("sgd_momentum", 0.2F, 0.01F, sgd({.momentum = 0.9F}));
  follow_golden("sgd_dampening", 0.2F, 0.0F, sgd({.momentum = 0.9F, .dampening = 0.5F}));
  follow_golden("sgd_nesterov", 0.2F, 0.0F, sgd({.momentum = 0.9F, .nesterov = true}));
}

BOOST_AUTO_TEST_CASE(squared_norm_is_exact_to_float64_and_the_same_for_any_thread_count) {
  on_every_target([](const std::string& target) {
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{65}, std::size_t{16384},
                                    std::size_t{16385}, std::size_t{100003}}) {
      const auto x = random_values(count, 5);
      long double expected = 0;
      for (const float value : x) expected += static_cast<long double>(value) * value;
      double one = -1;
      for (const int threads : {1, 2, 3, 8}) {
        Launch launch;
        launch.threads = threads;
        double sum = -1;
        kernels::squared_norm(&sum, x.data(), static_cast<std::int64_t>(count), launch);
        BOOST_CHECK_MESSAGE(!!(std::abs(sum - static_cast<double>(expected)) <= 1e-13 * static_cast<double>(expected)),
                            target << " " << count << ": " << sum);
        if (threads == 1) one = sum;
        BOOST_TEST(sum == one);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(a_value_that_is_not_finite_shows_in_the_squared_norm) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()})
    for (const std::size_t at : {0U, 31U, 20000U, 40000U}) {
      std::vector<float> x(40001, 1e-3F);
      x[at] = bad;
      double sum = 0;
      kernels::squared_norm(&sum, x.data(), 40001, Launch{});
      BOOST_TEST(!std::isfinite(sum));
    }
  // Squares that overflow float32 do not.
  const std::vector<float> large(100, 3e38F);
  double sum = 0;
  kernels::squared_norm(&sum, large.data(), 100, Launch{});
  BOOST_TEST(std::isfinite(sum));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(4);
  Segment segment{0, 4, 0.0F};
  StepState state;
  state.step = 1;
  Launch launch;
  BOOST_CHECK_THROW(kernels::adam_update(x.data(), x.data(), x.data(), x.data(), &segment, 1, {}, launch), InternalError);
  launch.step = &state;
  BOOST_CHECK_THROW(kernels::adam_update(x.data(), nullptr, x.data(), x.data(), &segment, 1, {}, launch), InternalError);
  BOOST_CHECK_THROW(kernels::adam_update(x.data(), x.data(), x.data(), x.data(), &segment, 1, {.beta1 = 1.0F}, launch),
                    InternalError);
  BOOST_CHECK_THROW(kernels::sgd_update(x.data(), nullptr, x.data(), &segment, 1, {.momentum = 0.9F}, launch), InternalError);
  BOOST_CHECK_THROW(kernels::squared_norm(nullptr, x.data(), 4, launch), InternalError);
  segment.end = -1;
  BOOST_CHECK_THROW(kernels::sgd_update(x.data(), nullptr, x.data(), &segment, 1, {}, launch), InternalError);
  segment.end = 4;
  state.step = 0;
  BOOST_CHECK_THROW(kernels::sgd_update(x.data(), nullptr, x.data(), &segment, 1, {}, launch), InternalError);
  state.step = 1;
  launch.device.type = kernels::DeviceType::kCuda;
  BOOST_CHECK_THROW(kernels::sgd_update(x.data(), nullptr, x.data(), &segment, 1, {}, launch), DeviceError);
}

}  // namespace tradewind::tests
