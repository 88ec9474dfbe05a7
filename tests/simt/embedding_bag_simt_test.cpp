// The CUDA kernels of embedding bags on the executor: the cases that the CPU solves, in float32 and bfloat16, for every shape
// of row that the kernels are compiled for; ids outside their tables; bits that do not depend on the order of anything.
#include "kernels/base/error.h"
#include "tests/kernels/embedding_bag_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

/// Solves each case under both schedules, on machines of their own, every one with another seed.
void check_on_executor(const std::vector<BagCase>& cases) {
  Turns turns;
  for (const BagCase& c : cases) turns.both(describe(c), [&](Place& place) { check_case(c, &place); });
}

}  // namespace

// Channels for groups of 4, 8, 16 and 32 lanes, 32 lanes with 2, 4 and 8 vectors; and rows that are not whole vectors.
BOOST_AUTO_TEST_CASE(float32_rows_agree_with_float64) { check_on_executor(bag_cases({8, 20, 64, 100, 132, 260, 520, 5, 65})); }

BOOST_AUTO_TEST_CASE(bfloat16_rows_agree_with_float64) {
  check_on_executor(bag_cases({16, 40, 72, 256, 264, 520, 5, 60}, DType::kBFloat16));
}

BOOST_AUTO_TEST_CASE(hot_rows_agree_with_float64) {
  check_on_executor(hot_cases(8));
  check_on_executor(hot_cases(5, DType::kBFloat16));
}

BOOST_AUTO_TEST_CASE(nothing_to_look_up) { check_on_executor(empty_bag_cases()); }

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_order_of_threads_and_blocks) {
  BagCase c{.tables = {3, 30}, .B = 90, .C = 12, .weighted = true};
  c.prepare(21);
  std::vector<std::vector<float>> first;
  Turns turns;
  for (int turn = 0; turn < 6; ++turn)
    turns.next("order", [&](Place& place) {
      BagRun run(c, &place);
      run.forward();
      run.backward(Write::kAssign, true);
      std::vector<std::vector<float>> now = {run.out, run.values, run.dweights};
      run.update({}, true);
      now.push_back(run.table), now.push_back(run.moment);
      if (turn == 0) first = now;
      for (std::size_t i = 0; i < now.size(); ++i) check_same("turn " + std::to_string(turn), now[i], first[i]);
    });
}

// Like rows of zeros that get no gradient; the neighbours of a table are other tables, which must not notice.
BOOST_AUTO_TEST_CASE(ids_outside_their_tables_touch_nothing) {
  for (const BagMethod& method : kBagMethods) {
    BagCase good{.tables = {2, 3, 2}, .B = 4, .C = 8, .mode = method.mode, .weighted = method.weighted};
    good.prepare(31);
    BagCase bad = good;
    // The same batch with one id more in every bag of the mode max, or in place of one that has a weight of 0 in the others.
    bad.ids.clear(), bad.weights.clear(), bad.bag_offsets = {0};
    std::vector<std::int32_t> ids;
    std::vector<float> weights;
    std::vector<int64_t> offsets = {0};
    for (std::size_t bag = 0; bag + 1 < good.bag_offsets.size(); ++bag) {
      for (int64_t n = good.bag_offsets[bag]; n < good.bag_offsets[bag + 1]; ++n) {
        bad.ids.push_back(good.ids[size(n)]), ids.push_back(good.ids[size(n)]);
        bad.weights.push_back(method.weighted ? good.weights[size(n)] : 1.0F), weights.push_back(bad.weights.back());
      }
      bad.ids.push_back(bag % 2 == 0 ? 3 : -1), bad.weights.push_back(0.5F);
      if (method.mode == BagMode::kMean) ids.push_back(0), weights.push_back(0.0F);  // counts, and gives nothing
      bad.bag_offsets.push_back(bad.id_count()), offsets.push_back(static_cast<int64_t>(ids.size()));
    }
    good.ids = ids, good.weights = weights, good.bag_offsets = offsets;
    bad.dweights.assign(bad.ids.size(), 9.0F), good.dweights.assign(good.ids.size(), 9.0F);
    bad.weighted = good.weighted = method.mode != BagMode::kMax;
    Turns().next(describe(bad), [&](Place& place) {
      BagRun with(bad, &place), without(good, &place);
      with.forward(), without.forward();
      check_same(describe(bad) + " out", with.out, without.out);
      with.backward(Write::kAssign, bad.weighted), without.backward(Write::kAssign, bad.weighted);
      if (method.mode != BagMode::kMean) {
        check_same(describe(bad) + " rows", with.rows, without.rows);
        check_same(describe(bad) + " values", with.values, without.values);
      }
      if (bad.weighted)
        for (std::size_t bag = 1; bag < bad.bag_offsets.size(); ++bag)
          BOOST_TEST(with.dweights[size(bad.bag_offsets[bag]) - 1] == 0.0F);
      with.update({}, true), without.update({}, true);
      if (method.mode != BagMode::kMean) {
        check_same(describe(bad) + " table", with.table, without.table);
        check_same(describe(bad) + " moments", with.moment, without.moment);
      }
    });
  }
}

// Nothing but bad ids: no row, no chunk.
BOOST_AUTO_TEST_CASE(a_batch_of_bad_ids_has_no_gradient) {
  BagCase c{.tables = {2, 3}, .B = 3, .C = 8};
  c.prepare(5);
  std::fill(c.ids.begin(), c.ids.end(), 1000000);
  Turns().both("bad ids", [&](Place& place) {
    BagRun run(c, &place);
    run.forward();
    run.backward(Write::kAssign, false);
    BOOST_TEST(run.begins.back() == 0);
    run.update({}, true);
    check_same("table", run.table, c.table);
    check_same("moments", run.moment, c.moment);
  });
}

// The rate of a captured step is that of its replay.
BOOST_AUTO_TEST_CASE(a_captured_update_reads_the_rate_of_its_step) {
  Turns().both("captured", [](Place& place) {
    const std::vector<float> ones(8, 1.0F);
    const std::int32_t row = 0;
    const int64_t count = 1;
    kernels::StepState step{.learning_rate = 0.5F};
    auto* table = static_cast<float*>(place.put(ones.data(), 32));
    const auto* values = static_cast<float*>(place.put(ones.data(), 32));
    const auto* rows = static_cast<std::int32_t*>(place.put(&row, 4));
    const auto* counts = static_cast<int64_t*>(place.put(&count, 8));
    auto* state = static_cast<kernels::StepState*>(place.put(&step, sizeof step));
    kernels::Launch launch = place.launch();
    launch.step = state;
    const auto replay = place.capture([&] {
      kernels::row_update(table, nullptr, rows, values, counts, 1, 1, 8, DType::kFloat32, {.kind = RowUpdateKind::kSgd},
                          launch);
    });
    std::vector<float> now(8);
    float expected = 1.0F;
    for (const float rate : {0.5F, 0.125F}) {
      step.learning_rate = rate;
      place.overwrite(state, &step, sizeof step);
      replay();
      place.get(now.data(), table, 32);
      expected -= rate;
      check_same("table", now, std::vector<float>(8, expected));
    }
    for (const void* p : {static_cast<const void*>(table), static_cast<const void*>(values), static_cast<const void*>(rows),
                          static_cast<const void*>(counts), static_cast<const void*>(state)})
      place.drop(const_cast<void*>(p));
  });
}

BOOST_AUTO_TEST_CASE(rows_too_wide_and_other_dtypes_say_what_to_do) {
  Turns().next("refusals", [](Place& place) {
    const auto forward = [&](int64_t C, DType dtype) {
      BagCase c{.tables = {2}, .B = 1, .C = C};
      c.prepare(1);
      c.dtype = dtype;
      BagRun(c, &place).forward();
    };
    check_throws<DeviceError>([&] { forward(1028, DType::kFloat32); }, {"1028 channels", "1024", "device = \"cpu\""});
    check_throws<DeviceError>([&] { forward(8, DType::kFloat64); }, {"bfloat16 and float32", "float64"});
  });
}

}  // namespace tradewind::tests
