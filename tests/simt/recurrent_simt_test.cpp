// The CUDA kernels of a recurrent layer on the executor: the list of cases that the CPU solves, in both element types.
#include "tests/kernels/recurrent_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(states_and_gradients_match_float64) {
  Turns turns;
  for (RecurrentCase c : recurrent_cases())
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      c.dtype = dtype;
      // dw of one channel is a sum of one number's terms, of either sign: what bfloat16 rounds off of each shows more.
      const double narrow = c.H == 1 ? 8e-2 : 3e-2;
      turns.next(describe(c), [&](Place& place) {
        c.place = &place;
        check_recurrent(c, dtype == DType::kBFloat16 ? narrow : 3e-6);
      });
    }
}

}  // namespace tradewind::tests
