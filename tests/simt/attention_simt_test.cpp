// The CUDA kernels of attention on the executor: the list of cases that the CPU solves, with its tolerances in float32, in bf16
// with those of bf16; head sizes that are padded; dropout, ragged lengths, and bits that do not depend on the order of
// anything.
#include <boost/test/unit_test.hpp>

#include "kernels/base/error.h"
#include "tests/kernels/attention_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

using namespace tradewind;
using namespace tradewind::tests;

namespace {

// float32 products are three of tf32, which lose as much as one of float32 and more where they cancel; bf16 rounds p and ds to
// 8 bits.
constexpr Tolerances kFloat32{.gradient = 1e-5}, kBFloat16{.out = 1e-2, .gradient = 2e-2};

/// Solves each case in both element types.
void check_list(const std::vector<Case>& cases) {
  Turns turns;
  for (Case c : cases)
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      turns.next(describe(c), [&](Place& place) {
        c.place = &place;
        c.dtype = dtype;
        check_case(c, dtype == DType::kBFloat16 ? kBFloat16 : kFloat32);
      });
}

}  // namespace

BOOST_AUTO_TEST_CASE(sizes) { check_list(size_cases()); }

BOOST_AUTO_TEST_CASE(queries_and_keys_of_different_length) { check_list(length_cases()); }

BOOST_AUTO_TEST_CASE(every_combination_of_options) { check_list(option_cases()); }

BOOST_AUTO_TEST_CASE(nothing_to_do) { check_list(empty_cases()); }

BOOST_AUTO_TEST_CASE(head_sizes_of_whole_tiles_by_copies_of_16_bytes) {  // strides without gaps: the asynchronous path
  std::vector<Case> cases;
  for (const int64_t D : {32, 64, 96, 128})
    for (const float dropout : {0.0F, 0.25F})
      cases.push_back({.tq = {150, 33}, .tk = {150, 90}, .H = 2, .H_kv = 1, .D = D, .dropout = dropout, .gap = 0});
  check_list(cases);
}

BOOST_AUTO_TEST_CASE(the_same_bits_whatever_the_order_of_threads_and_blocks) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    std::vector<Case> runs;
    Turns turns;
    for (int turn = 0; turn < 4; ++turn)
      turns.next("order", [&](Place& place) {
        Case c{
            .tq = {130, 20}, .tk = {130, 40}, .H = 4, .H_kv = 2, .D = 24, .bias_kind = Bias::kSharedOverAll, .dropout = 0.1F};
        c.place = &place;
        c.dtype = dtype;
        c.prepare();
        c.forward();
        c.backward();
        runs.push_back(c);
      });
    BOOST_REQUIRE_EQUAL(runs.size(), 4U);
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return same_bits(a.data(), b.data(), static_cast<int64_t>(a.size()));
    };
    for (const Case& c : runs)
      BOOST_CHECK(same(c.out, runs[0].out) && same(c.lse, runs[0].lse) && same(c.dq, runs[0].dq) && same(c.dk, runs[0].dk) &&
                  same(c.dv, runs[0].dv) && same(c.dbias, runs[0].dbias));
  }
}

BOOST_AUTO_TEST_CASE(dropout_drops_the_elements_that_the_contract_names) {
  // With v the identity and q = 0, out[i] is p where kept: 1 / tk / (1 - p), else 0.
  Case c{.tq = {70}, .tk = {64}, .H = 2, .H_kv = 2, .D = 64, .causal = false, .dropout = 0.3F, .gap = 0};
  c.prepare();
  std::fill(c.q.begin(), c.q.end(), 0.0F);
  for (int64_t j = 0; j < 64; ++j)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t d = 0; d < 64; ++d) c.v[j * c.v_stride + h * 64 + d] = d == j ? 1.0F : 0.0F;
  Turns().next("dropout", [&](Place& place) {
    c.place = &place;
    c.forward();
  });
  BOOST_REQUIRE(!c.out.empty());
  for (int64_t i = 0; i < 70; ++i)
    for (int64_t h = 0; h < 2; ++h) {
      const PhiloxKey key = philox_key(c.step.seed, c.options.dropout.purpose + (static_cast<std::uint64_t>(h + 1) << 32));
      for (int64_t j = 0; j < 64; ++j) {
        const bool kept = dropout_number(key, c.sample[i], static_cast<std::uint32_t>(c.position[i]),
                                         static_cast<std::uint32_t>(j)) >= dropout_threshold(0.3F);
        BOOST_REQUIRE_EQUAL(c.out[i * c.out_stride + h * 64 + j] != 0.0F, kept);
      }
    }
}

BOOST_AUTO_TEST_CASE(a_bias_shared_by_all_queries_gets_the_sum_of_their_gradients) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Case c{.tq = {100, 30}, .tk = {100, 70}, .H = 2, .H_kv = 2, .D = 16, .bias_kind = Bias::kSharedOverAll};
    c.dtype = dtype;
    c.prepare();
    c.options.bias_stride_q = 0;
    Oracle o(c);
    o.run(c, true);
    Turns().next("bias", [&](Place& place) {
      c.place = &place;
      c.forward();
      c.backward();
    });
    check_close("dbias", c.dbias, o.dbias, dtype == DType::kBFloat16 ? 2e-2 : 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(what_the_kernels_do_not_have_is_refused_with_the_remedy) {
  Turns().next("refusal", [](Place& place) {
    Case c{.tq = {4}, .tk = {4}, .H = 1, .H_kv = 1, .D = 136};
    c.place = &place;
    c.prepare();
    check_throws<DeviceError>([&] { c.forward(); }, {"136", "more heads"});
  });
}
