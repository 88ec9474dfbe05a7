// The CUDA kernel of RoPE on the executor: the cases that the CPU solves, in float32 and bfloat16, with whole vectors and
// without.
#include "kernels/base/error.h"
#include "tests/kernels/rope_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(rotation_matches_float64) {
  Turns turns;
  for (const RopeCase& c : rope_cases())
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      if (c.N == 600 && (c.backward || c.first == 1000)) continue;  // the rest is the same with fewer rows
      turns.next("rope", [&](Place& place) { check_rope("rope", c, dtype, {.place = &place}); });
    }
}

// Rows at multiples of 16 bytes: vectors, of one head or of two halves of one.
BOOST_AUTO_TEST_CASE(rows_of_whole_vectors_match_float64) {
  Turns turns;
  for (const RopeLayout layout : {RopeLayout::kHalf, RopeLayout::kInterleaved})
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      for (const std::size_t D : {4U, 8U, 16U, 24U, 64U, 100U, 600U})
        for (const std::size_t skip : {0U, 1U})
          turns.next("vectors", [&](Place& place) {
            check_rope("vectors", {layout, 70, D, 100, D % 16 == 0, 8}, dtype, {.place = &place, .skip = skip});
          });
}

// Turns far out are as exact as near ones: 2^31 - 132 is the largest first position of a case.
BOOST_AUTO_TEST_CASE(the_farthest_positions_match_float64) {
  Turns turns;
  for (const int first : {123456789, 2147483516})
    turns.both("far", [&](Place& place) {
      check_rope("far", {RopeLayout::kHalf, 40, 64, first, false}, DType::kFloat32, {.place = &place});
    });
}

BOOST_AUTO_TEST_CASE(heads_too_wide_and_other_dtypes_say_what_to_do) {
  Turns turns;
  turns.next("refusals", [](Place& place) {
    const auto apply = [&](std::size_t D, DType dtype) {
      std::vector<float> x(D);
      apply_rope(x, {0}, 1, D, D, {.dtype = dtype}, {.place = &place});
    };
    check_throws<DeviceError>([&] { apply(8194, DType::kFloat32); }, {"8194 elements", "8192", "device = \"cpu\""});
    check_throws<DeviceError>([&] { apply(8, DType::kFloat64); }, {"bfloat16 and float32", "float64"});
  });
}

}  // namespace tradewind::tests
