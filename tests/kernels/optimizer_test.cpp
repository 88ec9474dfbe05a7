#include "kernels/base/error.h"
#include "tests/kernels/optimizer_case.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

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
void follow_golden(const std::string& name, float rate, float decay, const Update& update, float first_state = 0) {
  const Problem problem;
  const GoldenTensors golden(golden_path("optim/" + name + ".safetensors"));
  const auto &weight = golden.values("weight"), &bias = golden.values("bias");
  std::vector<float> p(problem.golden.values("weight"));
  p.insert(p.end(), problem.golden.values("bias").begin(), problem.golden.values("bias").end());
  std::vector<float> m(p.size(), first_state), v(p.size());
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
        std::vector<float> one;
        for (const int threads : {1, 2, 3}) {
          const auto got = check_updates(target + (decoupled ? " adamw" : " adam with L2"), layout, adam_case(decoupled),
                                         {.threads = threads, .copy = threads > 1});
          if (threads == 1) one = got;
          BOOST_TEST((got == one));
        }
      }
  });
}

BOOST_AUTO_TEST_CASE(sgd_matches_float64_in_all_its_forms) {
  on_every_target([](const std::string& target) {
    for (const SgdOptions& options : kSgdCases)
      for (const auto& sizes : kLayouts)
        for (const int threads : {1, 2, 3})
          check_updates(target + " sgd", Layout(sizes), options, {.threads = threads, .copy = threads > 1});
  });
}

BOOST_AUTO_TEST_CASE(adagrad_matches_float64_and_its_bits_do_not_depend_on_threads) {
  on_every_target([](const std::string& target) {
    for (const auto& sizes : kLayouts) {
      std::vector<float> one;
      for (const int threads : {1, 2, 3}) {
        const auto got =
            check_updates(target + " adagrad", Layout(sizes), kAdagradCase, {.threads = threads, .copy = threads > 1});
        if (threads == 1) one = got;
        BOOST_TEST((got == one));
      }
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
  const auto adagrad = [](float* p, float* sum, float*, const float* g, const Segment* s, std::int64_t n, const Launch& l) {
    kernels::adagrad_update(p, sum, g, s, n, {.epsilon = 1e-10F}, l);
  };
  follow_golden("adagrad", 0.3F, 0.0F, adagrad, 0.1F);
}

BOOST_AUTO_TEST_CASE(squared_norm_is_exact_to_float64_and_the_same_for_any_thread_count) {
  on_every_target([](const std::string& target) {
    for (const std::size_t count : kNormCounts) {
      const auto x = random_values(count, 5);
      const double one = norm_of(x);
      check_norm(target, x, one);
      for (const int threads : {2, 3, 8}) BOOST_TEST(norm_of(x, nullptr, threads) == one);
    }
  });
}

BOOST_AUTO_TEST_CASE(a_value_that_is_not_finite_shows_in_the_squared_norm) {
  for (const float bad : kBadValues)
    for (const std::size_t at : kBadPlaces) {
      std::vector<float> x(40001, 1e-3F);
      x[at] = bad;
      BOOST_TEST(!std::isfinite(norm_of(x)));
    }
  // Squares that overflow float32 do not.
  BOOST_TEST(std::isfinite(norm_of(std::vector<float>(100, 3e38F))));
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
  BOOST_CHECK_THROW(kernels::adagrad_update(x.data(), nullptr, x.data(), &segment, 1, {}, launch), InternalError);
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
