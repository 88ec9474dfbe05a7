// The CUDA kernel of the gate on the executor: the list of cases that the CPU solves, in both element types.
#include "tests/kernels/gate_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(products_match_float64) {
  Turns turns;
  for_each_gate_case([&](const std::string& what, const kernels::GateShape& shape) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      turns.next(what, [&](Place& place) { check_gate(what, shape, {.place = &place, .dtype = dtype}); });
  });
}

}  // namespace tradewind::tests
