// What a ranking says beside its metrics: of its lists, of slices of it, and the same on any number of ranks.
#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "models/recommend/popularity.h"
#include "models/recommend/ranking_validation.h"
#include "tests/support/histories.h"
#include "tests/support/thread_communicator.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;
using Values = std::map<std::string, double>;

constexpr std::int32_t kItems = 25;

std::shared_ptr<const Interactions> shop(std::int32_t users = 60) {
  std::mt19937 engine(11);
  std::vector<Ids> histories;
  for (std::int32_t u = 0; u < users; ++u) {
    Ids one(3 + engine() % 9);
    for (auto& i : one) i = static_cast<std::int32_t>(std::min(engine() % kItems, engine() % kItems));
    histories.push_back(one);
  }
  return shop_of(histories, kItems);
}

Values values_of(const std::vector<std::pair<std::string, double>>& metrics) { return {metrics.begin(), metrics.end()}; }

void check(const std::string& what, double value, double wanted, double tolerance = 1e-12) {
  BOOST_CHECK_MESSAGE(std::abs(value - wanted) <= tolerance, what << " is " << value << ", not " << wanted);
}

/// Even items are of slice "even", item 3 of a slice that nothing else has.
models::TargetSlice by_number() {
  return {.name = "number", .values = {"even", "odd", "three", "never"}, .value_of = [](std::int32_t, std::int32_t item) {
            return item == 3 ? 2 : item % 2;
          }};
}

models::RankingOptions options_for(const Interactions& interactions) {
  models::RankingOptions out;
  out.cutoffs = {3, 5};
  out.best_by = "ndcg@5";
  out.slices = {by_number()};
  out.lists = models::diversity_inputs(interactions);
  for (std::int32_t i = 0; i < kItems; ++i) {
    out.lists->vectors.insert(out.lists->vectors.end(), {static_cast<float>(i % 3), 1, static_cast<float>(i % 7) - 3});
    out.lists->category.push_back(i % 4 - 1);
  }
  return out;
}

Evaluation evaluated(const std::shared_ptr<const Interactions>& data, const models::RankingOptions& options,
                     Communicator* communicator = nullptr) {
  Context context(Device{}, 1, 1);
  models::Popularity popularity(kItems);
  popularity.fit(context, *data);
  return models::RankingValidation(std::make_shared<HeldOut>(data, Part::kTest, 10), options)
      .run(context, popularity, {.batch = 7, .communicator = communicator});
}

}  // namespace

// Popularity's lists by hand: the most frequent in training that the user has not had.
BOOST_AUTO_TEST_CASE(lists_are_the_best_that_the_user_has_not_had) {
  const auto data = shop();
  std::vector<std::int64_t> events(kItems), had(kItems);
  for (std::size_t e = 0; e < data->item.size(); ++e)
    if (data->part[e] == Part::kTrain) ++events[static_cast<std::size_t>(data->item[e])];
  std::vector<double> shown(kItems);
  std::vector<Ids> lists;
  for (std::int32_t user = 0; user < data->users->size(); ++user) {
    std::set<std::int32_t> seen, trained;
    bool held_out = false;
    for (auto e = data->offsets[static_cast<std::size_t>(user)]; e < data->offsets[static_cast<std::size_t>(user) + 1]; ++e) {
      const auto part = data->part[static_cast<std::size_t>(e)];
      held_out = held_out || part == Part::kTest;
      if (part != Part::kTest) seen.insert(data->item[static_cast<std::size_t>(e)]);
      if (part == Part::kTrain) trained.insert(data->item[static_cast<std::size_t>(e)]);
    }
    for (const auto item : trained) ++had[static_cast<std::size_t>(item)];
    BOOST_REQUIRE(held_out);
    Ids order;
    for (std::int32_t i = 0; i < kItems; ++i)
      if (!seen.contains(i)) order.push_back(i);
    std::ranges::stable_sort(order, std::greater<>(), [&](std::int32_t i) { return events[static_cast<std::size_t>(i)]; });
    order.resize(5);
    for (const auto i : order) shown[static_cast<std::size_t>(i)] += 1;
    lists.push_back(order);
  }
  double novelty = 0, distinct = 0;
  for (const auto& list : lists)
    for (const auto i : list)
      novelty += std::log2(static_cast<double>(data->users->size()) /
                           static_cast<double>(std::max<std::int64_t>(1, had[static_cast<std::size_t>(i)]))) /
                 5 / static_cast<double>(lists.size());
  for (const double x : shown) distinct += x > 0 ? 1 : 0;
  const auto got = values_of(evaluated(data, options_for(*data)).metrics);
  check("coverage", got.at("coverage@5"), distinct / kItems);
  check("novelty", got.at("novelty@5"), novelty);
  BOOST_CHECK(got.at("coverage@3") < got.at("coverage@5") && got.contains("category_diversity@3") &&
              got.contains("intra_list_diversity@5") && got.contains("ndcg@5"));
  // Among sampled items the ranks are others, the lists are not.
  auto sampled = options_for(*data);
  sampled.candidates = 4;
  const auto few = values_of(evaluated(data, sampled).metrics);
  BOOST_TEST(few.at("coverage@5") == got.at("coverage@5"));
  BOOST_TEST(few.at("hr@5") == 1.0);
}

// Under either rule of seen items the metrics are those of ranks counted by hand, and asking for both changes none.
BOOST_AUTO_TEST_CASE(both_rules_of_seen_items_are_measured_at_once) {
  const auto data = shop();
  std::vector<std::int64_t> events(kItems);
  for (std::size_t e = 0; e < data->item.size(); ++e)
    if (data->part[e] == Part::kTrain) ++events[static_cast<std::size_t>(data->item[e])];
  // [keep or leave out]: means over the users, whose last event is the only one of the test part.
  std::array<Values, 2> wanted;
  std::int64_t repeated = 0;
  for (std::int32_t user = 0; user < data->users->size(); ++user) {
    const auto history = data->items_of(user);
    const std::int32_t target = history.back();
    const std::set<std::int32_t> seen(history.begin(), history.end() - 1);
    repeated += seen.contains(target) ? 1 : 0;
    for (const int leave_out : {0, 1}) {
      int greater = 0, equal = 0;
      for (std::int32_t i = 0; i < kItems; ++i) {
        if (i == target || (leave_out == 1 && seen.contains(i))) continue;
        const auto mine = events[static_cast<std::size_t>(target)], its = events[static_cast<std::size_t>(i)];
        greater += its > mine ? 1 : 0;
        equal += its == mine ? 1 : 0;
      }
      for (int place = greater + 1; place <= greater + equal + 1; ++place) {
        const double share = 1.0 / (equal + 1) / data->users->size();
        auto& sums = wanted[static_cast<std::size_t>(leave_out)];
        sums["mrr"] += share / place;
        if (place > 5) continue;
        sums["hr@5"] += share;
        sums["ndcg@5"] += share / std::log2(place + 1);
      }
    }
  }
  BOOST_TEST(repeated > 5);  // a target is a candidate even where it was seen
  for (const std::int64_t candidates : {0, 4})
    for (const int leave_out : {0, 1}) {
      auto options = options_for(*data);
      options.candidates = candidates;
      options.leave_out_seen = leave_out == 1;
      const auto alone = evaluated(data, options);
      BOOST_TEST(alone.other_metrics.empty());
      options.both_rules = true;
      const auto both = evaluated(data, options);
      BOOST_TEST((both.metrics == alone.metrics));
      options.leave_out_seen = !options.leave_out_seen;
      options.both_rules = false;
      const auto other = evaluated(data, options);
      BOOST_TEST((both.other_metrics == other.metrics));
      if (candidates > 0) continue;
      for (const auto& [name, value] : wanted[static_cast<std::size_t>(leave_out)])
        check(name, values_of(both.metrics).at(name), value);
      for (const auto& [name, value] : wanted[static_cast<std::size_t>(1 - leave_out)])
        check("other " + name, values_of(both.other_metrics).at(name), value);
      BOOST_TEST(values_of(both.other_metrics).at("hr@5") != values_of(both.metrics).at("hr@5"));
    }
}

BOOST_AUTO_TEST_CASE(slices_make_up_the_whole) {
  const auto data = shop();
  std::map<std::int32_t, double> mrr_of;
  auto options = options_for(*data);
  options.each_user = [&](std::int32_t user, const std::vector<double>& values) { mrr_of[user] = values[4]; };
  const auto e = evaluated(data, options);
  Values wanted;
  std::map<std::string, int> users;
  for (const auto& [user, mrr] : mrr_of) {
    const auto item = data->item[static_cast<std::size_t>(data->offsets[static_cast<std::size_t>(user) + 1] - 1)];
    const std::string value = by_number().values[static_cast<std::size_t>(by_number().value_of(user, item))];
    wanted[value] += mrr;
    ++users[value];
  }
  BOOST_REQUIRE_EQUAL(e.slices.size(), 3U);  // nobody has "never"
  std::int64_t all = 0;
  for (const auto& slice : e.slices) {
    BOOST_TEST(slice.slice == "number");
    BOOST_TEST(slice.users == users.at(slice.value));
    BOOST_TEST(slice.targets == slice.users);
    check("mrr of " + slice.value, values_of(slice.metrics).at("mrr"), wanted.at(slice.value) / users.at(slice.value));
    all += slice.targets;
  }
  BOOST_TEST(all == e.targets);
}

// A user with held-out items of two values counts in both, with those alone.
BOOST_AUTO_TEST_CASE(a_user_of_two_slices_counts_in_both) {
  auto data = std::make_shared<Interactions>(*shop_of({{0, 1, 2, 4, 3, 6}, {8, 8, 9, 9, 7, 7}}, kItems));
  for (const std::size_t e : {3U, 4U, 5U}) data->part.writable()[e] = Part::kTest;
  for (std::size_t e = 6; e < data->part.size(); ++e) data->part.writable()[e] = Part::kTrain;
  auto options = options_for(*data);
  options.lists.reset();
  const auto e = evaluated(data, options);
  BOOST_REQUIRE_EQUAL(e.slices.size(), 2U);
  BOOST_CHECK(e.slices[0].value == "even" && e.slices[0].users == 1 && e.slices[0].targets == 2);
  BOOST_CHECK(e.slices[1].value == "three" && e.slices[1].users == 1 && e.slices[1].targets == 1);
}

BOOST_AUTO_TEST_CASE(ranks_agree_on_metrics_lists_and_slices) {
  const auto data = shop();
  for (const std::int64_t candidates : {0, 6}) {
    auto options = options_for(*data);
    options.candidates = candidates;
    options.both_rules = true;
    const auto alone = evaluated(data, options);
    for (const int ranks : {1, 2, 4}) {
      std::vector<Evaluation> got(static_cast<std::size_t>(ranks));
      const auto errors = on_ranks(ranks, [&](Communicator& communicator) {
        got[static_cast<std::size_t>(communicator.rank())] = evaluated(data, options, &communicator);
      });
      for (const auto& error : errors) BOOST_TEST(error.empty(), error);
      for (const auto& e : got) {
        check("loss", e.loss, alone.loss, 1e-9);
        BOOST_REQUIRE_EQUAL(e.metrics.size(), alone.metrics.size());
        for (std::size_t m = 0; m < e.metrics.size(); ++m)
          check(e.metrics[m].first, e.metrics[m].second, alone.metrics[m].second);
        BOOST_REQUIRE_EQUAL(e.other_metrics.size(), alone.metrics.size());
        for (std::size_t m = 0; m < e.other_metrics.size(); ++m)
          check("other " + e.metrics[m].first, e.other_metrics[m].second, alone.other_metrics[m].second);
        BOOST_REQUIRE_EQUAL(e.slices.size(), alone.slices.size());
        for (std::size_t s = 0; s < e.slices.size(); ++s) {
          BOOST_CHECK(e.slices[s].value == alone.slices[s].value && e.slices[s].users == alone.slices[s].users);
          for (std::size_t m = 0; m < e.slices[s].metrics.size(); ++m)
            check("a slice", e.slices[s].metrics[m].second, alone.slices[s].metrics[m].second);
        }
      }
    }
  }
}

}  // namespace tradewind::tests
