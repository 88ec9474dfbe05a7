#include "kernels/embedding_bag.h"

#include "kernels/base/error.h"
#include "tests/kernels/embedding_bag_case.h"
#include "tests/support/targets.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

const std::vector<int64_t> kChannels = {1, 7, 8, 16, 64, 65, 100, 200};

}  // namespace

BOOST_AUTO_TEST_CASE(every_mode_agrees_with_float64) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target)
    for (BagCase& c : bag_cases(kChannels))
      for (const int threads : {1, 2, 3}) {
        c.threads = threads;
        check_case(c, nullptr);
      }
  });
}

BOOST_AUTO_TEST_CASE(hot_rows_agree_with_float64) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target)
    for (BagCase& c : hot_cases(20)) check_case(c, nullptr);
  });
}

BOOST_AUTO_TEST_CASE(nothing_to_look_up) {
  for (const BagCase& c : empty_bag_cases()) check_case(c, nullptr);
}

// Large enough that every loop is shared out, with a table of three rows beside one of many.
BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_threads) {
  on_every_target([](const std::string& target) {
    for (const BagMethod& method : kBagMethods) {
      BagCase c{.tables = {3, 5000, 20}, .B = 3000, .C = 36, .mode = method.mode, .weighted = method.weighted};
      c.prepare(11);
      std::vector<std::vector<float>> first;
      for (const int threads : {1, 2, 3}) {
        c.threads = threads;
        BagRun run(c, nullptr);
        run.forward();
        run.backward(Write::kAssign, method.mode != BagMode::kMax);
        std::vector<std::vector<float>> now = {run.out, run.values, run.dweights};
        run.update({}, true);
        now.push_back(run.table), now.push_back(run.moment);
        if (threads == 1) first = now;
        for (std::size_t i = 0; i < now.size(); ++i) check_same(target + " " + describe(c), now[i], first[i]);
      }
    }
  });
}

// A row's bits depend on its own terms alone: looked up beside others or by itself.
BOOST_AUTO_TEST_CASE(bits_of_a_row_do_not_depend_on_other_rows) {
  BagCase alone{.tables = {}, .B = 300, .C = 12}, beside{.tables = {50, 2}, .B = 300, .C = 12};
  alone.prepare_counts({300}, 1);
  beside.mean_length = 4;
  beside.prepare(2);
  // Table 1 of `beside` looks up row 1 once a sample, as `alone` does its only row.
  beside.ids.resize(size(beside.bag_offsets[300]));
  for (int64_t b = 1; b <= 300; ++b) {
    beside.ids.push_back(1);
    beside.bag_offsets[size(300 + b)] = beside.id_count();
    std::copy_n(alone.dout.begin() + (b - 1) * alone.stride(), 12, beside.dout.begin() + (b - 1) * beside.stride() + 12);
  }
  BagRun one(alone, nullptr), two(beside, nullptr);
  one.backward(Write::kAssign, false), two.backward(Write::kAssign, false);
  check_same("the row", std::vector<float>(two.values.end() - 12, two.values.end()), one.values);
}

BOOST_AUTO_TEST_CASE(the_oracle_has_the_numeric_gradient) {
  for (const BagMethod& method : kBagMethods) {
    BagCase c{.tables = {4, 3}, .B = 3, .C = 3, .mode = method.mode, .weighted = method.weighted};
    c.prepare(5);
    BagOracle oracle(c);
    const std::vector<double> dtable = oracle.dtable, dweights = oracle.dweights;
    check_close("dtable", dtable, numeric_gradient(oracle.table, [&] { return oracle.loss(c); }), 1e-8);
    if (method.weighted)
      check_close("dweights", dweights, numeric_gradient(oracle.weights, [&] { return oracle.loss(c); }), 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(bad_ids_name_table_sample_and_place) {
  for (const std::int32_t bad : {5, -1}) {
    BagCase c{.tables = {9, 5}, .B = 2, .C = 4};
    c.row_offsets = {0, 9, 14};
    c.bag_offsets = {0, 1, 2, 2, 5};
    c.ids = {8, 0, 4, 0, bad};
    c.table.resize(14 * 4), c.moment.resize(14), c.dout.resize(size(2 * c.stride())), c.dweights.resize(5);
    const std::vector<std::string> words = {std::to_string(bad), "at 2", "table 1, sample 1", "5 rows"};
    BagRun run(c, nullptr);
    check_throws<DataError>([&] { run.forward(); }, words);
    check_throws<DataError>([&] { run.backward(Write::kAssign, false); }, words);
    check_throws<DataError>([&] { run.update({}, true); }, words);
  }
}

BOOST_AUTO_TEST_CASE(bags_that_end_before_they_begin_are_named) {
  BagCase c{.tables = {9, 5}, .B = 2, .C = 4};
  c.row_offsets = {0, 9, 14};
  c.bag_offsets = {0, 3, 2, 2, 3};
  c.ids = {8, 0, 4};
  c.table.resize(14 * 4), c.moment.resize(14), c.dout.resize(size(2 * c.stride())), c.dweights.resize(5);
  BagRun run(c, nullptr);
  check_throws<DataError>([&] { run.forward(); }, {"table 0, sample 1", "ends at id 2", "begins at 3"});
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const auto run = [](const std::function<void(BagCase&)>& change) {
    BagCase c{.tables = {4}, .B = 3, .C = 4};
    c.prepare(3);
    change(c);
    BagRun(c, nullptr).forward();
  };
  run([](BagCase&) {});
  BOOST_CHECK_THROW(run([](BagCase& c) { c.padding = -1; }), InternalError);
  BOOST_CHECK_THROW(run([](BagCase& c) { c.row_offsets[0] = 1; }), InternalError);
  BOOST_CHECK_THROW(run([](BagCase& c) { c.bag_offsets[0] = 1; }), InternalError);
  BOOST_CHECK_THROW(run([](BagCase& c) {
                      c.mode = BagMode::kMax, c.weighted = true;
                      c.weights.resize(c.ids.size());
                    }),
                    InternalError);
  BOOST_CHECK_THROW(run([](BagCase& c) { c.dtype = DType::kBFloat16; }), DeviceError);

  std::vector<float> table(8), values(4);
  const int64_t count = 1;
  const kernels::StepState step;
  kernels::Launch launch;
  const auto update = [&](std::int32_t row, int64_t room, float* moment) {
    kernels::row_update(table.data(), moment, &row, values.data(), &count, room, 2, 4, DType::kFloat32, {}, launch);
  };
  BOOST_CHECK_THROW(update(0, 1, table.data()), InternalError);  // no step
  launch.step = &step;
  update(0, 1, table.data());
  BOOST_CHECK_THROW(update(0, 1, nullptr), InternalError);
  BOOST_CHECK_THROW(update(0, 0, table.data()), InternalError);
  check_throws<DataError>([&] { update(2, 1, table.data()); }, {"row 2", "gradient 0", "2 rows"});
}

}  // namespace tradewind::tests
