// Cases large enough to fill a GPU, which the executor of tests/simt has no time for: thousands of blocks that really run at
// once.
#include "tests/kernels/activation_case.h"
#include "tests/kernels/embedding_bag_case.h"
#include "tests/kernels/norm_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(large_embedding_bags_agree_with_float64) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    for (const BagMethod& method : kBagMethods) {
      const BagCase c{
          .tables = {3, 5000, 20}, .B = 3000, .C = 64, .mode = method.mode, .weighted = method.weighted, .dtype = dtype};
      turns.next(describe(c), [&](Place& place) {
        BagCase large = c;
        large.prepare(11);
        check_case(large, &place);
      });
    }
}

BOOST_AUTO_TEST_CASE(norms_of_many_rows_match_float64) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    for (const std::size_t C : {768, 4096}) {
      NormCase c{.layer = true, .N = 5000, .C = C, .dtype = dtype};
      turns.next(describe(c), [&](Place& place) {
        c.place = &place;
        check_norm(c);
        check_residual_norm(c);
      });
    }
}

BOOST_AUTO_TEST_CASE(activations_of_many_elements_match_float64) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    ActivationCase c{.activation = Activation::kGeluTanh, .count = 1 << 20, .skipped = 0, .dtype = dtype};
    turns.next(describe(c), [&](Place& place) {
      c.place = &place;
      check_activation_forward(c);
      check_activation_backward(c);
    });
  }
}

}  // namespace tradewind::tests
