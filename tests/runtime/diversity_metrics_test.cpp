#include "runtime/train/diversity_metrics.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

using Lists = std::vector<std::vector<std::int32_t>>;
using Values = std::map<std::string, double>;

Values values_of(const DiversityMetrics& metrics) {
  const auto values = metrics.values();
  return {values.begin(), values.end()};
}

struct Golden {
  Golden() {
    std::ifstream in(std::string(TRADEWIND_SOURCE_DIR) + "/tests/golden/metrics/diversity.json");
    const auto golden = nlohmann::json::parse(in);
    lists = golden.at("lists").get<Lists>();
    inputs.item_users = golden.at("item_interactions").get<std::vector<std::int64_t>>();
    inputs.users = golden.at("users").get<std::int64_t>();
    for (const auto& row : golden.at("item_vectors"))
      for (const auto& x : row) inputs.vectors.push_back(x.get<float>());
    expected = golden.at("expected").get<Values>();
  }
  Lists lists;
  DiversityInputs inputs;
  Values expected;
};

void check(const std::string& what, double value, double wanted, double tolerance = 1e-9) {
  BOOST_CHECK_MESSAGE(std::abs(value - wanted) <= tolerance, what << " is " << value << ", not " << wanted);
}

}  // namespace

BOOST_AUTO_TEST_CASE(metrics_of_lists_are_the_golden_ones) {
  const Golden golden;
  DiversityMetrics metrics({5}, golden.inputs);
  for (const auto& list : golden.lists) metrics.add(list);
  const auto values = values_of(metrics);
  BOOST_TEST(values.size() == golden.expected.size());
  for (const auto& [name, wanted] : golden.expected) check(name, values.at(name + "@5"), wanted);
}

BOOST_AUTO_TEST_CASE(ranks_agree_with_one) {
  const Golden golden;
  DiversityMetrics alone({1, 3, 5}, golden.inputs);
  for (const auto& list : golden.lists) alone.add(list);
  const auto wanted = values_of(alone);
  for (const int ranks : {1, 2, 4}) {
    std::vector<Values> got(static_cast<std::size_t>(ranks));
    const auto errors = tests::on_ranks(ranks, [&](Communicator& communicator) {
      DiversityMetrics mine({1, 3, 5}, golden.inputs);
      for (std::size_t i = 0; i < golden.lists.size(); ++i)
        if (static_cast<int>(i) % ranks == communicator.rank()) mine.add(golden.lists[i]);
      mine.merge(communicator);
      got[static_cast<std::size_t>(communicator.rank())] = values_of(mine);
    });
    for (const auto& error : errors) BOOST_TEST(error.empty(), error);
    for (const auto& values : got) {
      BOOST_TEST(values.size() == wanted.size());
      for (const auto& [name, value] : wanted) check(name, values.at(name), value, 1e-12);
    }
  }
}

// A longer list counts up to the cut-off alone.
BOOST_AUTO_TEST_CASE(a_list_is_cut_at_k) {
  const Golden golden;
  DiversityMetrics two({2}, golden.inputs), cut({2}, golden.inputs);
  for (const auto& list : golden.lists) {
    two.add(list);
    cut.add(std::span(list).first(2));
  }
  BOOST_TEST((values_of(two) == values_of(cut)));
}

BOOST_AUTO_TEST_CASE(everybody_seeing_the_same_and_everybody_another) {
  const DiversityInputs inputs{.item_users = {8, 4, 2, 0}, .users = 8};
  DiversityMetrics same({2}, inputs), even({2}, inputs);
  for (int u = 0; u < 6; ++u) {
    same.add(std::vector<std::int32_t>{0, 1});
    even.add(u % 2 == 0 ? std::vector<std::int32_t>{0, 1} : std::vector<std::int32_t>{3, 2});
  }
  const auto a = values_of(same), b = values_of(even);
  check("coverage", a.at("coverage@2"), 0.5);
  check("gini of two in four", a.at("gini@2"), 0.5);
  check("entropy", a.at("entropy@2"), std::log(2.0));
  check("novelty of 0 and 1 bits", a.at("novelty@2"), 0.5);
  check("coverage", b.at("coverage@2"), 1);
  check("gini of equal shares", b.at("gini@2"), 0);
  check("an item that nobody had is as one that one had: 3 bits, and 2", b.at("novelty@2"), (0.5 + 2.5) / 2);
  BOOST_CHECK(!a.contains("intra_list_diversity@2") && !a.contains("category_diversity@2"));
}

BOOST_AUTO_TEST_CASE(pairs_differ_by_vector_and_by_category) {
  const DiversityInputs inputs{
      .item_users = {1, 1, 1, 1}, .users = 2, .vectors = {3, 0, 0, 2, -1, 0, 0, 0}, .category = {0, 0, 1, -1}};
  const auto of = [&](const Lists& lists) {
    DiversityMetrics metrics({3}, inputs);
    for (const auto& list : lists) metrics.add(list);
    return values_of(metrics);
  };
  check("at right angles", of({{0, 1}}).at("intra_list_diversity@3"), 1);
  check("opposite", of({{0, 2}}).at("intra_list_diversity@3"), 2);
  check("a vector of zeros", of({{0, 3}}).at("intra_list_diversity@3"), 1);
  check("three", of({{0, 1, 2}}).at("intra_list_diversity@3"), (1.0 + 2 + 1) / 3);
  check("one category", of({{0, 1}}).at("category_diversity@3"), 0);
  check("none is another", of({{0, 1, 3}}).at("category_diversity@3"), 2.0 / 3);
  check("lists without a pair do not count", of({{0, 1}, {2}, {}}).at("category_diversity@3"), 0);
  check("nor those without an item", of({{0, 1}, {2}, {}}).at("novelty@3"), 1);
  BOOST_CHECK(!of({{2}}).contains("category_diversity@3"));
}

BOOST_AUTO_TEST_CASE(no_lists_and_no_cutoff_are_errors) {
  const DiversityInputs inputs{.item_users = {1}, .users = 1};
  tests::check_throws<DataError>([&] { DiversityMetrics({1}, inputs).values(); }, {"no candidate"});
  tests::check_throws<ConfigError>([&] { DiversityMetrics({0}, inputs); }, {"at least 1"});
}
