// The CUDA kernels of the optimisers and the norm on the executor: the cases that the CPU solves, arrays that are aligned and
// that are not, the scalars of a captured step, bits that do not depend on the order of anything.
#include "tests/kernels/optimizer_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

/// Ways go round: aligned or not, with a copy or not, with the number of elements or not.
UpdateWay way(Place& place, std::size_t turn) {
  return {.place = &place, .copy = turn % 2 == 0, .sized = turn != 5, .skip = turn % 3 == 2 ? 1U : 0U};
}

}  // namespace

BOOST_AUTO_TEST_CASE(adam_matches_float64) {
  Turns turns;
  std::size_t turn = 0;
  for (const bool decoupled : {true, false})
    for (const auto& sizes : kLayouts)
      for (int schedule = 0; schedule < 2; ++schedule, ++turn)
        turns.next("adam", [&](Place& place) {
          check_updates(decoupled ? "adamw" : "adam with L2", Layout(sizes), adam_case(decoupled), way(place, turn));
        });
}

BOOST_AUTO_TEST_CASE(sgd_matches_float64_in_all_its_forms) {
  Turns turns;
  std::size_t turn = 0;
  for (const SgdOptions& options : kSgdCases)
    for (const auto& sizes : kLayouts)
      turns.next("sgd", [&](Place& place) { check_updates("sgd", Layout(sizes), options, way(place, turn++)); });
}

BOOST_AUTO_TEST_CASE(adagrad_matches_float64) {
  Turns turns;
  std::size_t turn = 0;
  for (const auto& sizes : kLayouts)
    turns.next("adagrad", [&](Place& place) { check_updates("adagrad", Layout(sizes), kAdagradCase, way(place, turn++)); });
}

// More segments than a block looks at at a time, more chunks than blocks, and an empty one at each seam.
BOOST_AUTO_TEST_CASE(many_segments_are_each_updated_once) {
  std::vector<std::int64_t> sizes(700, 3);
  for (const std::size_t i : {0U, 100U, 255U, 256U, 511U, 512U, 699U}) sizes[i] = 0;
  sizes[254] = 9000, sizes[513] = 5000;
  Turns turns;
  turns.both("many segments", [&](Place& place) {
    check_updates("many segments", Layout(sizes), adam_case(true), {.place = &place, .sized = true});
  });
}

// What a momentum buffer holds before the first step is not even read: the executor would say so.
BOOST_AUTO_TEST_CASE(sgd_ignores_the_momentum_buffer_in_the_first_step) {
  Turns turns;
  turns.both("first step", [](Place& place) {
    std::vector<float> p(8, 1.0F), b(8);
    const std::vector<float> g(8, 2.0F);
    const std::vector<Segment> segments = {{0, 8, 0.0F}};
    const StepState state{.step = 1, .learning_rate = 0.25F};
    PlacedArrays at(&place, kernels::DType::kFloat32);
    Launch launch = at.launch();
    launch.step = at.value(state);
    auto* momentum = static_cast<float*>(launch.scratch->acquire(32));
    auto* parameter = at.array(p);
    kernels::sgd_update(parameter, momentum, at.values(g), at.values(segments), 1,
                        {.momentum = 0.9F, .dampening = 0.5F, .elements = 8}, launch);
    at.fetch();
    place.get(b.data(), momentum, 32);
    launch.scratch->release(momentum, 32);
    BOOST_TEST(p == std::vector<float>(8, 0.5F));
    BOOST_TEST(b == std::vector<float>(8, 2.0F));
  });
}

// Rate, clipping and t of a captured step are those of its replay.
BOOST_AUTO_TEST_CASE(a_captured_update_reads_the_scalars_of_its_step) {
  for (const bool adam : {true, false}) {
    Turns turns;
    turns.both("captured", [&](Place& place) {
      std::vector<float> p(4, 1.0F), m(4, 0.0F), v(4, 0.0F);
      const std::vector<float> g = {1, -2, 3, 0.5F};
      const std::vector<Segment> segments = {{0, 4, 0.1F}};
      OptimizerOracle oracle{widen(p), widen(m), widen(v)};
      Layout layout({1});
      layout.segments = segments;
      PlacedArrays at(&place, kernels::DType::kFloat32);
      StepState state{.step = 1, .learning_rate = 0.1F, .gradient_scale = 0.5F};
      Launch launch = at.launch();
      launch.step = at.value(state);
      auto *on_p = at.array(p), *on_m = at.array(m), *on_v = at.array(v);
      const auto* on_g = at.values(g);
      const auto* on_segments = at.values(segments);
      AdamOptions adam_options = adam_case(true);
      adam_options.elements = 4;
      const SgdOptions sgd_options{.momentum = 0.9F, .elements = 4};
      const auto replay = place.capture([&] {
        if (adam)
          kernels::adam_update(on_p, on_m, on_v, on_g, on_segments, 1, adam_options, launch);
        else
          kernels::sgd_update(on_p, on_m, on_g, on_segments, 1, sgd_options, launch);
      });
      for (int step = 1; step <= 3; ++step) {
        state.step = step, state.learning_rate = 0.1F / static_cast<float>(step), state.gradient_scale = 0.5F + 0.5F * step;
        place.overwrite(const_cast<StepState*>(launch.step), &state, sizeof state);
        replay();
        at.fetch();
        adam ? oracle.update(g, layout, adam_options, state) : oracle.update(g, layout, sgd_options, state);
        check_close("parameter", p, oracle.p, 2e-6);
        check_close("first state", m, oracle.m, 2e-6);
        check_close("second state", v, oracle.v, 2e-6);
      }
    });
  }
}

BOOST_AUTO_TEST_CASE(squared_norm_is_exact_to_float64_and_has_one_value) {
  Turns turns;
  for (const std::size_t count : kNormCounts) {
    const auto x = random_values(count, 5);
    double one = -1;
    for (const std::size_t skip : {0U, 0U, 1U})  // nor do the bits depend on the alignment
      turns.next("norm", [&](Place& place) {
        const double sum = norm_of(x, &place, 1, skip);
        check_norm("norm", x, sum);
        BOOST_TEST((one == -1 || sum == one));
        one = sum;
      });
  }
}

BOOST_AUTO_TEST_CASE(a_value_that_is_not_finite_shows_in_the_squared_norm) {
  Turns turns;
  for (const float bad : kBadValues)
    for (const std::size_t place_of_bad : kBadPlaces)
      turns.next("norm", [&](Place& place) {
        std::vector<float> x(40001, 1e-3F);
        x[place_of_bad] = bad;
        BOOST_TEST(!std::isfinite(norm_of(x, &place)));
      });
  turns.next("norm", [&](Place& place) { BOOST_TEST(std::isfinite(norm_of(std::vector<float>(100, 3e38F), &place))); });
}

}  // namespace tradewind::tests
