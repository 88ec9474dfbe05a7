// The CUDA kernels of the sparse optimisers on the executor: the cases that the CPU solves, arrays that are aligned and that
// are not, rows outside the table, the scalars of a captured step.
#include "kernels/base/error.h"
#include "tests/kernels/sparse_optimizer_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(every_rule_matches_float64) {
  Turns turns;
  std::size_t turn = 0;
  for (const SparseRule rule : kSparseRules)
    for (const SparseShape& shape : kSparseShapes)
      for (const std::size_t skip : {0U, 1U})
        turns.next(name_of(rule),
                   [&](Place& place) { check_sparse(rule, shape, {.place = &place, .copy = turn++ % 3 != 0, .skip = skip}); });
}

// More rows than the grid has groups.
BOOST_AUTO_TEST_CASE(a_group_goes_on_to_other_rows) {
  Turns turns;
  for (const SparseRule rule : {SparseRule::kAdam, SparseRule::kRowwiseAdagrad})
    turns.next(name_of(rule), [&](Place& place) { check_sparse(rule, {4400, 68, 4300}, {.place = &place, .steps = 1}); });
}

BOOST_AUTO_TEST_CASE(rows_outside_the_table_touch_nothing) {
  Turns turns;
  for (const SparseRule rule : kSparseRules)
    turns.both(name_of(rule), [&](Place& place) {
      SparseArrays a = sparse_arrays(3, 8, rule), b = a;
      const auto values = random_values(32, 2);
      const std::vector<float> of_row(values.begin() + 16, values.begin() + 24);
      const StepState state{.step = 1, .learning_rate = 0.1F};
      sparse_update_once(a, {-1, -7, 1}, {values.begin(), values.begin() + 24}, 3, 8, {.rule = rule}, state, {.place = &place});
      sparse_update_once(b, {1}, of_row, 3, 8, {.rule = rule}, state, {.place = &place});
      BOOST_TEST((a.table == b.table && a.first == b.first && a.second == b.second));
      sparse_update_once(b, {3, 1 << 30}, {values.begin(), values.begin() + 16}, 3, 8, {.rule = rule}, state,
                         {.place = &place});
      BOOST_TEST((a.table == b.table && a.first == b.first && a.second == b.second));
    });
}

// Rate, clipping and t of a captured step are those of its replay.
BOOST_AUTO_TEST_CASE(a_captured_update_reads_the_scalars_of_its_step) {
  for (const SparseRule rule : {SparseRule::kAdam, SparseRule::kRowwiseAdagrad}) {
    Turns turns;
    turns.both("captured", [&](Place& place) {
      SparseArrays a = sparse_arrays(3, 8, rule);
      SparseOracle oracle{widen(a.table), widen(a.first), widen(a.second)};
      const std::vector<std::int32_t> rows = {0, 2};
      const auto values = random_values(16, 5);
      const SparseUpdateOptions options{.rule = rule};
      PlacedArrays at(&place, kernels::DType::kFloat32);
      StepState state{.step = 1, .learning_rate = 0.1F, .gradient_scale = 0.5F};
      kernels::Launch launch = at.launch();
      launch.step = at.value(state);
      auto *table = at.array(a.table), *first = at.array(a.first), *second = at.array(a.second);
      const kernels::SparseRows gradient{.rows = at.values(rows), .values = at.values(values), .count = 2};
      const auto replay = place.capture([&] { kernels::sparse_update(table, first, second, gradient, 3, 8, options, launch); });
      for (int step = 1; step <= 3; ++step) {
        state.step = step, state.learning_rate = 0.1F / static_cast<float>(step), state.gradient_scale = 0.5F + 0.5F * step;
        place.overwrite(const_cast<StepState*>(launch.step), &state, sizeof state);
        replay();
        at.fetch();
        oracle.update(rows, values, 8, options, state);
        check_close("table", a.table, oracle.table, 2e-6);
        check_close("first state", a.first, oracle.first, 2e-6);
      }
    });
  }
}

BOOST_AUTO_TEST_CASE(rows_too_wide_say_what_to_do) {
  Turns turns;
  turns.next("wide", [](Place& place) {
    SparseArrays a = sparse_arrays(2, 1028, SparseRule::kSgd);
    BOOST_CHECK_THROW(sparse_update_once(a, {0}, std::vector<float>(1028), 2, 1028, {.rule = SparseRule::kSgd}, {.step = 1},
                                         {.place = &place}),
                      DeviceError);
  });
}

}  // namespace tradewind::tests
