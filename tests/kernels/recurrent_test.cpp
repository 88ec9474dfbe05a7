#include "kernels/base/error.h"
#include "kernels/linear.h"
#include "tests/kernels/recurrent_case.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(states_and_gradients_match_float64) {
  on_every_target([](const std::string&) {
    for (RecurrentCase c : recurrent_cases())
      for (const int threads : {1, 2, 3}) {
        c.threads = threads;
        check_recurrent(c, 3e-6);
      }
  });
}

// More sequences than a group has, and a state wider than a block of the product is deep.
BOOST_AUTO_TEST_CASE(many_sequences_and_wide_states_match_float64) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    RecurrentCase many{.kind = kind, .H = 7, .start = true};
    for (std::int64_t s = 0; s < 230; ++s) many.lengths.push_back(s * 7 % 6);
    check_recurrent(many, 3e-6);
    check_recurrent({.kind = kind, .lengths = {4, 2, 3}, .H = 330, .start = true}, 5e-6);
  }
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    RecurrentOracle o = recurrent_problem({.kind = kind, .lengths = {3, 0, 2}, .H = 3, .start = true});
    o.solve();
    const RecurrentOracle want = o;
    const auto total = [&] {
      o.solve();
      return o.total;
    };
    check_close("da", want.da, numeric_gradient(o.a, total), 1e-7);
    check_close("dw", want.dw, numeric_gradient(o.w, total), 1e-7);
    check_close("db", want.db, numeric_gradient(o.b, total), 1e-7);
    check_close("dh0", want.dh0, numeric_gradient(o.h0, total), 1e-7);
    if (kind == RecurrentKind::kLstm) check_close("dc0", want.dc0, numeric_gradient(o.c0, total), 1e-7);
  }
}

// A GRU in float32 adds the two halves of r's and z's gradients in one product; rounding is all that threads may change there.
BOOST_AUTO_TEST_CASE(rows_have_the_same_bits_for_any_threads_and_whatever_runs_beside_them) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    RecurrentCase c{.kind = kind, .H = 20, .start = true};
    for (std::int64_t s = 0; s < 50; ++s) c.lengths.push_back(1 + s * 5 % 13);
    const RecurrentOracle problem = recurrent_problem(c);
    RecurrentResult before;
    before.dw.resize(problem.w.size()), before.db.resize(problem.b.size());
    c.threads = 1;
    const RecurrentResult one = run_recurrent(c, problem, before);
    for (const int threads : {2, 3, 8}) {
      c.threads = threads;
      const RecurrentResult more = run_recurrent(c, problem, before);
      BOOST_CHECK(more.h == one.h && more.cell == one.cell && more.gates == one.gates && more.dh0 == one.dh0 &&
                  more.dc0 == one.dc0);
    }
    // The first sequence alone.
    const std::int64_t N = c.lengths[0], H = c.H, G = problem.gates();
    RecurrentOracle alone = problem;
    c.lengths.resize(1);
    alone.offsets = {0, N};
    for (auto& [x, count] :
         {std::pair{&alone.a, N * G * H}, {&alone.dh, N * H}, {&alone.h0, H}, {&alone.c0, H}, {&alone.dlast, H}})
      x->resize(static_cast<std::size_t>(count));
    const RecurrentResult first = run_recurrent(c, alone, before);
    BOOST_CHECK(std::equal(first.h.begin(), first.h.end(), one.h.begin()));
    BOOST_CHECK(std::equal(first.gates.begin(), first.gates.end(), one.gates.begin()));
  }
}

BOOST_AUTO_TEST_CASE(a_nan_stays_in_its_sequence_and_shows) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    const RecurrentCase c{.kind = kind, .lengths = {3, 4}, .H = 5};
    RecurrentOracle problem = recurrent_problem(c);
    problem.a[static_cast<std::size_t>(problem.gates() * c.H + 2)] = NAN;  // row 1
    RecurrentResult before;
    before.dw.resize(problem.w.size()), before.db.resize(problem.b.size());
    const auto got = run_recurrent(c, problem, before);
    BOOST_CHECK(!std::isnan(got.h[2]) && std::isnan(got.h[5 + 2]) && std::isnan(got.h[10 + 3]) && !std::isnan(got.h[15 + 2]));
  }
}

/// Two layers of PyTorch's, padded rows taken apart: what was out of each layer goes into the next.
void check_golden(RecurrentKind kind, const std::string& file) {
  const GoldenTensors golden(golden_path("layers/" + file + ".safetensors"));
  const bool lstm = kind == RecurrentKind::kLstm;
  constexpr std::int64_t S = 3, T = 6, H = 4;
  const std::int64_t G = kernels::recurrent_gates(kind);
  const auto offsets = offsets_of(golden["lengths"].ints);
  const std::int64_t N = offsets.back();
  const auto order = kernels::recurrent_order(offsets);
  const kernels::RecurrentShape shape{.kind = kind, .H = H, .order = &order};
  const auto packed = [&](const std::string& name, std::int64_t C) {
    std::vector<float> out;
    const auto& from = golden.values(name);
    for (std::int64_t s = 0; s < S; ++s)
      out.insert(out.end(), from.begin() + s * T * C, from.begin() + (s * T + offsets[s + 1] - offsets[s]) * C);
    return out;
  };
  const auto of_layer = [&](const std::string& name, int layer) {
    const auto& all = golden.values(name);
    return std::vector<float>(all.begin() + layer * S * H, all.begin() + (layer + 1) * S * H);
  };
  const auto last_rows = [&](const std::vector<float>& x) {
    std::vector<float> out;
    for (std::int64_t s = 0; s < S; ++s)
      out.insert(out.end(), x.begin() + (offsets[s + 1] - 1) * H, x.begin() + offsets[s + 1] * H);
    return out;
  };
  struct Layer {
    std::vector<float> x, h, cell, gates, h0, c0;
  } layers[2];
  layers[0].x = packed("x", 5);
  for (int l = 0; l < 2; ++l) {
    Layer& at = layers[l];
    const std::string suffix = "_l" + std::to_string(l);
    const std::int64_t K = l == 0 ? 5 : H;
    at.h.resize(N * H), at.gates.resize(N * 4 * H), at.h0 = of_layer("h0", l);
    if (lstm) at.cell.resize(N * H), at.c0 = of_layer("c0", l);
    kernels::linear_forward(at.gates.data(), nullptr, at.x.data(), golden.values("weight_ih" + suffix).data(),
                            golden.values("bias_ih" + suffix).data(), {.M = N, .N = G * H, .K = K, .ldy = 4 * H}, {}, {});
    kernels::recurrent_forward(at.h.data(), lstm ? at.cell.data() : nullptr, at.gates.data(),
                               golden.values("weight_hh" + suffix).data(), golden.values("bias_hh" + suffix).data(),
                               {at.h0.data(), lstm ? at.c0.data() : nullptr}, shape, {});
    check_close("h" + suffix, last_rows(at.h), of_layer("h", l), 1e-6);
    if (lstm) check_close("c" + suffix, last_rows(at.cell), of_layer("c", l), 1e-6);
    if (l == 0) layers[1].x = at.h;
  }
  check_close("out", layers[1].h, packed("out", H), 1e-6);
  std::vector<float> dh = packed("grad_out", H);
  for (int l = 1; l >= 0; --l) {
    Layer& at = layers[l];
    const std::string suffix = "_l" + std::to_string(l);
    const std::int64_t K = l == 0 ? 5 : H;
    const auto dlast = of_layer("grad_h", l);
    for (std::int64_t i = 0; i < S * H; ++i) dh[(offsets[i / H + 1] - 1) * H + i % H] += dlast[i];
    const auto dlast_cell = lstm ? of_layer("grad_c", l) : std::vector<float>{};
    std::vector<float> dw(G * H * H), db(G * H), dh0(S * H), dc0(lstm ? S * H : 0), dw_ih(G * H * K), db_ih(G * H), dx(N * K);
    const auto& w = golden.values("weight_hh" + suffix);
    kernels::recurrent_backward({dw.data(), db.data(), dh0.data(), lstm ? dc0.data() : nullptr}, at.gates.data(),
                                {at.h.data(), dh.data(), lstm ? at.cell.data() : nullptr, lstm ? dlast_cell.data() : nullptr},
                                w.data(), {at.h0.data(), lstm ? at.c0.data() : nullptr}, shape, Write::kAssign, {});
    const kernels::LinearShape linear{.M = N, .N = G * H, .K = K, .ldy = 4 * H};
    kernels::linear_backward_weight(dw_ih.data(), db_ih.data(), at.gates.data(), at.x.data(), linear, Write::kAssign, {}, {});
    kernels::linear_backward_input(dx.data(), at.gates.data(), golden.values("weight_ih" + suffix).data(), linear,
                                   Write::kAssign, {}, {});
    for (const auto& [name, value] :
         {std::pair{"grad_weight_hh", &dw}, {"grad_bias_hh", &db}, {"grad_weight_ih", &dw_ih}, {"grad_bias_ih", &db_ih}})
      check_close(name + suffix, *value, golden.values(name + suffix), 3e-6);
    check_close("grad_h0" + suffix, dh0, of_layer("grad_h0", l), 3e-6);
    if (lstm) check_close("grad_c0" + suffix, dc0, of_layer("grad_c0", l), 3e-6);
    dh = dx;
  }
  check_close("grad_x", dh, packed("grad_x", 5), 3e-6);
}

BOOST_AUTO_TEST_CASE(golden_values_of_gru) { check_golden(RecurrentKind::kGru, "gru"); }
BOOST_AUTO_TEST_CASE(golden_values_of_lstm) { check_golden(RecurrentKind::kLstm, "lstm"); }

BOOST_AUTO_TEST_CASE(the_order_puts_the_longest_first) {
  const std::vector<std::int64_t> offsets{0, 2, 2, 5, 7};
  const auto order = kernels::recurrent_order(offsets);
  BOOST_TEST(order.table == (std::vector<std::int64_t>{2, 0, 5, 2, 2, 0, 3, 1}), boost::test_tools::per_element());
  BOOST_TEST(order.active == (std::vector<std::int64_t>{3, 3, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const std::vector<std::int64_t> falling{0, 3, 2}, shifted{1, 2}, good{0, 2};
  BOOST_CHECK_THROW(kernels::recurrent_order(falling), InternalError);
  BOOST_CHECK_THROW(kernels::recurrent_order(shifted), InternalError);
  BOOST_CHECK_THROW(kernels::recurrent_order({}), InternalError);
  const auto order = kernels::recurrent_order(good);
  std::vector<float> h(6), gates(24), w(48), cell(6);
  const auto run = [&](const kernels::RecurrentShape& s, float* c, const kernels::RecurrentStart& start = {}) {
    kernels::recurrent_forward(h.data(), c, gates.data(), w.data(), w.data(), start, s, {});
  };
  using enum RecurrentKind;
  check_throws<InternalError>([&] { run({.kind = kLstm, .H = 3, .order = &order}, nullptr); }, {"an LSTM has a cell"});
  check_throws<InternalError>([&] { run({.kind = kGru, .H = 3, .order = &order}, cell.data()); }, {"a GRU none"});
  check_throws<InternalError>([&] { run({.kind = kGru, .H = 3, .order = &order}, nullptr, {.c0 = cell.data()}); }, {"no cell"});
  check_throws<InternalError>([&] { run({.kind = kGru, .H = 0, .order = &order}, nullptr); }, {"H must be"});
  check_throws<InternalError>([&] { run({.kind = kGru, .H = 3}, nullptr); }, {"order"});
  check_throws<DeviceError>([&] { run({.kind = kGru, .H = 3, .order = &order, .dtype = DType::kBFloat16}, nullptr); },
                            {"recurrent_forward", "precision = \"float32\""});
}

}  // namespace
}  // namespace tradewind::tests
