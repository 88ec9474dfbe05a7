#include "kernels/base/error.h"
#include "tests/kernels/optimizer_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {

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
