#include "runtime/parallel/parameter_store.h"

#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using runtime::Context;
using runtime::Init;
using runtime::ParameterStore;

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

BOOST_AUTO_TEST_CASE(a_name_can_be_taken_once) {
  ParameterStore store;
  store.add("a", {1}, Init::constant(0), false);
  BOOST_CHECK_THROW(store.add("a", {2}, Init::constant(0), false), InternalError);
}

}  // namespace
}  // namespace tradewind::tests
