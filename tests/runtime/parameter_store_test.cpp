#include "runtime/parallel/parameter_store.h"

#include <algorithm>
#include <cmath>

#include "runtime/comm/odd_ones.h"
#include "runtime/optim/optimizer.h"
#include "runtime/parallel/shard.h"
#include "tests/support/oracle.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using runtime::Context;
using runtime::GradientKind;
using runtime::Init;
using runtime::odd_ones;
using runtime::Optimizer;
using runtime::OptimizerConfig;
using runtime::ParameterStore;
using runtime::Shard;
using runtime::typical_rank;

void register_blocks(ParameterStore& store) {
  store.add("embedding.weight", {10, 7}, Init::normal(0.5F), true);
  for (int block = 0; block < 3; ++block) {
    store.begin_block();
    const std::string name = "blocks." + std::to_string(block);
    store.add(name + ".weight", {50, 30}, Init::normal(0.1F), true);
    store.add(name + ".bias", {30}, Init::constant(0.25F), false);
  }
}

BOOST_AUTO_TEST_CASE(buckets_go_backwards_and_end_at_blocks) {
  Context context({}, 1, 1);
  ParameterStore store;
  register_blocks(store);
  store.allocate(context, 4000);  // bytes: every block is larger
  BOOST_CHECK_EQUAL(store.parameter_count(), 70 + 3 * 1530);
  // Reverse order of registration: the last block first, the embedding last.
  const auto& parameters = store.parameters();
  for (std::size_t i = 1; i < parameters.size(); ++i) BOOST_CHECK_LT(parameters[i]->begin(), parameters[i - 1]->begin());
  std::int64_t at = 0;
  for (const auto& bucket : store.buckets()) {
    BOOST_CHECK_EQUAL(bucket.begin, at);
    BOOST_CHECK_EQUAL(bucket.end % ParameterStore::kBucketAlignment, 0);
    at = bucket.end;
  }
  BOOST_CHECK_EQUAL(at, store.values().elements());
  BOOST_CHECK_EQUAL(store.buckets().size(), 4U);
  for (const auto& p : parameters) {  // no parameter lies in two buckets
    int inside = 0;
    for (const auto& bucket : store.buckets()) inside += p->begin() >= bucket.begin && p->end() <= bucket.end ? 1 : 0;
    BOOST_CHECK_EQUAL(inside, 1);
    BOOST_CHECK_EQUAL(p->begin() % ParameterStore::kParameterAlignment, 0);
  }
}

BOOST_AUTO_TEST_CASE(initial_values_depend_on_seed_and_name_alone) {
  const auto values = [](std::uint64_t seed, bool other_first) {
    Context context({}, 1, seed);
    ParameterStore store;
    if (other_first) store.add("other", {5}, Init::normal(1), true);
    auto& p = store.add("weight", {101, 99}, Init::normal(0.5F), true);
    store.allocate(context);
    const auto s = p.value().span<float>();
    return std::vector<float>(s.begin(), s.end());
  };
  const auto a = values(1, false);
  BOOST_CHECK(a == values(1, true));
  BOOST_CHECK(a != values(2, false));
  double sum = 0, squares = 0;
  for (const float x : a) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const auto n = static_cast<double>(a.size());
  BOOST_CHECK_SMALL(sum / n, 0.02);
  BOOST_CHECK_CLOSE(std::sqrt(squares / n), 0.5, 3.0);
}

BOOST_AUTO_TEST_CASE(uniform_values_fill_their_range_evenly) {
  Context context({}, 1, 1);
  ParameterStore store;
  auto& p = store.add("weight", {301, 99}, Init::xavier_uniform(301, 99), true);
  store.allocate(context);
  const double bound = std::sqrt(6.0 / 400);
  std::vector<int> tenths(10);
  for (const float x : p.value().span<float>()) {
    BOOST_REQUIRE_LT(std::abs(static_cast<double>(x)), bound * (1 + 1e-6));
    ++tenths[std::min<std::size_t>(9, static_cast<std::size_t>((x / bound + 1) * 5))];
  }
  for (const int n : tenths) BOOST_CHECK_CLOSE(n, 301 * 99 / 10.0, 7.0);  // 3.9 standard deviations
}

// Equations 12 and 16 of Glorot & Bengio, of the same variance.
BOOST_AUTO_TEST_CASE(xaviers_matrices_have_the_same_variance) {
  const Init normal = Init::xavier_normal(301, 99), even = Init::xavier_uniform(301, 99);
  BOOST_CHECK(normal.kind == Init::Kind::kNormal && even.kind == Init::Kind::kUniform);
  BOOST_CHECK_CLOSE(normal.value, std::sqrt(2.0 / 400), 1e-5);
  BOOST_CHECK_CLOSE(normal.value, even.value / std::sqrt(3.0), 1e-5);
}

BOOST_AUTO_TEST_CASE(only_touched_parameters_are_updated_and_the_first_touch_assigns) {
  Context context({}, 1, 1);
  ParameterStore store;
  register_blocks(store);
  store.allocate(context);
  store.gradients().fill(7);
  store.begin_step();
  auto& weight = *store.find("blocks.1.weight");
  auto& bias = *store.find("blocks.1.bias");
  BOOST_CHECK(weight.touch() == kernels::Write::kAssign);
  BOOST_CHECK(weight.touch() == kernels::Write::kAccumulate);
  bias.touch();
  store.finish_gradients();
  BOOST_CHECK_EQUAL(store.find("blocks.0.weight")->gradient().span<float>()[3], 0);
  BOOST_CHECK_EQUAL(weight.gradient().span<float>()[3], 7);
  const auto segments = store.segments(0.1F);
  BOOST_REQUIRE_EQUAL(segments.size(), 2U);
  for (const auto& s : segments) {
    const auto& p = s.weight_decay > 0 ? weight : bias;
    BOOST_CHECK_EQUAL(s.begin, p.begin());
    BOOST_CHECK_EQUAL(s.end, p.end());
  }
  store.begin_step();
  BOOST_CHECK(weight.touch() == kernels::Write::kAssign);
}

BOOST_AUTO_TEST_CASE(shards_update_what_the_whole_optimizer_does_with_a_share_of_its_memory) {
  for (const std::string name : {"adamw", "adagrad", "sgd"})
    for (const int size : {2, 3, 4}) {
      OptimizerConfig config;
      config.name = name;
      const auto make = [](ParameterStore& store, Context& context) {
        for (int b = 0; b < 3; ++b) {
          store.begin_block();
          const std::string block = "blocks." + std::to_string(b);
          store.add(block + ".weight", {301, 97}, Init::normal(1), true);
          store.add(block + ".bias", {97}, Init::normal(1), false);
        }
        store.allocate(context, 4096);
        store.begin_step();
        float x = 0;
        for (const auto& p : store.parameters()) {
          if (p->name() == "blocks.1.bias") continue;  // not used in this step
          p->touch();
          for (float& g : p->gradient().span<float>()) g = std::sin(x += 0.1F);
        }
        store.finish_gradients();
        context.step_state().step = 1;
        context.step_state().learning_rate = 0.1F;
        context.step_state().gradient_scale = 0.5F;
      };
      Context context({}, 1, 1);
      ParameterStore whole;
      make(whole, context);
      const auto before_whole = context.allocator().bytes_in_use();
      Optimizer all(config, whole, context);
      const auto whole_bytes = context.allocator().bytes_in_use() - before_whole;
      all.update(context);
      for (int rank = 0; rank < size; ++rank) {
        Context own({}, 1, 1);
        ParameterStore store;
        make(store, own);
        const auto before = own.allocator().bytes_in_use();
        Optimizer part(config, store, own, Shard::of(store, rank, size));
        const auto bytes = own.allocator().bytes_in_use() - before;
        const std::size_t states = part.states().size();
        // States and the buffer for reduced gradients, each 1 / size and the rounding of three buckets to 64 bytes.
        const double share =
            static_cast<double>(whole_bytes) / size * static_cast<double>(states + 1) / static_cast<double>(states);
        BOOST_CHECK_SMALL(static_cast<double>(bytes) / share - 1, 0.05);
        for (const Shard::Part& p : part.shard().parts())
          std::copy_n(store.gradients().data<float>() + p.range.begin, p.range.end - p.range.begin,
                      part.gradients().data<float>() + p.at);
        part.update(own);
        for (const Shard::Part& p : part.shard().parts())
          for (std::int64_t i = p.range.begin; i < p.range.end; ++i) {
            if (store.values().data<float>()[i] != whole.values().data<float>()[i])
              BOOST_FAIL(name << ", rank " << rank << " of " << size << ": element " << i);
            for (const auto& [state, values] : part.states())
              if (values.data<float>()[p.at + i - p.range.begin] != all.states().at(state).data<float>()[i])
                BOOST_FAIL(name << ", rank " << rank << " of " << size << ": " << state << " of element " << i);
          }
      }
    }
}

BOOST_AUTO_TEST_CASE(what_another_rank_used_is_updated_here_too) {
  Context context({}, 1, 1);
  ParameterStore store;
  register_blocks(store);
  store.allocate(context);
  store.begin_step();
  store.find("blocks.0.bias")->touch();
  std::vector<double> uses(store.parameters().size(), -1);
  store.add_uses(uses.data());
  double sum = 0;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    BOOST_CHECK_EQUAL(uses[i], store.parameters()[i]->name() == "blocks.0.bias" ? 1 : 0);
    sum += uses[i];
    if (store.parameters()[i]->name() == "blocks.1.bias") uses[i] += 1;  // by the other
  }
  BOOST_CHECK_EQUAL(sum, 1);
  store.take_uses(uses.data());
  std::int64_t elements = 0;
  for (const auto& s : store.segments(0.1F)) elements += s.end - s.begin;
  BOOST_CHECK_EQUAL(elements,
                    store.find("blocks.0.bias")->shape().elements() + store.find("blocks.1.bias")->shape().elements());
}

BOOST_AUTO_TEST_CASE(the_odd_one_is_of_the_minority_and_not_rank_0_where_there_is_none) {
  BOOST_CHECK(odd_ones({7, 7, 7}).empty());
  BOOST_CHECK(odd_ones({7, 8, 8}) == std::vector<int>{0});
  BOOST_CHECK(odd_ones({7, 8, 7, 9}) == (std::vector<int>{1, 3}));
  BOOST_CHECK(odd_ones({7, 8}) == std::vector<int>{1});
  BOOST_CHECK_EQUAL(typical_rank({7, 8, 8}), 1);
}

// A table with a sparse gradient: behind the buckets, without room for a dense one.
BOOST_AUTO_TEST_CASE(tables_with_sparse_gradients_lie_behind_all_buckets) {
  Context context({}, 1, 1);
  ParameterStore store, dense;
  auto& table = store.add("items", {1001, 7}, Init::normal(0.5F), true, GradientKind::kSparse);
  auto& other = store.add("users", {3, 5}, Init::normal(0.5F), true, GradientKind::kSparse);
  register_blocks(store);
  register_blocks(dense);
  store.allocate(context, 4000);
  dense.allocate(context, 4000);
  BOOST_CHECK_EQUAL(store.gradients().elements(), dense.gradients().elements());
  BOOST_CHECK_EQUAL(store.buckets().size(), dense.buckets().size());
  BOOST_CHECK_EQUAL(store.buckets().back().end, store.dense_elements());
  BOOST_CHECK_GE(table.begin(), store.dense_elements());
  BOOST_CHECK_GE(other.begin(), table.end());
  BOOST_CHECK_GE(store.values().elements(), other.end());
  BOOST_CHECK_EQUAL(table.begin() % ParameterStore::kParameterAlignment, 0);
  BOOST_CHECK(!table.gradient().defined() && table.value().defined());
  BOOST_CHECK_THROW(table.touch(), InternalError);
  store.begin_step();
  table.add_rows(context, context.tensor({4}, runtime::DType::kInt32), context.tensor({4, 7}), 0);
  BOOST_CHECK(table.touched() && !other.touched());
  store.finish_gradients();
  BOOST_CHECK(store.segments(0.1F).empty());
  // All ranks' parts together are every element once.
  for (const int size : {1, 3, 4}) {
    std::int64_t elements = 0;
    for (int rank = 0; rank < size; ++rank)
      for (const auto& part : runtime::owned_parts(store, rank, size)) {
        elements += part.end - part.begin;
        BOOST_CHECK_EQUAL(part.flat, part.parameter->begin() + part.begin);
      }
    BOOST_CHECK_EQUAL(elements, store.parameter_count());
  }
}

BOOST_AUTO_TEST_CASE(what_has_no_sparse_form_is_refused_by_its_key) {
  Context context({}, 1, 1);
  ParameterStore store, dense;
  store.add("items", {10, 7}, Init::normal(0.5F), true, GradientKind::kSparse);
  dense.add("items", {10, 7}, Init::normal(0.5F), true);
  store.allocate(context);
  dense.allocate(context);
  OptimizerConfig config;  // adamw with weight decay
  check_throws<ConfigError>([&] { Optimizer(config, store, context); },
                            {"optimizer.weight_decay = 0.1", "\"items\"", "model.sparse_embeddings"});
  config.weight_decay = 0;
  for (const char* name : {"adamw", "adam", "adagrad"}) {
    config.name = name;
    config.check(store);
  }
  config.name = "sgd";
  check_throws<ConfigError>([&] { config.check(store); }, {"optimizer.momentum = 0.9", "\"items\""});
  config.momentum = 0;
  config.check(store);
  config.rowwise = true;
  check_throws<ConfigError>([&] { config.check(store); }, {"optimizer.rowwise", "adagrad"});
  config.name = "adagrad";
  config.check(store);
  check_throws<ConfigError>([&] { config.check(dense); }, {"optimizer.rowwise", "the model has none"});
  BOOST_CHECK_EQUAL(config.state_elements(*store.parameters()[0]), 10);
  config.rowwise = false;
  BOOST_CHECK_EQUAL(config.state_elements(*store.parameters()[0]), 70);
}

BOOST_AUTO_TEST_CASE(adagrad_begins_at_its_initial_accumulator) {
  Context context({}, 1, 1);
  ParameterStore store;
  auto& p = store.add("a", {3}, Init::constant(1), false);
  auto& table = store.add("t", {4, 1}, Init::constant(1), false, GradientKind::kSparse);
  store.allocate(context);
  OptimizerConfig config;
  config.name = "adagrad";
  config.weight_decay = 0;
  config.epsilon = 0;
  config.initial_accumulator = 5;
  Optimizer optimizer(config, store, context);
  store.begin_step();
  p.touch();
  p.gradient().fill(2);
  const auto rows = context.tensor({1}, runtime::DType::kInt32), values = context.tensor({1, 1});
  rows.span<std::int32_t>()[0] = 2;
  values.fill(2);
  table.add_rows(context, rows, values, 1);
  store.finish_gradients();
  context.step_state().step = 1;
  context.step_state().learning_rate = 0.3F;
  optimizer.update(context);
  BOOST_CHECK_CLOSE(p.value().span<float>()[1], 1 - 0.3 * 2 / 3, 1e-4);
  const auto t = table.value().span<float>();
  BOOST_CHECK_CLOSE(t[2], 1 - 0.3 * 2 / 3, 1e-4);
  BOOST_CHECK(t[0] == 1 && t[1] == 1 && t[3] == 1);
}

BOOST_AUTO_TEST_CASE(a_name_can_be_taken_once) {
  ParameterStore store;
  store.add("a", {1}, Init::constant(0), false);
  BOOST_CHECK_THROW(store.add("a", {2}, Init::constant(0), false), InternalError);
}

}  // namespace
}  // namespace tradewind::tests
