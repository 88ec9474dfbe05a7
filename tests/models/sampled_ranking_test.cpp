// Ranking among sampled items: who is drawn, and that the ranks are those of their scores.
#include "models/recommend/sampled_ranking.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "models/recommend/popularity.h"
#include "models/recommend/ranking_validation.h"
#include "models/recommend/sasrec.h"
#include "tests/support/histories.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;

constexpr std::int32_t kItems = 60;

std::vector<Ids> histories(std::int32_t users) {
  std::mt19937 engine(3);
  std::vector<Ids> out;
  for (std::int32_t u = 0; u < users; ++u) {
    Ids one(4 + engine() % 8);
    for (auto& i : one) i = static_cast<std::int32_t>(engine() % kItems);
    out.push_back(one);
  }
  return out;
}

models::RankingOptions among(std::int64_t candidates, std::uint64_t seed = 1) {
  models::RankingOptions out;
  out.candidates = candidates;
  out.seed = seed;
  return out;
}

double metric(const Evaluation& e, const std::string& name) {
  for (const auto& [key, value] : e.metrics)
    if (key == name) return value;
  return NAN;
}

struct Fixture {
  Fixture() : context(Device{}, 2, 1), model(config(), kItems) { model.parameters().allocate(context); }
  static models::SasRecConfig config() {
    models::SasRecConfig c;
    c.net.channels = 16;
    c.net.context_length = 12;
    c.net.dropout = 0;
    c.net.init_deviation = 0.3;
    return c;
  }
  Context context;
  models::SasRec model;
};

}  // namespace

BOOST_AUTO_TEST_CASE(draws_are_uniform_over_what_is_not_excluded) {
  const Ids excluded = {0, 1, 5, 9, 28, 29};
  constexpr std::int64_t kCount = 24000;
  const Ids drawn = models::draw_candidates(kCount, 30, excluded, 7, "C-1");
  std::map<std::int32_t, double> counts;
  for (const auto i : drawn) ++counts[i];
  BOOST_REQUIRE_EQUAL(counts.size(), 24U);
  double chi_square = 0;
  for (const auto& [item, n] : counts) {
    BOOST_CHECK(!std::ranges::binary_search(excluded, item) && item >= 0 && item < 30);
    chi_square += (n - 1000) * (n - 1000) / 1000;
  }
  BOOST_CHECK_MESSAGE(chi_square < 50, chi_square);  // 23 degrees of freedom: 49.7 in 1 of 1000
  BOOST_CHECK(models::draw_candidates(kCount, 30, excluded, 7, "C-1") == drawn);
  BOOST_CHECK(models::draw_candidates(kCount, 30, excluded, 7, "C-2") != drawn);
  BOOST_CHECK(models::draw_candidates(kCount, 30, excluded, 8, "C-1") != drawn);
  const Ids fewer = models::draw_candidates(10, 30, excluded, 7, "C-1");
  BOOST_CHECK(std::equal(fewer.begin(), fewer.end(), drawn.begin()));
  const Ids all = {0, 1, 2};
  check_throws<DataError>([&] { models::draw_candidates(1, 3, all, 1, "C-9"); }, {"C-9", "every item"});
}

// A validation item may be drawn, a training item and the target may not.
BOOST_AUTO_TEST_CASE(what_training_had_is_not_drawn) {
  const auto shop = shop_of(histories(40), kItems);
  const HeldOut users(shop, Part::kTest, 12);
  const auto of = users.collate(0, users.size());
  const auto drawn = models::draw_candidates(users, of.targets, 0, users.size(), 2000, true, 1);
  const auto from_all = models::draw_candidates(users, of.targets, 0, users.size(), 2000, false, 1);
  for (std::int64_t i = 0; i < users.size(); ++i) {
    const auto had = training_items(*shop, users.user(i));
    std::set<std::int32_t> allowed;
    for (std::int32_t v = 0; v < kItems; ++v)
      if (!std::ranges::binary_search(had, v) && v != of.targets.of(i)[0]) allowed.insert(v);
    const auto some = drawn.of(i), any = from_all.of(i);
    BOOST_TEST((std::set<std::int32_t>(some.begin(), some.end()) == allowed));
    BOOST_TEST(std::set<std::int32_t>(any.begin(), any.end()).size() == std::size_t{kItems} - 1);
  }
}

// By the definition, in float64, of the vectors that serving uses.
BOOST_AUTO_TEST_CASE(ranks_are_those_of_the_scores) {
  Fixture f;
  const auto shop = shop_of(histories(50), kItems);
  const auto users = std::make_shared<HeldOut>(shop, Part::kTest, 12);
  const auto of = users->collate(0, users->size());
  const auto drawn = models::draw_candidates(*users, of.targets, 0, users->size(), 20, true, 5);
  const Tensor x = f.model.queries(f.context, of.batch), w = f.model.item_vectors(f.context);
  const auto score = [&](std::int64_t n, std::int32_t v) {
    double z = 0;
    for (std::int64_t c = 0; c < 16; ++c) z += double{x.data<float>()[n * 16 + c]} * w.data<float>()[v * 16 + c];
    return z;
  };
  RankingMetrics expected({10});
  for (std::int64_t n = 0; n < users->size(); ++n) {
    const double mine = score(n, of.targets.of(n)[0]);
    std::int64_t above = 0;
    for (const auto v : drawn.of(n)) above += score(n, v) > mine ? 1 : 0;
    expected.add(std::vector<TargetRank>{{.greater = above}});
  }
  const auto got = models::RankingValidation(users, among(20, 5)).run(f.context, f.model, {.batch = 50});
  for (const auto& [name, value] : expected.means())
    BOOST_CHECK_MESSAGE(std::abs(metric(got, name) - value) < 1e-12, name << " is " << metric(got, name) << ", not " << value);
  BOOST_TEST(got.candidates == 20);
  BOOST_CHECK_MESSAGE(got.text().ends_with(" among 20 sampled items"), got.text());
  // However the users are cut into batches.
  const auto other = models::RankingValidation(users, among(20, 5)).run(f.context, f.model, {.batch = 7});
  for (const auto& [name, value] : got.metrics) BOOST_TEST(metric(other, name) == value);
}

BOOST_AUTO_TEST_CASE(chance_among_the_sampled_is_k_of_them) {
  Fixture f;
  for (auto& v : f.model.parameters().find("item_embedding.weight")->value().span<float>()) v = 0;
  const auto shop = shop_of(histories(30), kItems);
  const auto e = models::RankingValidation(std::make_shared<HeldOut>(shop, Part::kTest, 12), among(39))
                     .run(f.context, f.model, {.batch = 8});
  BOOST_CHECK_MESSAGE(std::abs(metric(e, "hr@10") - 10.0 / 40) < 1e-12, e.text());
}

// The bias goes with its item: the target is the only item ever had in training.
BOOST_AUTO_TEST_CASE(popularity_is_ranked_by_its_bias) {
  Context context(Device{}, 1, 1);
  std::vector<Ids> bought(20, Ids{7, 7, 7, 7, 11, 12});
  bought.push_back({1, 2, 7});
  const auto shop = shop_of(bought, kItems);
  models::Popularity popularity(kItems);
  popularity.fit(context, *shop);
  std::map<std::int32_t, std::vector<double>> each;
  auto options = among(50);
  options.each_user = [&](std::int32_t user, const std::vector<double>& values) { each[user] = values; };
  models::RankingValidation(std::make_shared<HeldOut>(shop, Part::kTest, 12), options).run(context, popularity, {.batch = 6});
  BOOST_REQUIRE_EQUAL(each.size(), 21U);
  BOOST_TEST(each.at(20)[2] == 1.0);  // mrr of the user who buys 7
  BOOST_TEST(each.at(0)[2] < 0.5);
}

// Of several held-out items each is ranked among the others and the drawn.
BOOST_AUTO_TEST_CASE(a_users_other_targets_are_candidates) {
  Context context(Device{}, 1, 1);
  auto shop = std::make_shared<Interactions>(*shop_of({{1, 2, 3, 4, 5}, {5, 5, 5, 4, 4, 1, 1}}, kItems));
  for (const std::size_t e : {3U, 4U}) shop->part.writable()[e] = Part::kTest;                  // 4 and 5 of the first user
  for (std::size_t e = 5; e < shop->part.size(); ++e) shop->part.writable()[e] = Part::kTrain;  // which the other makes popular
  models::Popularity popularity(kItems);
  popularity.fit(context, *shop);
  const auto e = models::RankingValidation(std::make_shared<HeldOut>(shop, Part::kTest, 12), among(30))
                     .run(context, popularity, {.batch = 1});
  BOOST_TEST(metric(e, "map@10") == 1.0);
  BOOST_TEST(metric(e, "ndcg@10") == 1.0);
  BOOST_TEST(e.targets == 2);
}

}  // namespace tradewind::tests
