// The CUDA kernels of l2_normalize on the executor: the list of cases that the CPU solves, in both element types.
#include "tests/kernels/l2_normalize_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(rows_and_gradients_match_float64) {
  Turns turns;
  for_each_l2_case([&](const std::string& what, std::int64_t N, std::int64_t C, float epsilon, Write write) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      turns.next(what, [&](Place& place) {
        check_l2_normalize(what, N, C, epsilon, write, {.place = &place, .dtype = dtype},
                           dtype == DType::kBFloat16 ? 1e-2 : 2e-6);
      });
  });
}

}  // namespace tradewind::tests
