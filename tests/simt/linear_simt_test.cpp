// The CUDA kernels of a linear layer on the executor: the lists that the CPU solves, in float32 with its tolerance, in bfloat16
// with one of bfloat16; bits that do not depend on the order of anything.
#include "kernels/base/error.h"
#include "tests/kernels/linear_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

using namespace tradewind;
using namespace tradewind::tests;

namespace {

/// Solves each case in both element types.
void check_list(const std::vector<LinearCase>& cases, void (*check)(const LinearCase&)) {
  Turns turns;
  for (LinearCase c : cases)
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      c.dtype = dtype;
      turns.next(describe(c), [&](Place& place) {
        c.place = &place;
        check(c);
      });
    }
}

}  // namespace

BOOST_AUTO_TEST_CASE(forward_matches_float64) { check_list(linear_forward_cases(), check_linear_forward); }

BOOST_AUTO_TEST_CASE(forward_applies_the_activation_and_keeps_what_was_before_it) {
  check_list(linear_activation_cases(), check_linear_forward);
}

BOOST_AUTO_TEST_CASE(gradients_match_float64) { check_list(linear_gradient_cases(), check_linear_gradients); }

BOOST_AUTO_TEST_CASE(stable_rows_match_float64) {
  std::vector<LinearCase> cases = linear_forward_cases();
  cases.push_back({.M = 70, .N = 130, .K = 150, .activation = Activation::kGeluTanh, .keep = true});
  cases.push_back({.M = 70, .N = 136, .K = 152, .activation = Activation::kSilu});
  for (LinearCase& c : cases) c.stable = true;
  check_list(cases, check_linear_forward);
}

BOOST_AUTO_TEST_CASE(stable_rows_have_the_same_bits_whatever_stands_beside_them) {
  constexpr std::int64_t kRows = 90, kN = 40, kK = 72;
  const auto x = random_values(kRows * kK, 1), w = random_values(kN * kK, 2);
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const auto rows = [&](std::int64_t first, std::int64_t count) {
      std::vector<float> y(static_cast<std::size_t>(count * kN));
      turns.next("stable rows", [&](Place& place) {
        PlacedArrays at(&place, dtype);
        kernels::Launch launch = at.launch();
        launch.stable_rows = true;
        const std::vector<float> part(x.begin() + first * kK, x.begin() + (first + count) * kK);
        kernels::linear_forward(at.elements(y), nullptr, at.read(part), at.read(w), nullptr, {count, kN, kK}, {.dtype = dtype},
                                launch);
        at.fetch();
      });
      return y;
    };
    const auto all = rows(0, kRows);
    for (const std::int64_t count : {1, 2, 5, 33}) {
      const auto part = rows(50, count);
      BOOST_CHECK_MESSAGE(std::equal(part.begin(), part.end(), all.begin() + 50 * kN), count << " rows");
    }
  }
}

// More rows than a part of the sum has, in several parts; and so many columns that there is one.
BOOST_AUTO_TEST_CASE(bias_gradients_of_many_rows_match_float64) {
  check_list({{.M = 1500, .N = 72, .K = 1},
              {.M = 1500, .N = 72, .K = 1, .pad = 3, .write = Write::kAccumulate},
              {.M = 70, .N = 700, .K = 1}},
             check_linear_gradients);
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_order_of_threads_and_blocks) {
  const LinearShape shape{600, 70, 8};
  const auto dy = random_values(600 * 70, 1), x = random_values(600 * 8, 2);
  std::vector<float> first;
  Turns turns;
  for (int run = 0; run < 4; ++run)
    turns.next("bias gradient", [&](Place& place) {
      PlacedArrays at(&place, DType::kFloat32);
      std::vector<float> dw(70 * 8), db(70);
      kernels::linear_backward_weight(at.array(dw), at.array(db), at.read(dy), at.read(x), shape, Write::kAssign, {},
                                      at.launch());
      at.fetch();
      if (run == 0) first = db;
      BOOST_TEST(db == first);
    });
}

BOOST_AUTO_TEST_CASE(no_rows_give_zero_weight_gradients) {
  for (const Write write : {Write::kAssign, Write::kAccumulate}) {
    std::vector<float> dw(6, 7.0F), db(3, 7.0F);
    Turns().next("no rows", [&](Place& place) {
      PlacedArrays at(&place, DType::kFloat32);
      kernels::linear_forward(nullptr, nullptr, nullptr, nullptr, nullptr, {0, 3, 2}, {}, at.launch());
      kernels::linear_backward_weight(at.array(dw), at.array(db), nullptr, nullptr, {0, 3, 2}, write, {}, at.launch());
      at.fetch();
    });
    const float expected = write == Write::kAssign ? 0.0F : 7.0F;
    BOOST_TEST(dw == std::vector<float>(6, expected));
    BOOST_TEST(db == std::vector<float>(3, expected));
  }
}

BOOST_AUTO_TEST_CASE(what_the_kernels_cannot_do_says_so) {
  Turns().next("refusals", [](Place& place) {
    PlacedArrays at(&place, DType::kFloat32);
    std::vector<float> x(8), y(8);
    void *in = at.read(x), *out = at.elements(y);
    const kernels::Launch launch = at.launch();
    const auto forward = [&](DType dtype) {
      kernels::linear_forward(out, nullptr, in, in, nullptr, {2, 2, 2}, {.dtype = dtype}, launch);
    };
    check_throws<DeviceError>([&] { forward(DType::kFloat64); }, {"linear_forward", "bfloat16 and float32", "float64"});
  });
}
