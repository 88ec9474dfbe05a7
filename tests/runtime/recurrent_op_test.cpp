// A recurrent layer on the tape: what flows back through it, into its weights and into what is below.
#include "runtime/ops/recurrent.h"

#include "kernels/base/error.h"
#include "runtime/ops/linear.h"
#include "tests/kernels/recurrent_case.h"
#include "tests/support/differences.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT: the runtime is what is tested

/// Three sequences, one without rows, through a linear layer and two recurrent ones. The loss is a product with fixed numbers.
struct Fixture {
  Context context{{}, 2, 1};
  ParameterStore store;
  Parameter& below = store.add("below", {4, 3}, Init::normal(0.7F), true);
  std::vector<RecurrentParameters> layers;
  Tensor input = context.tensor({6, 3});
  Sequences rows;
  std::vector<float> dh = random_values(6 * 5, 4);

  explicit Fixture(RecurrentKind kind) {
    for (const std::int64_t K : {4, 5}) {
      const std::string name = "layer" + std::to_string(K);
      const std::int64_t rest = kernels::recurrent_gates(kind) * 5;
      layers.push_back({.kind = kind,
                        .input_weight = &store.add(name + ".wx", {rest, K}, Init::normal(0.6F), true),
                        .input_bias = &store.add(name + ".bx", {rest}, Init::normal(0.6F), false),
                        .hidden_weight = &store.add(name + ".wh", {rest, 5}, Init::normal(0.6F), true),
                        .hidden_bias = &store.add(name + ".bh", {rest}, Init::normal(0.6F), false)});
    }
    store.allocate(context);
    std::ranges::copy(random_values(18, 3), input.data<float>());
    const Tensor offsets(host_allocator(), {4}, DType::kInt64);
    std::ranges::copy(std::vector<std::int64_t>{0, 2, 2, 6}, offsets.data<std::int64_t>());
    rows.offsets = rows.host_offsets = offsets;
  }
  Variable states(Tape& tape) const {
    Variable x = linear(tape, tape.constant(input), below, nullptr);
    for (const auto& layer : layers) x = recurrent(tape, x, layer, rows);
    return x;
  }
  double loss() {
    Tape tape(context, false);
    const Variable h = states(tape);
    double total = 0;
    for (std::size_t i = 0; i < dh.size(); ++i) total += double{h.value().data<float>()[i]} * dh[i];
    return total;
  }
  void step(int times) {
    store.begin_step();
    for (int i = 0; i < times; ++i) {
      Tape tape(context, true);
      const Variable h = states(tape);
      const Tensor gradient = context.tensor({6, 5});
      std::ranges::copy(dh, gradient.data<float>());
      tape.record({}, [&tape, h, gradient] { tape.contribute(h, gradient); });
      tape.backward();
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    Fixture f(kind);
    f.step(1);
    for (const auto& p : f.store.parameters()) check_differences(*p, 3, 5e-4, [&] { return f.loss(); });
  }
}

BOOST_AUTO_TEST_CASE(a_second_micro_batch_doubles_every_gradient) {
  Fixture f(RecurrentKind::kGru);
  f.step(1);
  std::vector<std::vector<double>> twice;
  for (const auto& p : f.store.parameters()) {
    const auto g = p->gradient().span<float>();
    twice.emplace_back(g.begin(), g.end());
    for (double& x : twice.back()) x *= 2;
  }
  f.step(2);
  for (std::size_t i = 0; i < twice.size(); ++i)
    check_close(f.store.parameters()[i]->name(), f.store.parameters()[i]->gradient().span<float>(), twice[i], 1e-6);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_named) {
  Fixture f(RecurrentKind::kGru);
  Tape tape(f.context, false);
  BOOST_CHECK_THROW(recurrent(tape, tape.constant(f.input), f.layers[0], f.rows), InternalError);  // 3 columns, not 4
  auto wrong = f.layers[0];
  wrong.kind = RecurrentKind::kLstm;
  BOOST_CHECK_THROW(recurrent(tape, linear(tape, tape.constant(f.input), f.below, nullptr), wrong, f.rows), InternalError);
}

}  // namespace tradewind::tests
