// Item-based neighbours and what is recommended by them, against counting by the definition; popularity as a model; how both
// are saved and come back.
#include "models/recommend/item_knn.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <set>

#include "models/recommend/popularity.h"
#include "models/recommend/ranking_validation.h"
#include "models/recommend/serve.h"
#include "runtime/comm/communicator.h"
#include "tests/support/histories.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;

/// Some items far more often than others, some never, repeats among them.
std::vector<Ids> histories(std::int32_t users, std::int32_t items, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<Ids> out;
  for (std::int32_t u = 0; u < users; ++u) {
    Ids history(1 + engine() % 14);
    for (auto& i : history) {
      const double x = static_cast<double>(engine()) / 4294967296.0;
      i = static_cast<std::int32_t>(x * x * (items - 3));
    }
    out.push_back(history);
  }
  return out;
}

/// The training items of a user's newest `context` training events.
std::set<std::int32_t> training_set(const Interactions& x, std::int32_t user, std::int64_t context) {
  Ids items;
  for (std::int64_t e = x.offsets[user]; e < x.offsets[user + 1]; ++e)
    if (x.part[e] == Part::kTrain) items.push_back(x.item[e]);
  if (std::ssize(items) > context) items.erase(items.begin(), items.end() - context);
  return {items.begin(), items.end()};
}

/// similarity[i][j] by the definition, of all pairs; 0 where no user had both.
std::vector<std::vector<double>> similarities(const Interactions& x, const models::ItemKnnConfig& config) {
  const std::int32_t V = x.items->size();
  std::vector<std::vector<double>> together(V, std::vector<double>(V));
  for (std::int32_t u = 0; u < x.users->size(); ++u) {
    const auto items = training_set(x, u, config.context_length);
    for (const auto i : items)
      for (const auto j : items) together[i][j] += 1;
  }
  auto out = together;
  for (std::int32_t i = 0; i < V; ++i)
    for (std::int32_t j = 0; j < V; ++j) {
      const double both = std::sqrt(together[i][i] * together[j][j]) + config.shrink;
      out[i][j] = i == j || together[i][j] == 0 ? 0 : together[i][j] / both;
    }
  return out;
}

/// An item's row, all but its k best struck out.
std::vector<double> best_of_row(const std::vector<double>& row, std::int64_t k) {
  std::vector<std::int32_t> order;
  for (std::int32_t j = 0; j < std::ssize(row); ++j)
    if (row[j] > 0) order.push_back(j);
  std::ranges::stable_sort(order, [&](auto a, auto b) { return static_cast<float>(row[a]) > static_cast<float>(row[b]); });
  order.resize(std::min<std::size_t>(order.size(), k));
  std::vector<double> out(row.size());
  for (const auto j : order) out[j] = row[j];
  return out;
}

std::unique_ptr<models::ItemKnn> fitted(Context& context, const models::ItemKnnConfig& config, const Interactions& x) {
  auto model = std::make_unique<models::ItemKnn>(config, x.items->size());
  model->fit(context, x);
  return model;
}

struct Case {
  std::int64_t neighbours, context;
  double shrink;
};
const Case kCases[] = {{5, 200, 0}, {1000, 200, 0}, {7, 4, 3.5}};

}  // namespace

BOOST_AUTO_TEST_CASE(neighbours_and_scores_are_those_of_the_definition) {
  const auto shop = shop_of(histories(300, 60, 1), 60);
  for (const auto& [neighbours, newest, shrink] : kCases) {
    models::ItemKnnConfig config;
    config.neighbours = neighbours, config.context_length = newest, config.shrink = shrink;
    Context context(Device{}, 2, 1);
    const auto owned = fitted(context, config, *shop);
    auto& model = *owned;
    const auto all = similarities(*shop, config);
    std::vector<std::vector<double>> kept;
    for (std::int32_t i = 0; i < 60; ++i) {
      kept.push_back(best_of_row(all[i], neighbours));
      float before = INFINITY;
      std::vector<double> got(60);
      for (const auto& [j, similarity] : model.neighbours_of(i)) {
        BOOST_CHECK(similarity <= before);
        before = similarity;
        got[j] = similarity;
      }
      for (std::int32_t j = 0; j < 60; ++j)
        BOOST_CHECK_MESSAGE(std::abs(got[j] - kept[i][j]) <= 1e-6,
                            i << " and " << j << ": " << got[j] << ", not " << kept[i][j]);
    }
    // A history may repeat items and hold ones that nobody had in training.
    const std::vector<Ids> asked = {{1, 5, 1, 9}, {}, {59, 0}, {3}};
    const auto scores = model.scores(context, pack_histories(asked, newest)).given;
    for (std::int64_t s = 0; s < 4; ++s)
      for (std::int32_t v = 0; v < 60; ++v) {
        double want = 0;
        for (const auto i : std::set<std::int32_t>(asked[s].begin(), asked[s].end())) want += kept[i][v];
        const double got = scores.data<float>()[s * 60 + v];
        BOOST_CHECK_MESSAGE(std::abs(got - want) <= 1e-6, "history " << s << ", item " << v << ": " << got << ", not " << want);
      }
    const auto like = models::similar_items(context, model, 3, 60).items;
    BOOST_REQUIRE_EQUAL(like.size(), model.neighbours_of(3).size());
    for (std::size_t i = 0; i < like.size(); ++i) {
      BOOST_CHECK_EQUAL(like[i].item, model.neighbours_of(3)[i].item);
      BOOST_CHECK_EQUAL(like[i].score, model.neighbours_of(3)[i].similarity);
    }
  }
}

BOOST_AUTO_TEST_CASE(threads_change_no_bit) {
  const auto shop = shop_of(histories(400, 200, 2), 200);
  Context one(Device{}, 1, 1), three(Device{}, 3, 1);
  const auto a = fitted(one, {}, *shop)->learned(), b = fitted(three, {}, *shop)->learned();
  BOOST_REQUIRE_EQUAL(a.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_REQUIRE_EQUAL(a[i].data.bytes(), b[i].data.bytes());
    BOOST_CHECK(std::equal(static_cast<const std::byte*>(a[i].data.raw()),
                           static_cast<const std::byte*>(a[i].data.raw()) + a[i].data.bytes(),
                           static_cast<const std::byte*>(b[i].data.raw())));
  }
}

// Ranks by the definition: of the target among what the user has not had, equal scores at each of their places alike.
BOOST_AUTO_TEST_CASE(ranking_is_that_of_the_scores) {
  const auto shop = shop_of(histories(120, 40, 3), 40);
  Context context(Device{}, 2, 1);
  models::ItemKnnConfig config;
  config.neighbours = 6;
  const auto owned = fitted(context, config, *shop);
  auto& model = *owned;
  const auto all = similarities(*shop, config);
  const auto held_out = std::make_shared<HeldOut>(shop, Part::kTest, config.context_length);
  models::RankingOptions options;
  options.best_by = "mrr";
  std::vector<double> mrr;
  options.each_user = [&](std::int32_t user, const std::vector<double>&) {
    std::set<std::int32_t> seen;
    std::int32_t target = -1;
    for (std::int64_t e = shop->offsets[user]; e < shop->offsets[user + 1]; ++e) {
      if (shop->part[e] == Part::kTest)
        target = shop->item[e];
      else
        seen.insert(shop->item[e]);
    }
    std::vector<float> score(40);
    for (const auto i : seen) {
      const auto row = best_of_row(all[i], 6);
      for (std::int32_t v = 0; v < 40; ++v) score[v] += static_cast<float>(row[v]);
    }
    int greater = 0, equal = 0;
    for (std::int32_t v = 0; v < 40; ++v)
      if (v != target && !seen.contains(v)) greater += score[v] > score[target], equal += score[v] == score[target];
    double expected = 0;
    for (int place = greater; place <= greater + equal; ++place) expected += 1.0 / (place + 1);
    mrr.push_back(expected / (equal + 1));
  };
  const auto e = models::RankingValidation(held_out, options).run(context, model, {.batch = 50});
  double mean = 0;
  for (const double x : mrr) mean += x / static_cast<double>(mrr.size());
  BOOST_REQUIRE_EQUAL(std::ssize(mrr), held_out->size());
  BOOST_CHECK_MESSAGE(std::abs(e.best_value() - mean) <= 1e-6, e.text() << ", by the definition mrr " << mean);
  BOOST_CHECK_MESSAGE(e.loss > 0 && e.loss < 2 * std::log(40.0), e.text());
}

BOOST_AUTO_TEST_CASE(what_is_known_of_other_items_recommends) {
  // Whoever had 0 had 1 as well; 2 goes with 3.
  const auto shop = shop_of({{0, 1}, {1, 0}, {0, 1}, {2, 3}, {3, 2}}, 5);
  Context context(Device{}, 1, 1);
  const auto owned = fitted(context, {}, *shop);
  auto& model = *owned;
  const std::vector<Ids> asked = {{0}, {3}};
  const auto best =
      models::recommend(context, model, {.histories = asked, .users = {}}, {.top = 2, .history = 10, .allow = {}});
  BOOST_REQUIRE_EQUAL(best.size(), 2U);
  BOOST_CHECK_EQUAL(best[0][0].item, 1);
  BOOST_CHECK_EQUAL(best[1][0].item, 2);
  BOOST_CHECK_CLOSE(best[0][0].score, 1.0F, 1e-4);
  const std::vector<models::Pair> pairs = {{1, 2}, {0, 1}, {0, 4}};
  const auto scores = models::score_pairs(context, model, {.histories = asked, .users = {}}, pairs, 10);
  BOOST_CHECK_EQUAL(scores[0], best[1][0].score);
  BOOST_CHECK_EQUAL(scores[1], best[0][0].score);
  BOOST_CHECK_EQUAL(scores[2], 0.0F);
}

BOOST_AUTO_TEST_CASE(a_fit_is_saved_with_its_evaluation_and_comes_back) {
  const auto shop = shop_of(histories(100, 30, 4), 30);
  Context context(Device{}, 2, 1);
  const TemporaryFolder folder;
  const auto communicator = make_single_communicator();
  const models::RankingValidation validation(std::make_shared<HeldOut>(shop, Part::kValidation, 200), {});
  TrainObserver nobody;
  const auto save = [&](Task& task, const std::string& to) {
    TrainerConfig config;
    config.evaluate.batch = 64;
    return fit(context, *communicator, task, *shop, &validation, config, folder.path() / to, nobody);
  };
  models::ItemKnn knn({}, 30);
  const auto outcome = save(knn, "knn");
  BOOST_CHECK(outcome.reason == TrainOutcome::Reason::kFinished && outcome.step == 1 && outcome.best_step == 1);
  const auto checkpoint = Checkpoint::open(folder.path() / "knn" / "step-00000001");
  models::ItemKnn again({}, 30);
  const auto restored = restore_fitted(context, again, checkpoint);
  BOOST_CHECK(restored.best_value == outcome.best_value && restored.best_value > 0);
  for (std::int32_t i = 0; i < 30; ++i) {
    const auto a = knn.neighbours_of(i), b = again.neighbours_of(i);
    BOOST_CHECK(std::ranges::equal(
        a, b, [](const auto& x, const auto& y) { return x.item == y.item && x.similarity == y.similarity; }));
  }
  models::ItemKnn other({}, 31);
  check_throws<CheckpointError>([&] { other.restore(context, checkpoint); }, {"31 items"});

  models::Popularity popularity(30);
  save(popularity, "popularity");
  const auto counted = Checkpoint::open(folder.path() / "popularity" / "step-00000001");
  models::Popularity back(30);
  back.restore(context, counted);
  BOOST_CHECK(std::ranges::equal(back.item_bias().span<float>(), popularity.item_bias().span<float>()));
  check_throws<CheckpointError>([&] { other.restore(context, counted); }, {"neighbours.offsets"});
  check_throws<ConfigError>([&] { models::similar_items(context, back, 3, 1); }, {"item_knn"});
}

}  // namespace tradewind::tests
