// PyTorch's values of one call of each op, in tests/golden, on the CPU.
#include "tests/kernels/golden_list.h"

BOOST_AUTO_TEST_CASE(every_op_has_pytorchs_values) {
  tradewind::tests::for_each_golden([](const std::string& what, const auto& check) {
    BOOST_TEST_CONTEXT(what) { check(tradewind::tests::GoldenWay{}); }
  });
}
