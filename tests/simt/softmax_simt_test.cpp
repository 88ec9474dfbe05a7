// The CUDA kernels of softmax on the executor: the cases that the CPU solves, in float32 and bfloat16, rows of every shape that
// the kernels are compiled for, in place and not; bits that do not depend on the order of anything.
#include "tests/kernels/softmax_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16};

BOOST_AUTO_TEST_CASE(forward_and_backward_match_float64) {
  Turns turns;
  for (const auto& shape : kSoftmaxShapes)
    for (const DType dtype : kTypes)
      for (const bool log : {false, true})
        for (const bool in_place : {false, true}) {
          const std::int64_t N = shape[0], C = shape[1];
          turns.next("softmax", [&](Place& place) {
            check_softmax("softmax", N, C, log, {.place = &place, .dtype = dtype, .in_place = in_place});
          });
        }
}

// Groups of 4 to 32 lanes with 1 to 8 vectors each, the longest row of a group, rows of a block with and without whole vectors.
BOOST_AUTO_TEST_CASE(rows_of_every_shape_match_float64) {
  Turns turns;
  for (const std::int64_t C : {4, 8, 24, 40, 72, 136, 264, 520, 1023, 1024, 1025, 1032, 4104})
    for (const DType dtype : kTypes)
      for (const bool log : {false, true})
        turns.next("rows", [&](Place& place) {
          check_softmax("rows", 11, C, log, {.place = &place, .dtype = dtype, .in_place = C % 3 == 0, .skip = log ? 1U : 0U});
        });
}

BOOST_AUTO_TEST_CASE(masked_elements_and_rows_give_zeros_and_nan_shows) {
  Turns turns;
  turns.both("extremes", [](Place& place) { check_softmax_extremes({.place = &place}); });
}

// The same in rows of a block: what is masked, a row of nothing else, and a NaN wherever it stands.
BOOST_AUTO_TEST_CASE(long_rows_that_are_masked_or_hold_nan) {
  constexpr std::int64_t kC = 3000;
  Turns turns;
  for (const bool log : {false, true})
    turns.both("long rows", [&](Place& place) {
      std::vector<float> x(4 * kC, -INFINITY), y(4 * kC);
      x[2900] = 1, x[5] = 1;  // row 0: two are left
      for (std::int64_t c = 0; c < kC; ++c) x[2 * kC + c] = 0.001F * static_cast<float>(c);
      x[2 * kC + 2999] = NAN;  // row 2
      x[3 * kC + 7] = 3e38F, x[3 * kC + 2000] = -3e38F;
      run_softmax(y, x, kC, log, {.place = &place});
      const float none = log ? -INFINITY : 0.0F, half = log ? std::log(0.5F) : 0.5F, one = log ? 0.0F : 1.0F;
      for (std::int64_t c = 0; c < kC; ++c) {
        BOOST_TEST_REQUIRE((c == 5 || c == 2900 ? std::abs(y[c] - half) < 1e-6F : y[c] == none));
        BOOST_TEST_REQUIRE(y[kC + c] == none);
        BOOST_TEST_REQUIRE(std::isnan(y[2 * kC + c]));
        BOOST_TEST_REQUIRE(y[3 * kC + c] == (c == 7 ? one : none));
      }
    });
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_order_of_threads_and_blocks) {
  for (const std::int64_t C : {100, 3000}) {
    const auto x = random_values(5 * C, 1, 3), dy = random_values(5 * C, 2);
    std::vector<float> first_y, first_dx;
    Turns turns;
    for (int turn = 0; turn < 6; ++turn)
      turns.next("order", [&](Place& place) {
        std::vector<float> y(5 * C), dx(5 * C);
        run_softmax(y, x, C, false, {.place = &place});
        run_softmax_backward(dx, dy, y, C, false, Write::kAssign, {.place = &place});
        if (turn == 0) first_y = y, first_dx = dx;
        BOOST_TEST((y == first_y && dx == first_dx));
      });
  }
}

}  // namespace tradewind::tests
