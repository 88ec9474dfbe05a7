// The CUDA conversions on the executor: what the CPU must do, with and without whole vectors.
#include "tests/kernels/convert_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(floats_become_the_nearest_bfloat16) {
  Turns turns;
  for (const std::size_t skip : {0U, 1U})
    for (const std::size_t count : {1U, 7U, 8U, 2047U, 5000U}) {
      auto x = floats_around_bfloat16(7);
      x.resize(count);
      turns.both("convert", [&](Place& place) { check_to_bfloat16("to bfloat16", x, &place, 1, skip); });
    }
  turns.next("all", [](Place& place) { check_to_bfloat16("all", floats_around_bfloat16(5), &place); });
}

BOOST_AUTO_TEST_CASE(every_bfloat16_becomes_the_same_float) {
  Turns turns;
  for (const std::size_t skip : {0U, 1U})
    for (const std::size_t count : {1U, 8U, 65535U})
      turns.next("convert", [&](Place& place) { check_to_float32("to float32", &place, count, 1, skip); });
}

}  // namespace tradewind::tests
