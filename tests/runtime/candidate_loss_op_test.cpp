// Candidate losses on the tape: what flows back through a layer, into the table that they share with it, and into a bias.
#include "runtime/ops/candidate_loss.h"

#include "kernels/base/error.h"
#include "runtime/ops/l2_normalize.h"
#include "runtime/ops/linear.h"
#include "tests/support/differences.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT: the runtime is what is tested
using kernels::CandidateLossKind;
using kernels::CandidateLossOptions;

Tensor ids_of(const Shape& shape, const std::vector<std::int32_t>& ids) {
  Tensor out(host_allocator(), shape, DType::kInt32);
  std::ranges::copy(ids, out.data<std::int32_t>());
  return out;
}

/// Five rows of a linear layer, scored against a table of nine.
struct Fixture {
  Context context{{}, 2, 1};
  ParameterStore store;
  Parameter& layer = store.add("layer", {6, 6}, Init::normal(0.5F), true);
  Parameter& table;
  Parameter& bias = store.add("bias", {9}, Init::normal(0.5F), false);
  Tensor input = context.tensor({5, 6});
  Candidates candidates;
  CandidateLossOptions options;
  bool with_bias = true;

  explicit Fixture(CandidateLossKind kind, bool shared, GradientKind of_table = GradientKind::kDense)
      : table(store.add("table", {9, 6}, Init::normal(0.5F), true, of_table)) {
    store.allocate(context);
    std::ranges::copy(random_values(30, 3), input.data<float>());
    context.step_state().loss_scale[0] = 0.2F;
    options.kind = kind;
    options.remove_hits = true;
    candidates.targets = ids_of({5}, {0, 4, -100, 8, 4});
    candidates.negatives = shared ? ids_of({4}, {1, 4, 8, 2}) : ids_of({5, 2}, {1, 0, 4, 8, 3, 3, 8, 2, 5, -100});
    if (kind != CandidateLossKind::kSoftmax) return;
    candidates.log_q = context.tensor({9});
    std::ranges::copy(random_values(9, 4), candidates.log_q.data<float>());
  }

  RowLosses losses(Tape& tape) {
    const Variable x = linear(tape, tape.constant(input), layer, nullptr);
    return candidate_loss(tape, x, table, with_bias ? &bias : nullptr, candidates, options);
  }
  double loss(Tape& tape) {
    double total = 0;
    for (const float l : losses(tape).loss.span<float>()) total += l;
    return total * 0.2;
  }
  void step(int times) {
    store.begin_step();
    for (int i = 0; i < times; ++i) {
      Tape tape(context, true);
      losses(tape);
      tape.backward();
    }
  }
};

std::vector<float> gradient_of(const Parameter& p) {
  const auto g = p.gradient().span<float>();
  return {g.begin(), g.end()};
}

}  // namespace

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences) {
  for (const CandidateLossKind kind :
       {CandidateLossKind::kBce, CandidateLossKind::kGbce, CandidateLossKind::kBpr, CandidateLossKind::kSoftmax})
    for (const bool shared : {false, true}) {
      Fixture f(kind, shared);
      f.step(1);
      for (Parameter* p : {&f.layer, &f.table, &f.bias})
        check_differences(*p, 2, 2e-4, [&] {
          Tape tape(f.context, false);
          return f.loss(tape);
        });
    }
}

BOOST_AUTO_TEST_CASE(a_second_micro_batch_doubles_every_gradient) {
  for (const bool shared : {false, true}) {
    Fixture f(CandidateLossKind::kSoftmax, shared);
    f.step(1);
    const std::vector<float> once = gradient_of(f.table), bias = gradient_of(f.bias), layer = gradient_of(f.layer);
    f.step(2);
    for (const auto& [p, before] : {std::pair{&f.table, &once}, {&f.bias, &bias}, {&f.layer, &layer}}) {
      std::vector<double> twice(before->begin(), before->end());
      for (double& g : twice) g *= 2;
      check_close(p->name(), gradient_of(*p), twice, 1e-6);
    }
  }
}

// Of the rows that were candidates what the dense gradient has, and no others; the bias beside it is dense.
BOOST_AUTO_TEST_CASE(a_sparse_gradient_is_the_rows_of_the_dense_one) {
  for (const bool shared : {false, true})
    for (const int micro_batches : {1, 2}) {
      Fixture dense(CandidateLossKind::kSoftmax, shared), sparse(CandidateLossKind::kSoftmax, shared, GradientKind::kSparse);
      dense.step(micro_batches);
      sparse.step(micro_batches);
      sparse.store.finish_gradients();
      const SparseGradient& g = sparse.table.sparse_gradient();
      std::vector<float> got(9 * 6, 0.0F);
      for (std::int64_t i = 0; i < g.count(); ++i)
        std::copy_n(g.values().data<float>() + i * 6, 6, got.data() + g.rows().data<std::int32_t>()[i] * 6);
      check_close("table", got, gradient_of(dense.table), 1e-6);
      check_close("bias", gradient_of(sparse.bias), gradient_of(dense.bias), 1e-6);
      check_close("layer", gradient_of(sparse.layer), gradient_of(dense.layer), 1e-6);
      const Tensor rows = g.rows();
      for (std::int64_t i = 1; i < g.count(); ++i)
        BOOST_CHECK_LT(rows.data<std::int32_t>()[i - 1], rows.data<std::int32_t>()[i]);
      BOOST_CHECK_LE(g.count(), 7);
    }
}

// Both towers from one layer, so that its gradient has both parts.
BOOST_AUTO_TEST_CASE(in_batch_gradients_agree_with_differences) {
  Context context({}, 2, 1);
  ParameterStore store;
  Parameter& layer = store.add("layer", {6, 6}, Init::normal(0.5F), true);
  store.allocate(context);
  context.step_state().loss_scale[1] = 0.2F;
  const Tensor left = context.tensor({5, 6}), right = context.tensor({5, 6});
  std::ranges::copy(random_values(30, 3), left.data<float>());
  std::ranges::copy(random_values(30, 4), right.data<float>());
  const auto loss_of = [&](Tape& tape) {
    const Variable query = l2_normalize(tape, linear(tape, tape.constant(left), layer, nullptr));
    const Variable key = l2_normalize(tape, linear(tape, tape.constant(right), layer, nullptr));
    double total = 0;
    const RowLosses losses = in_batch_softmax(tape, query, key, ids_of({5}, {7, 8, 7, 9, 1}), Tensor(), 2.0F, 1);
    for (const float l : losses.loss.span<float>()) total += l;
    return total * 0.2;
  };
  store.begin_step();
  {
    Tape tape(context, true);
    loss_of(tape);
    tape.backward();
  }
  check_differences(layer, 1, 5e-4, [&] {
    Tape tape(context, false);
    return loss_of(tape);
  });
}

BOOST_AUTO_TEST_CASE(info_nce_has_its_golden_values) {
  const GoldenTensors golden(golden_path("layers/info_nce.safetensors"));
  Context context({}, 2, 1);
  context.step_state().loss_scale[0] = golden.values("grad_out")[0] / 6;
  const auto tensor_of = [&](const std::string& name, const Shape& shape) {
    Tensor out = context.tensor(shape);
    std::ranges::copy(golden.values(name), out.data<float>());
    return out;
  };
  // What reaches the leaves, through a node below all others.
  std::vector<float> dquery, dkey;
  Tape tape(context, true);
  const Variable query = tape.variable(tensor_of("query", {6, 8})), key = tape.variable(tensor_of("key", {6, 8}));
  tape.record({}, [&] {
    for (const auto& [from, to] : {std::pair{&query, &dquery}, {&key, &dkey}}) {
      const auto g = from->gradient().span<float>();
      to->assign(g.begin(), g.end());
    }
  });
  const RowLosses losses = in_batch_softmax(tape, l2_normalize(tape, query), l2_normalize(tape, key),
                                            ids_of({6}, golden["item_ids"].ids()), tensor_of("log_q", {6}), 1 / 0.1F);
  double mean = 0;
  for (const float l : losses.loss.span<float>()) mean += l / 6.0;
  tape.backward();
  check_close("out", std::vector<double>{mean}, golden.values("out"), 1e-6);
  check_close("grad_query", dquery, golden.values("grad_query"), 3e-6);
  check_close("grad_key", dkey, golden.values("grad_key"), 3e-6);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_named) {
  Fixture f(CandidateLossKind::kSoftmax, false);
  Tape tape(f.context, false);
  f.candidates.negatives = ids_of({4, 2}, std::vector<std::int32_t>(8));
  BOOST_CHECK_THROW(f.losses(tape), InternalError);
  f.candidates.negatives = ids_of({5, 2}, std::vector<std::int32_t>(10));
  f.candidates.log_q = f.context.tensor({8});
  BOOST_CHECK_THROW(f.losses(tape), InternalError);
}

}  // namespace tradewind::tests
