#include "runtime/train/ranking_metrics.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

std::map<std::string, double> means_of(const RankingMetrics& metrics) {
  const auto means = metrics.means();
  return {means.begin(), means.end()};
}

bool near(double a, double b, double tolerance = 1e-12) { return std::abs(a - b) <= tolerance; }

}  // namespace

BOOST_AUTO_TEST_CASE(metrics_are_the_golden_ones) {
  std::ifstream in(std::string(TRADEWIND_SOURCE_DIR) + "/tests/golden/metrics/ranking.json");
  const auto golden = nlohmann::json::parse(in);
  for (const auto& c : golden.at("cases"))
    for (const auto& [k, expected] : c.at("expected").items()) {
      RankingMetrics metrics({std::stoll(k)});
      for (std::size_t u = 0; u < c.at("ranked").size(); ++u) {
        const auto ranked = c["ranked"][u].get<std::vector<int>>();
        std::vector<TargetRank> targets;
        for (const int item : c["relevant"][u].get<std::vector<int>>()) {
          const auto at = std::ranges::find(ranked, item) - ranked.begin();  // not shown: behind all that are
          targets.push_back({.greater = at});
        }
        if (!targets.empty()) metrics.add(targets);
      }
      auto means = means_of(metrics);
      for (const auto& [ours, theirs] : std::map<std::string, std::string>{{"hr", "hit_rate"},
                                                                           {"precision", "precision"},
                                                                           {"recall", "recall"},
                                                                           {"ndcg", "ndcg"},
                                                                           {"map", "map"},
                                                                           {"mrr", "mrr"}}) {
        const double value = means.at(ours + "@" + k), wanted = expected.at(theirs).get<double>();
        BOOST_CHECK_MESSAGE(near(value, wanted),
                            c["name"] << ": " << ours << "@" << k << " is " << value << ", golden " << wanted);
      }
    }
}

// Equal scores tell nothing: the item is at each of their places alike.
BOOST_AUTO_TEST_CASE(a_constant_scorer_gets_what_chance_gets) {
  constexpr std::int64_t kItems = 200;
  RankingMetrics metrics({10});
  metrics.add(std::vector<TargetRank>{{.greater = 0, .equal = kItems - 1}});
  const auto means = means_of(metrics);
  double ndcg = 0, rr = 0;
  for (int r = 0; r < 10; ++r) ndcg += 1 / std::log2(r + 2.0) / kItems;
  for (int r = 0; r < kItems; ++r) rr += 1.0 / (r + 1) / kItems;
  BOOST_CHECK(near(means.at("hr@10"), 10.0 / kItems));
  BOOST_CHECK(near(means.at("recall@10"), 10.0 / kItems));
  BOOST_CHECK(near(means.at("ndcg@10"), ndcg));
  BOOST_CHECK(near(means.at("mrr"), rr));
}

// Against the mean over the places that the tied items can take.
BOOST_AUTO_TEST_CASE(ties_are_expectations) {
  for (const auto& t : {TargetRank{0, 3}, TargetRank{7, 5}, TargetRank{9, 1}, TargetRank{10, 4}, TargetRank{4, 0}}) {
    RankingMetrics tied({10}), drawn({10});
    tied.add(std::vector{t});
    for (std::int64_t r = t.greater; r <= t.greater + t.equal; ++r) drawn.add(std::vector<TargetRank>{{.greater = r}});
    const auto a = means_of(tied), b = means_of(drawn);
    for (const auto& [name, value] : a)
      BOOST_CHECK_MESSAGE(near(value, b.at(name)), name << " of " << t.greater << "+" << t.equal);
  }
}

BOOST_AUTO_TEST_CASE(nothing_to_rank_and_bad_cutoffs_are_errors) {
  tests::check_throws<DataError>([] { RankingMetrics({10}).means(); }, {"held out"});
  tests::check_throws<ConfigError>([] { RankingMetrics({0}); }, {"at least 1"});
  tests::check_throws<ConfigError>([] { RankingMetrics({}); }, {"cut-off"});
}
