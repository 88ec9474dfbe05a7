// Attention on so many queries and keys that every multiprocessor has several blocks at once.
#include "tests/kernels/attention_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(long_sequences_match_float64) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    for (const int64_t D : {64, 128})
      for (const float dropout : {0.0F, 0.1F}) {
        Case c{.tq = {1000, 77, 600}, .tk = {1000, 77, 900}, .H = 8, .H_kv = 4, .D = D, .dropout = dropout, .gap = 0};
        c.dtype = dtype;
        turns.next(describe(c), [&](Place& place) {
          c.place = &place;
          check_case(c, dtype == DType::kBFloat16 ? Tolerances{.out = 1e-2, .gradient = 2e-2} : Tolerances{.gradient = 1e-5});
        });
      }
}

}  // namespace tradewind::tests
