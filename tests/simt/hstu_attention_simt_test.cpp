// The CUDA kernels of HSTU attention on the executor: the list of cases that the CPU solves, in float32 with nearly the CPU's
// tolerance (three tf32 products lose a little more), in bfloat16 with one of bfloat16.
#include "kernels/base/error.h"
#include "tests/kernels/hstu_attention_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

void check_on(Turns& turns, HstuCase c, DType dtype) {
  c.dtype = dtype;
  turns.next(describe(c), [&](Place& place) {
    c.place = &place;
    if (dtype == DType::kBFloat16)
      check_case(c, 1e-2, 2e-2);
    else
      check_case(c, 4e-6, 1e-5);
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(results_and_gradients_match_float64) {
  Turns turns;
  for (const HstuCase& c : hstu_cases())
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) check_on(turns, c, dtype);
}

BOOST_AUTO_TEST_CASE(times_go_into_the_buckets_of_the_formula) {
  Turns turns;
  check_on(turns, bounds_of_buckets(), DType::kFloat32);
}

BOOST_AUTO_TEST_CASE(more_tiles_of_rows_than_parts_of_the_sums) {
  Turns turns;
  HstuCase c{.lengths = std::vector<std::int64_t>(140, 2), .H = 2, .D = 2, .Dv = 2, .buckets = 20};
  check_on(turns, c, DType::kFloat32);
}

BOOST_AUTO_TEST_CASE(the_same_bits_whatever_the_order_of_threads_and_blocks) {
  Turns turns;
  std::vector<HstuCase> runs;
  for (int run = 0; run < 4; ++run)
    turns.next("bits", [&](Place& place) {
      HstuCase c{.lengths = {90, 20}, .H = 2, .D = 12, .Dv = 8, .buckets = 40};
      c.place = &place;
      c.prepare();
      c.solve();
      runs.push_back(c);
    });
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  for (const HstuCase& c : runs)
    BOOST_CHECK(same(c.out, runs[0].out) && same(c.dq, runs[0].dq) && same(c.dk, runs[0].dk) && same(c.dv, runs[0].dv) &&
                same(c.dposition, runs[0].dposition) && same(c.dtime, runs[0].dtime));
}

BOOST_AUTO_TEST_CASE(what_the_kernels_do_not_have_is_refused_with_the_remedy) {
  Turns turns;
  turns.next("wide", [](Place& place) {
    HstuCase c{.lengths = {4}, .H = 1, .D = 8, .Dv = 136};
    c.place = &place;
    c.prepare();
    check_throws<DeviceError>([&] { c.solve(); }, {"136", "more heads"});
  });
}

}  // namespace tradewind::tests
