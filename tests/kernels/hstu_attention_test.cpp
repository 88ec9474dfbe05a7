// HSTU attention against a float64 oracle, the golden layer, and what must not depend on anything.
#include "kernels/base/error.h"
#include "tests/kernels/hstu_attention_case.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(the_oracles_gradients_are_the_numeric_ones) {
  HstuCase c{.lengths = {3, 1, 5}, .H = 2, .D = 3, .Dv = 2};
  c.prepare();
  HstuOracle o(c);
  o.run(c);
  const HstuOracle analytic = o;
  const auto compare = [&](const std::string& what, Doubles& x, const Doubles& expected) {
    const Doubles numeric = numeric_gradient(x, [&] {
      o.run(c);
      return o.total;
    });
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = std::isnan(expected[i]) ? 0 : expected[i];  // between the rows nothing depends on x
      BOOST_REQUIRE_MESSAGE(std::abs(numeric[i] - want) <= 1e-8, what << "[" << i << "] " << numeric[i] << " " << want);
    }
  };
  compare("dq", o.q, analytic.dq);
  compare("dk", o.k, analytic.dk);
  compare("dv", o.v, analytic.dv);
  compare("dposition", o.position_bias, analytic.dposition);
  compare("dtime", o.time_bias, analytic.dtime);
}

BOOST_AUTO_TEST_CASE(results_and_gradients_match_float64) {
  on_every_target([](const std::string&) {
    for (HstuCase c : hstu_cases())
      for (const int threads : {1, 3}) {
        c.threads = threads;
        check_case(c);
      }
    check_case(bounds_of_buckets());
  });
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  std::vector<HstuCase> runs;
  for (const int threads : {1, 2, 3, 7}) {
    HstuCase c{.lengths = {100, 3, 70, 0, 64, 1}, .H = 2, .D = 12, .Dv = 20};
    c.threads = threads;
    c.prepare();
    c.solve();
    runs.push_back(c);
  }
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  for (const HstuCase& c : runs)
    BOOST_CHECK(same(c.out, runs[0].out) && same(c.dq, runs[0].dq) && same(c.dk, runs[0].dk) && same(c.dv, runs[0].dv) &&
                same(c.dposition, runs[0].dposition) && same(c.dtime, runs[0].dtime));
}

BOOST_AUTO_TEST_CASE(the_last_row_changes_no_earlier_output_by_a_bit) {
  for (const std::int64_t T : {2, 7, 64, 65, 150}) {
    HstuCase a{.lengths = {T}, .H = 1, .D = 16, .Dv = 16, .gap = 0};
    a.prepare();
    HstuCase b = a;
    for (std::int64_t d = 0; d < 16; ++d)
      b.q[(T - 1) * 16 + d] += 3, b.k[(T - 1) * 16 + d] = 1e4F, b.v[(T - 1) * 16 + d] = -1e6F;
    b.key_times.back() += 1'000'000;
    b.query_times.back() += 1'000'000;
    a.solve();
    b.solve();
    BOOST_CHECK(std::memcmp(a.out.data(), b.out.data(), static_cast<std::size_t>(T - 1) * 16 * sizeof(float)) == 0);
    BOOST_CHECK(a.out != b.out);
  }
}

BOOST_AUTO_TEST_CASE(large_scores_stay_finite_and_nan_is_not_hidden) {
  HstuCase c{.lengths = {70}, .H = 1, .D = 16, .Dv = 4, .position = false, .time = false};
  c.prepare();
  for (float& x : c.q) x *= 300;
  c.solve();
  HstuOracle o(c);
  o.run(c);
  const auto s = c.shape();
  check_hstu("out", in_rows("out", c.out, s.out_stride, 4), in_rows("out", o.out, s.out_stride, 4), 1e-5);
  check_hstu("dk", in_rows("dk", c.dk, s.k_stride, 16), in_rows("dk", o.dk, s.k_stride, 16), 1e-4);
  c.k[10 * s.k_stride] = NAN;
  c.solve();
  BOOST_CHECK(!std::isnan(c.out[9 * s.out_stride]));
  BOOST_CHECK(std::isnan(c.out[10 * s.out_stride]) && std::isnan(c.out[69 * s.out_stride]));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const auto attempt = [](const std::function<void(HstuCase&, kernels::HstuAttentionShape&, kernels::HstuAttentionOptions&,
                                                   kernels::Launch&)>& spoil) {
    HstuCase c{.lengths = {3}};
    c.prepare();
    c.out.resize(c.dout.size());
    auto shape = c.shape();
    shape.offsets = c.offsets.data();
    kernels::HstuAttentionOptions options{.scale = 1,
                                          .position_bias = c.position_bias.data(),
                                          .positions = c.positions,
                                          .time_bias = c.time_bias.data(),
                                          .time_buckets = c.buckets,
                                          .query_times = c.query_times.data(),
                                          .key_times = c.key_times.data()};
    kernels::Launch launch;
    spoil(c, shape, options, launch);
    kernels::hstu_attention_forward(c.out.data(), c.q.data(), c.k.data(), c.v.data(), shape, options, launch);
  };
  attempt([](auto&, auto&, auto&, auto&) {});
  BOOST_CHECK_THROW(attempt([](auto&, auto& s, auto&, auto&) { s.D = 0; }), InternalError);
  BOOST_CHECK_THROW(attempt([](auto&, auto& s, auto&, auto&) { s.v_stride = 9; }), InternalError);
  BOOST_CHECK_THROW(attempt([](auto&, auto& s, auto&, auto&) { s.k_stride = 7; }), InternalError);
  check_throws<InternalError>([&] { attempt([](auto&, auto& s, auto&, auto&) { s.max_length = 2; }); }, {"3 rows"});
  check_throws<InternalError>([&] { attempt([](auto&, auto&, auto& o, auto&) { o.positions = 2; }); },
                              {"3 rows", "2 positions"});
  BOOST_CHECK_THROW(attempt([](auto&, auto&, auto& o, auto&) { o.key_times = nullptr; }), InternalError);
  BOOST_CHECK_THROW(attempt([](auto&, auto&, auto& o, auto&) { o.time_buckets = 130; }), InternalError);
  BOOST_CHECK_THROW(attempt([](auto&, auto&, auto& o, auto&) { o.dtype = DType::kBFloat16; }), DeviceError);
  BOOST_CHECK_THROW(attempt([](auto&, auto&, auto&, auto& l) { l.device.type = kernels::DeviceType::kCuda; }), DeviceError);
}

BOOST_AUTO_TEST_CASE(golden_layer) {
  const GoldenTensors golden(golden_path("layers/hstu_attention.safetensors"));
  constexpr std::int64_t B = 2, H = 2, T = 7, D = 4, Dv = 5;
  // [B, H, T, d] to rows [B T, H, d].
  const auto rows_of = [&](const std::string& name, std::int64_t d) {
    const auto& x = golden.values(name);
    std::vector<float> out(x.size());
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(x.size()); ++i)
      out[((i / d / T / H * T + i / d % T) * H + i / d / T % H) * d + i % d] = x[i];
    return out;
  };
  const auto q = rows_of("query", D), k = rows_of("key", D), v = rows_of("value", Dv), dout = rows_of("grad_out", Dv);
  const auto &position = golden.values("position_weight"), &time = golden.values("time_weight");
  const auto& times = golden["timestamps"].ints;
  std::vector<std::int64_t> next = times;  // the authors' dt is that of the next row
  for (std::int64_t n = 0; n < B * T; ++n)
    if (n % T + 1 < T) next[n] = times[n + 1];
  const std::vector<std::int64_t> offsets{0, T, 2 * T};
  const kernels::HstuAttentionShape shape{.B = B,
                                          .offsets = offsets.data(),
                                          .max_length = T,
                                          .H = H,
                                          .D = D,
                                          .Dv = Dv,
                                          .q_stride = H * D,
                                          .k_stride = H * D,
                                          .v_stride = H * Dv,
                                          .out_stride = H * Dv};
  const kernels::HstuAttentionOptions options{.scale = 1.0F / T,
                                              .position_bias = position.data(),  // the 7 of 13 that causal queries read
                                              .positions = T,
                                              .time_bias = time.data(),
                                              .time_buckets = static_cast<std::int64_t>(time.size()),
                                              .query_times = next.data(),
                                              .key_times = times.data()};
  std::vector<float> out(v.size()), dq(q.size()), dk(k.size()), dv(v.size()), dposition(position.size()), dtime(time.size());
  kernels::hstu_attention_forward(out.data(), q.data(), k.data(), v.data(), shape, options, {});
  kernels::hstu_attention_backward(dq.data(), dk.data(), dv.data(), {.position = dposition.data(), .time = dtime.data()},
                                   dout.data(), q.data(), k.data(), v.data(), shape, options, {});
  check_close("out", out, rows_of("out", Dv), 1e-6);
  check_close("grad_query", dq, rows_of("grad_query", D), 2e-6);
  check_close("grad_key", dk, rows_of("grad_key", D), 2e-6);
  check_close("grad_value", dv, rows_of("grad_value", Dv), 2e-6);
  check_close("grad_position_weight", dposition, golden.values("grad_position_weight"), 2e-6);
  check_close("grad_time_weight", dtime, golden.values("grad_time_weight"), 2e-6);
}

}  // namespace
}  // namespace tradewind::tests
