// PyTorch's values of one call of each op, in tests/golden, by the CUDA kernels on the executor, in float32.
#include "tests/kernels/golden_list.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(every_op_has_pytorchs_values) {
  Turns turns;
  for_each_golden([&](const std::string& what, const auto& check) {
    BOOST_TEST_CONTEXT(what) {
      turns.both(what, [&](Place& place) { check(GoldenWay{&place}); });
    }
  });
}

}  // namespace tradewind::tests
