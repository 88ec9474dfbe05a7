// Attention against a float64 oracle: every option alone and together, packing, caches, threads.
#include "kernels/attention.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"
#include "tests/kernels/attention_case.h"

using namespace tradewind;
using namespace tradewind::kernels;
using namespace tradewind::tests;
using std::int64_t;

BOOST_AUTO_TEST_CASE(the_oracles_gradients_are_the_numeric_ones) {
  Case c{.tq = {3, 1, 4}, .tk = {5, 2, 4}, .lengths = {4, 2, 3}, .H = 4, .H_kv = 2, .D = 3};
  c.window = 3, c.bias_kind = Bias::kSharedOverSequences, c.dropout = 0.3F;
  c.prepare();
  Oracle o(c);
  o.run(c, true);
  const auto dq = o.dq, dk = o.dk, dv = o.dv, dbias = o.dbias;
  const auto compare = [&](const std::string& what, std::vector<double>& x, const std::vector<double>& analytic,
                           double offset) {
    const std::vector<double> numeric = numeric_gradient(x, [&] { return o.loss(c); });
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = std::isnan(analytic[i]) ? 0 : analytic[i] - offset;  // between rows nothing depends on x
      BOOST_REQUIRE_MESSAGE(std::abs(numeric[i] - expected) <= 1e-8, what << "[" << i << "] " << numeric[i] << " " << expected);
    }
  };
  compare("dq", o.q, dq, 0);
  compare("dk", o.k, dk, 0);
  compare("dv", o.v, dv, 0);
  compare("dbias", o.bias, dbias, 0.5);
}

BOOST_AUTO_TEST_CASE(kernels_gradients_are_the_numeric_ones_of_the_oracle) {
  Case c{.tq = {3, 5}, .tk = {3, 7}, .H = 2, .H_kv = 1, .D = 5};
  c.bias_kind = Bias::kFull, c.dropout = 0.2F;
  c.prepare();
  c.forward();
  c.backward();
  Oracle o(c);
  const auto compare = [&](const std::string& what, std::vector<double>& x, std::vector<float> got, float offset) {
    for (float& g : got) g = std::isnan(g) ? 0 : g - offset;
    check_close(what, got, numeric_gradient(x, [&] { return o.loss(c); }), 3e-6);
  };
  compare("dq", o.q, c.dq, 0);
  compare("dk", o.k, c.dk, 0);
  compare("dv", o.v, c.dv, 0);
  compare("dbias", o.bias, c.dbias, 0.5F);
}

BOOST_AUTO_TEST_CASE(sizes) {
  for (const Case& c : size_cases()) check_case(c);
}

BOOST_AUTO_TEST_CASE(queries_and_keys_of_different_length) {
  for (const Case& c : length_cases()) check_case(c);
}

BOOST_AUTO_TEST_CASE(every_combination_of_options) {
  for (Case c : option_cases())
    for (const int threads : {1, 2, 3}) {
      c.threads = threads;
      check_case(c);
    }
}

BOOST_AUTO_TEST_CASE(few_long_sequences_are_cut_between_threads) {
  for (const int threads : {1, 2, 3, 5})
    for (const int64_t window : {0, 100}) {
      check_case({.tq = {400}, .tk = {400}, .H = 2, .H_kv = 1, .D = 16, .window = window, .threads = threads});
      check_case({.tq = {10, 450, 30},
                  .tk = {10, 450, 30},
                  .H = 1,
                  .H_kv = 1,
                  .D = 8,
                  .causal = false,
                  .window = window,
                  .bias_kind = Bias::kFull,
                  .dropout = 0.1F,
                  .threads = threads});
    }
}

BOOST_AUTO_TEST_CASE(same_bits_in_every_run_with_as_many_threads) {
  for (const int threads : {1, 2, 3}) {
    Case a{.tq = {300, 20}, .tk = {300, 20}, .H = 2, .H_kv = 1, .D = 24};
    a.dropout = 0.1F, a.threads = threads;
    a.prepare();
    a.forward();
    a.backward();
    const Case first = a;
    for (int run = 0; run < 3; ++run) {
      a.forward();
      a.backward();
      BOOST_CHECK(same_bits(a.out.data(), first.out.data(), static_cast<int64_t>(a.out.size())));
      BOOST_CHECK(same_bits(a.dq.data(), first.dq.data(), static_cast<int64_t>(a.dq.size())));
      BOOST_CHECK(same_bits(a.dk.data(), first.dk.data(), static_cast<int64_t>(a.dk.size())));
      BOOST_CHECK(same_bits(a.dv.data(), first.dv.data(), static_cast<int64_t>(a.dv.size())));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_last_token_changes_no_earlier_output_by_a_bit) {
  for (const int64_t T : {2, 7, 64, 65, 150}) {
    Case a{.tq = {T}, .tk = {T}, .H = 2, .H_kv = 1, .D = 16};
    a.prepare();
    Case b = a;
    for (int64_t d = 0; d < 32; ++d) b.q[(T - 1) * b.q_stride + d] += 3;
    for (int64_t d = 0; d < 16; ++d) b.k[(T - 1) * b.k_stride + d] = 1e4F, b.v[(T - 1) * b.v_stride + d] = -1e6F;
    a.forward();
    b.forward();
    BOOST_CHECK(same_bits(a.out.data(), b.out.data(), (T - 1) * a.out_stride));
    BOOST_CHECK(!same_bits(a.out.data(), b.out.data(), T * a.out_stride));
  }
}

BOOST_AUTO_TEST_CASE(packed_documents_give_the_bits_of_each_alone) {
  for (const int threads : {1, 2, 3}) {
    Case packed{.tq = {70, 1, 130}, .tk = {70, 1, 130}, .H = 2, .H_kv = 2, .D = 16};
    packed.dropout = 0.1F, packed.threads = threads;
    packed.prepare();
    packed.forward();
    packed.backward();
    for (int64_t b = 0; b < 3; ++b) {
      Case alone{.tq = {packed.tq[b]}, .tk = {packed.tk[b]}, .H = 2, .H_kv = 2, .D = 16};
      alone.dropout = 0.1F;
      alone.prepare();
      const int64_t n = packed.q_offsets[b], T = packed.tq[b];
      const auto slice = [&](const std::vector<float>& x, int64_t stride) {
        return std::vector<float>(x.begin() + n * stride, x.begin() + (n + T) * stride);
      };
      alone.q = slice(packed.q, packed.q_stride), alone.k = slice(packed.k, packed.k_stride);
      alone.v = slice(packed.v, packed.v_stride), alone.dout = slice(packed.dout, packed.out_stride);
      std::copy_n(packed.sample.begin() + n, T, alone.sample.begin());
      std::copy_n(packed.position.begin() + n, T, alone.position.begin());
      alone.forward();
      alone.backward();
      const auto rows = [&](const std::vector<float>& x, int64_t stride) { return rows_of("packed", x, stride, 32); };
      BOOST_CHECK(rows(slice(packed.out, packed.out_stride), packed.out_stride) == rows(alone.out, alone.out_stride));
      BOOST_CHECK(rows(slice(packed.dk, packed.k_stride), packed.k_stride) == rows(alone.dk, alone.k_stride));
      BOOST_CHECK(rows(slice(packed.dv, packed.v_stride), packed.v_stride) == rows(alone.dv, alone.v_stride));
      const auto dq = rows(slice(packed.dq, packed.q_stride), packed.q_stride), dq_alone = rows(alone.dq, alone.q_stride);
      if (threads == 1)
        BOOST_CHECK(dq == dq_alone);  // a document that is cut between threads sums dq in parts
      else
        check_close("dq", dq, dq_alone, 1e-6);
    }
  }
}

BOOST_AUTO_TEST_CASE(generation_with_a_cache_continues_the_whole_sequence) {
  const int64_t T = 150;
  Case whole{.tq = {T}, .tk = {T}, .H = 6, .H_kv = 2, .D = 20};
  whole.prepare();
  whole.forward();
  for (const int64_t at : {0, 1, 63, 64, 65, 149}) {  // the cache has room for T rows; what it does not hold yet is NaN
    Case one{.tq = {1}, .tk = {T}, .lengths = {at + 1}, .H = 6, .H_kv = 2, .D = 20};
    one.prepare();
    one.q.assign(whole.q.begin() + at * whole.q_stride, whole.q.begin() + (at + 1) * whole.q_stride);
    one.k = whole.k, one.v = whole.v;
    std::fill(one.k.begin() + (at + 1) * one.k_stride, one.k.end(), NAN);
    std::fill(one.v.begin() + (at + 1) * one.v_stride, one.v.end(), NAN);
    one.forward();
    const auto got = rows_of("out", one.out, one.out_stride, 120), all = rows_of("out", whole.out, whole.out_stride, 120);
    check_close("generation", got, std::vector<float>(all.begin() + at * 120, all.begin() + (at + 1) * 120), 2e-6);
  }
}

BOOST_AUTO_TEST_CASE(slices_of_one_fused_projection) {
  const int64_t T = 80, H = 3, D = 16, row = 3 * H * D;
  Case c{.tq = {T}, .tk = {T}, .H = H, .H_kv = H, .D = D};
  c.prepare();
  c.forward();
  c.backward();
  std::vector<float> fused(T * row), gradient(T * row, NAN), out(c.out.size(), NAN), lse(c.lse.size());
  for (int64_t n = 0; n < T; ++n) {
    std::copy_n(&c.q[n * c.q_stride], H * D, &fused[n * row]);
    std::copy_n(&c.k[n * c.k_stride], H * D, &fused[n * row + H * D]);
    std::copy_n(&c.v[n * c.v_stride], H * D, &fused[n * row + 2 * H * D]);
  }
  AttentionShape s = c.shape;
  s.q_stride = s.k_stride = s.v_stride = row;
  const float* x = fused.data();
  float* g = gradient.data();
  attention_forward(out.data(), lse.data(), x, x + H * D, x + 2 * H * D, s, c.options, c.launch);
  attention_backward(g, g + H * D, g + 2 * H * D, nullptr, c.dout.data(), out.data(), lse.data(), x, x + H * D, x + 2 * H * D,
                     s, c.options, c.launch);
  BOOST_CHECK(rows_of("out", out, c.out_stride, H * D) == rows_of("out", c.out, c.out_stride, H * D));
  for (int64_t n = 0; n < T; ++n) {
    BOOST_CHECK(same_bits(&gradient[n * row], &c.dq[n * c.q_stride], H * D));
    BOOST_CHECK(same_bits(&gradient[n * row + H * D], &c.dk[n * c.k_stride], H * D));
    BOOST_CHECK(same_bits(&gradient[n * row + 2 * H * D], &c.dv[n * c.v_stride], H * D));
  }
  attention_forward(out.data(), nullptr, x, x + H * D, x + 2 * H * D, s, c.options, c.launch);  // lse is not always wanted
  BOOST_CHECK(rows_of("out", out, c.out_stride, H * D) == rows_of("out", c.out, c.out_stride, H * D));
}

BOOST_AUTO_TEST_CASE(a_bias_of_minus_infinity_hides_keys) {
  for (const int64_t T : {1, 5, 70}) {
    Case c{.tq = {T}, .tk = {T}, .H = 2, .H_kv = 2, .D = 8, .causal = false};
    c.bias_kind = Bias::kSharedOverAll;
    c.prepare();
    for (int64_t i = 0; i < T; ++i)  // every third query sees nothing, the others all but every second key
      for (int64_t j = 0; j < T; ++j) c.bias[i * (T + 1) + j] = i % 3 == 0 || j % 2 == 1 ? -INFINITY : 0.0F;
    c.forward();
    c.backward();
    Oracle o(c);
    o.run(c, true);
    check_close("out", rows_of("out", c.out, c.out_stride, 16), rows_of("out", o.out, c.out_stride, 16), 2e-6);
    check_lse("hidden", c.lse, o.lse);
    check_close("dq", rows_of("dq", c.dq, c.q_stride, 16), rows_of("dq", o.dq, c.q_stride, 16), 5e-6);
    check_close("dv", rows_of("dv", c.dv, c.v_stride, 16), rows_of("dv", o.dv, c.v_stride, 16), 5e-6);
  }
}

BOOST_AUTO_TEST_CASE(large_scores_do_not_overflow_and_nan_is_not_hidden) {
  Case c{.tq = {70}, .tk = {70}, .H = 1, .H_kv = 1, .D = 16};
  c.prepare();
  for (float& x : c.q) x *= 300;
  c.forward();
  Oracle o(c);
  o.run(c, false);
  check_close("out", rows_of("out", c.out, c.out_stride, 16), rows_of("out", o.out, c.out_stride, 16), 1e-3);  // scores of 1e3
  c.k[10 * c.k_stride] = NAN;
  c.forward();
  const auto out = rows_of("out", c.out, c.out_stride, 16);
  BOOST_CHECK(!std::isnan(out[9 * 16]));
  BOOST_CHECK(std::isnan(out[10 * 16]) && std::isnan(out[69 * 16]));
}

BOOST_AUTO_TEST_CASE(nothing_to_do) {
  for (const Case& c : empty_cases()) check_case(c);
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const auto attempt = [](const std::function<void(Case&)>& spoil) {
    Case c{.tq = {3}, .tk = {4}, .lengths = {4}, .H = 4, .H_kv = 2, .D = 8};
    c.prepare();
    c.point();
    c.out.resize(c.dout.size()), c.lse.resize(c.query_rows() * c.H);
    spoil(c);
    attention_forward(c.out.data(), c.lse.data(), c.q.data(), c.k.data(), c.v.data(), c.shape, c.options, c.launch);
  };
  attempt([](Case&) {});
  BOOST_CHECK_THROW(attempt([](Case& c) { c.shape.H_kv = 3; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.shape.q_stride = 31; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.shape.k_stride = 15; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.shape.max_q = 2; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.lengths[0] = 5; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.options.window = -1; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.options.dropout.p = 1; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.options.dropout.p = 0.1F, c.launch.step = nullptr; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.options.dropout.p = 0.1F, c.options.keys.sample = nullptr; }), InternalError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.options.dtype = DType::kBFloat16; }), DeviceError);
  BOOST_CHECK_THROW(attempt([](Case& c) { c.launch.device.type = DeviceType::kCuda; }), DeviceError);
}
