#include "kernels/base/error.h"
#include "kernels/embedding.h"
#include "kernels/optimizer.h"
#include "tests/kernels/sparse_optimizer_case.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

// 20 steps of 6 lookups with repeated ids, of a table of 12 rows, from golden/optim/sparse.
void follow_golden(SparseRule rule, const std::string& trajectory, SparseArrays a) {
  const GoldenTensors golden(golden_path("optim/sparse.safetensors"));
  const std::vector<std::int32_t> ids = golden["ids"].ids();
  const auto& expected = golden.values(trajectory);
  a.table = golden.values("start");
  std::vector<float> got = a.table;
  for (std::int64_t step = 1; step <= 20; ++step) {
    std::vector<std::int32_t> rows(6);
    std::vector<float> values(24);
    const auto count = static_cast<std::size_t>(
        kernels::embedding_backward_sparse(rows.data(), values.data(), golden.values("gradients").data() + 24 * (step - 1),
                                           ids.data() + 6 * (step - 1), 6, 12, 4, kernels::DType::kFloat32, {}));
    rows.resize(count), values.resize(4 * count);
    sparse_update_once(a, rows, values, 12, 4, {.rule = rule, .epsilon = 1e-8F}, {.step = step, .learning_rate = 0.1F}, {});
    got.insert(got.end(), a.table.begin(), a.table.end());
  }
  check_close(trajectory, got, expected, 1e-6);
  if (rule == SparseRule::kRowwiseAdagrad)
    check_close("rowwise_adagrad_sums", a.first, golden.values("rowwise_adagrad_sums"), 1e-6);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_rule_matches_float64_and_its_bits_do_not_depend_on_threads) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target)
    for (const SparseRule rule : kSparseRules)
      for (const SparseShape& shape : kSparseShapes) {
        std::vector<float> one;
        for (const int threads : {1, 2, 3}) {
          const auto got = check_sparse(rule, shape, {.threads = threads, .copy = threads > 1});
          if (threads == 1) one = got;
          BOOST_TEST((got == one));
        }
      }
  });
}

// Enough rows that threads share them.
BOOST_AUTO_TEST_CASE(large_tables_have_the_same_bits_with_any_number_of_threads) {
  for (const SparseRule rule : kSparseRules) {
    const auto one = check_sparse(rule, {9000, 20, 4000}, {.threads = 1});
    for (const int threads : {2, 3}) BOOST_TEST((check_sparse(rule, {9000, 20, 4000}, {.threads = threads}) == one));
  }
}

// What the dense rules make of a gradient of zeros but for those rows; SGD and Adagrad leave the other rows alone.
BOOST_AUTO_TEST_CASE(sgd_and_adagrad_have_the_bits_of_the_dense_update) {
  constexpr std::size_t kV = 50, kC = 13;
  const auto rows = some_rows(kV, 20, 3);
  const auto values = random_values(20 * kC, 4);
  std::vector<float> dense(kV * kC, 0.0F);
  for (std::size_t i = 0; i < 20; ++i)
    std::copy_n(values.data() + i * kC, kC, dense.data() + static_cast<std::size_t>(rows[i]) * kC);
  const StepState state{.step = 3, .learning_rate = 0.1F, .gradient_scale = 0.7F};
  kernels::Launch launch;
  launch.step = &state;
  const kernels::Segment all{0, kV * kC, 0.0F};
  for (const SparseRule rule : {SparseRule::kSgd, SparseRule::kAdagrad}) {
    SparseArrays a = sparse_arrays(kV, kC, rule), b = a;
    sparse_update_once(a, rows, values, kV, kC, {.rule = rule}, state, {});
    if (rule == SparseRule::kSgd)
      kernels::sgd_update(b.table.data(), nullptr, dense.data(), &all, 1, {}, launch);
    else
      kernels::adagrad_update(b.table.data(), b.first.data(), dense.data(), &all, 1, {.epsilon = 1e-8F}, launch);
    BOOST_TEST((a.table == b.table && a.first == b.first), name_of(rule));
  }
}

BOOST_AUTO_TEST_CASE(twenty_steps_follow_pytorch_and_fbgemm) {
  const auto arrays = [](SparseRule rule) { return sparse_arrays(12, 4, rule); };
  follow_golden(SparseRule::kAdagrad, "sparse_adagrad", arrays(SparseRule::kAdagrad));
  follow_golden(SparseRule::kRowwiseAdagrad, "rowwise_adagrad", arrays(SparseRule::kRowwiseAdagrad));
  follow_golden(SparseRule::kAdam, "sparse_adam", arrays(SparseRule::kAdam));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(12), values(8);
  StepState state{.step = 1};
  kernels::Launch launch;
  SparseRule rule = SparseRule::kAdam;
  const auto update = [&](const std::vector<std::int32_t>& rows, float* first, float* second) {
    kernels::sparse_update(x.data(), first, second,
                           {.rows = rows.data(), .values = values.data(), .count = static_cast<std::int64_t>(rows.size())}, 3,
                           4, {.rule = rule}, launch);
  };
  BOOST_CHECK_THROW(update({0, 2}, x.data(), x.data()), InternalError);  // no step
  launch.step = &state;
  update({0, 2}, x.data(), x.data());
  for (const std::vector<std::int32_t>& rows : {std::vector<std::int32_t>{1, 1}, {2, 0}, {-1, 2}, {0, 3}, {0, 1, 2, 2}})
    BOOST_CHECK_THROW(update(rows, x.data(), x.data()), InternalError);
  BOOST_CHECK_THROW(update({0}, x.data(), nullptr), InternalError);
  rule = SparseRule::kAdagrad;
  update({0}, x.data(), nullptr);
  BOOST_CHECK_THROW(update({0}, nullptr, nullptr), InternalError);
  rule = SparseRule::kSgd;
  update({0}, nullptr, nullptr);
  state.step = 0;
  BOOST_CHECK_THROW(update({0}, nullptr, nullptr), InternalError);
  state.step = 1;
  launch.device.type = kernels::DeviceType::kCuda;
  BOOST_CHECK_THROW(update({0}, nullptr, nullptr), DeviceError);
}

}  // namespace tradewind::tests
