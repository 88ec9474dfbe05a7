// Two towers: the whole model's loss in float64 by its definition, gradients, what attributes change and what they do not, and
// items that training never met.
#include "models/recommend/two_tower.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "models/recommend/ranking_validation.h"
#include "models/recommend/serve.h"
#include "tests/models/recommender_fixture.h"
#include "tests/support/attributes.h"
#include "tests/support/differences.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;
using Doubles = std::vector<double>;
using Fixture = RecommenderFixture<models::TwoTower>;

constexpr std::int32_t kItems = 30;
constexpr std::int64_t kChannels = 8;

models::TwoTowerConfig small(const std::string& loss = "sampled_softmax") {
  models::TwoTowerConfig c;
  c.channels = kChannels, c.hidden = 10, c.context_length = 12;
  c.init_deviation = 0.5;
  c.temperature = 0.5;
  c.loss.kind = loss;
  return c;
}

Fixture make(const models::TwoTowerConfig& config, const std::shared_ptr<const ItemAttributes>& attributes) {
  return Fixture(config, kItems, kernels::Device{}, kernels::DType::kFloat32, attributes);
}

/// Histories that share items, so that rows of a batch have the same targets.
std::shared_ptr<const Interactions> shop() {
  return shop_of({{1, 2, 3, 4, 5, 6, 7}, {9, 3, 7, 6, 5, 4}, {4, 5, 19, 3, 8}}, kItems);
}

Batch batch_of(const models::TwoTowerConfig& config, const std::shared_ptr<const Interactions>& of = shop()) {
  const SequenceDataset data(of, {.context = config.context(), .negatives = config.negatives()});
  return data.collate(epoch_of(data, 0));
}

/// Adds what the tests of a model's parameters by their names need.
void fill_biases(models::TwoTower& model) {
  for (const auto& p : model.parameters().parameters())
    if (p->name().ends_with(".bias")) {
      const auto values = random_values(static_cast<std::size_t>(p->shape().elements()), 17, 0.3);
      std::ranges::copy(values, p->value().data<float>());
    }
}

/// The model in float64, by its definition.
class Oracle {
 public:
  Oracle(models::TwoTower& model, const models::TwoTowerConfig& config, const ItemAttributes* attributes)
      : store_(model.parameters()), config_(config), attributes_(attributes) {}

  Doubles input(std::int32_t item) const {
    Doubles out = row("item_embedding.weight", item);
    for (std::size_t a = 0; attributes_ != nullptr && a < attributes_->columns.size(); ++a) {
      const auto values = attributes_->columns[a].of(item);
      for (const std::int32_t v : values) {
        const Doubles x = row("attribute_embedding." + std::to_string(a) + ".weight", v);
        for (std::size_t c = 0; c < out.size(); ++c) out[c] += x[c] / static_cast<double>(values.size());
      }
    }
    return out;
  }
  Doubles mean(std::span<const std::int32_t> history) const {
    if (config_.window > 0) history = history.last(std::min(history.size(), static_cast<std::size_t>(config_.window)));
    Doubles out(static_cast<std::size_t>(kChannels));
    for (const std::int32_t item : history) {
      const Doubles x = input(item);
      for (std::size_t c = 0; c < out.size(); ++c) out[c] += x[c] / static_cast<double>(history.size());
    }
    return out;
  }
  Doubles tower(const std::string& name, Doubles x) const {
    if (config_.hidden > 0) {
      Doubles hidden = product(name + ".up", x);
      for (double& h : hidden) h = std::max(h, 0.0);
      x = product(name + ".down", hidden);
    }
    double square = 0;
    for (const double v : x) square += v * v;
    if (config_.normalise)
      for (double& v : x) v /= std::sqrt(square);
    return x;
  }
  double score(std::span<const std::int32_t> history, std::int32_t item) const {
    const Doubles u = tower("user_tower", mean(history)), v = tower("item_tower", input(item));
    return std::inner_product(u.begin(), u.end(), v.begin(), 0.0) / (config_.normalise ? config_.temperature : 1);
  }

 private:
  Doubles row(const std::string& name, std::int64_t at) const {
    const Parameter& p = *store_.find(name);
    const float* const x = p.value().data<float>() + at * p.shape()[1];
    return {x, x + p.shape()[1]};
  }
  Doubles product(const std::string& name, const Doubles& x) const {
    const Parameter &w = *store_.find(name + ".weight"), &b = *store_.find(name + ".bias");
    Doubles out;
    for (std::int64_t o = 0; o < w.shape()[0]; ++o) {
      const Doubles r = row(name + ".weight", o);
      out.push_back(std::inner_product(r.begin(), r.end(), x.begin(), double{b.value().data<float>()[o]}));
    }
    return out;
  }
  ParameterStore& store_;
  models::TwoTowerConfig config_;
  const ItemAttributes* attributes_;
};

/// softmax over candidates, less log q of each: -log of the target's share.
double softmax_loss(const Oracle& model, std::span<const std::int32_t> history, std::int32_t target, const Ids& negatives,
                    const std::function<double(std::int32_t)>& log_q) {
  const double of_target = model.score(history, target) - log_q(target);
  double sum = std::exp(of_target);
  for (const std::int32_t item : negatives)
    if (item != target) sum += std::exp(model.score(history, item) - log_q(item));
  return std::log(sum) - of_target;
}

}  // namespace

BOOST_AUTO_TEST_CASE(losses_are_those_of_the_definition) {
  for (const char* loss : {"sampled_softmax", "softmax", "bce"})
    for (const bool normalise : {true, false})
      for (const std::int64_t hidden : {10, 0})
        for (const bool known : {true, false}) {
          auto config = small(loss);
          config.normalise = normalise;
          config.hidden = hidden;
          config.window = known ? 3 : 0;
          if (config.loss.kind == "bce") config.loss.sampling = "uniform";
          config.loss.negatives_per_position = 3;
          const auto attributes = known ? some_attributes(kItems) : nullptr;
          Fixture f = make(config, attributes);
          fill_biases(f.model);
          const Batch batch = batch_of(config);
          const auto losses = f.losses(batch);
          const Oracle oracle(f.model, config, attributes.get());
          const auto ids = batch["ids"].span<std::int32_t>(), targets = batch["targets"].span<std::int32_t>();
          // In the batch, which is the epoch, an item's share of the targets is its q.
          const auto log_q = [&](std::int32_t item) {
            return std::log(static_cast<double>(std::ranges::count(targets, item)) / static_cast<double>(targets.size()));
          };
          const auto* offsets = batch["offsets"].data<std::int64_t>();
          Doubles want;
          for (std::int64_t s = 0; s + 1 < batch["offsets"].elements(); ++s)
            for (std::int64_t n = offsets[s]; n < offsets[s + 1]; ++n) {
              const auto history =
                  ids.subspan(static_cast<std::size_t>(offsets[s]), static_cast<std::size_t>(n + 1 - offsets[s]));
              const std::int32_t target = targets[static_cast<std::size_t>(n)];
              if (config.loss.kind == "softmax") {
                Ids all(kItems);
                std::iota(all.begin(), all.end(), 0);
                want.push_back(softmax_loss(oracle, history, target, all, [](std::int32_t) { return 0.0; }));
              } else if (config.loss.kind == "sampled_softmax") {
                want.push_back(softmax_loss(oracle, history, target, Ids(targets.begin(), targets.end()), log_q));
              } else {
                double sum = std::log1p(std::exp(-oracle.score(history, target)));
                for (int j = 0; j < 3; ++j)
                  sum += std::log1p(std::exp(oracle.score(history, batch["negatives"].data<std::int32_t>()[n * 3 + j])));
                want.push_back(sum);
              }
            }
          check_close(loss, losses, want, 2e-5);
        }
}

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences) {
  for (const char* loss : {"sampled_softmax", "softmax"})
    for (const std::int64_t hidden : {10, 0}) {
      auto config = small(loss);
      config.hidden = hidden;
      config.temperature = 1;
      Fixture f = make(config, some_attributes(kItems));
      fill_biases(f.model);
      for (const char* tower : {"user_tower.up.bias", "item_tower.up.bias"})  // units far from the kink, on and off
        if (const Parameter* p = f.model.parameters().find(tower); p != nullptr)
          for (std::int64_t i = 0; i < p->shape().elements(); ++i) p->value().data<float>()[i] = i % 3 == 2 ? -8.0F : 8.0F;
      const Batch batch = batch_of(config);
      f.gradients(batch, 0.2F);
      for (const auto& p : f.model.parameters().parameters())
        check_differences(*p, 5, 1e-3, [&] {
          const auto losses = f.losses(batch);
          return 0.2 * std::accumulate(losses.begin(), losses.end(), 0.0);
        });
    }
}

// Of the items of the batch what the dense gradient has, and of no others.
BOOST_AUTO_TEST_CASE(a_sparse_gradient_is_the_rows_of_the_dense_one) {
  auto config = small();
  const Batch batch = batch_of(config);
  Fixture dense = make(config, some_attributes(kItems));
  config.sparse_embeddings = true;
  Fixture sparse = make(config, some_attributes(kItems));
  dense.gradients(batch);
  sparse.gradients(batch);
  const auto of = [](Fixture& f, const std::string& name) -> Parameter& { return *f.model.parameters().find(name); };
  const SparseGradient& got = of(sparse, "item_embedding.weight").sparse_gradient();
  const auto ids = batch["ids"].span<std::int32_t>(), targets = batch["targets"].span<std::int32_t>();
  std::set<std::int32_t> met(ids.begin(), ids.end());
  met.insert(targets.begin(), targets.end());
  BOOST_CHECK_EQUAL(got.count(), static_cast<std::int64_t>(met.size()));
  std::vector<float> rows(static_cast<std::size_t>(kItems * kChannels));
  for (std::int64_t i = 0; i < got.count(); ++i)
    std::copy_n(got.values().data<float>() + i * kChannels, kChannels,
                rows.data() + got.rows().data<std::int32_t>()[i] * kChannels);
  const auto close = [](const std::string& name, std::span<const float> a, std::span<const float> b) {
    check_close(name, std::vector<float>(a.begin(), a.end()), std::vector<float>(b.begin(), b.end()), 1e-6);
  };
  close("items", rows, of(dense, "item_embedding.weight").gradient().span<float>());
  close("attribute", of(sparse, "attribute_embedding.1.weight").gradient().span<float>(),
        of(dense, "attribute_embedding.1.weight").gradient().span<float>());

  config.loss.kind = "softmax";
  check_throws<ConfigError>([&] { config.check(); }, {"model.sparse_embeddings = true", "model.loss = \"softmax\""});
}

// Without values, and with one for all items that means nothing, a model is the one that knows ids alone, to the bit.
BOOST_AUTO_TEST_CASE(attributes_that_say_nothing_change_nothing) {
  const auto config = small();
  const Batch batch = batch_of(config);
  Fixture alone = make(config, nullptr),
          without = make(config, attributes_of({attribute("none", 2, std::vector<Ids>(kItems))})),
          constant = make(config, attributes_of({attribute("same", 1, std::vector<Ids>(kItems, Ids{0}))}));
  constant.model.parameters().find("attribute_embedding.0.weight")->value().zero();
  const auto want = alone.losses(batch);
  BOOST_TEST(without.losses(batch) == want, boost::test_tools::per_element());
  BOOST_TEST(constant.losses(batch) == want, boost::test_tools::per_element());
  alone.gradients(batch);
  without.gradients(batch);
  constant.gradients(batch);
  for (Fixture* f : {&without, &constant})
    for (const char* name : {"item_embedding.weight", "user_tower.up.weight", "item_tower.down.bias"}) {
      const auto a = alone.model.parameters().find(name)->gradient().span<float>(),
                 b = f->model.parameters().find(name)->gradient().span<float>();
      BOOST_CHECK_MESSAGE(std::ranges::equal(a, b), name);
    }
}

// Trained, too: what all items have in common tells none apart.
BOOST_AUTO_TEST_CASE(a_constant_attribute_is_learnt_to_be_as_good_as_none) {
  const auto all = shop_of(walks(200, kItems, 1), kItems);
  const models::RankingValidation test(std::make_shared<HeldOut>(all, Part::kTest, 2), {});
  auto config = small();
  config.channels = 16, config.hidden = 32, config.context_length = 2;
  config.temperature = 0.1;
  const auto ndcg = [&](const std::shared_ptr<const ItemAttributes>& attributes) {
    Fixture f = make(config, attributes);
    f.learn(SequenceDataset(all, {.context = 2, .negatives = config.negatives()}), 150);
    return metric(test.run(f.context, f.model, {.batch = 64}), "ndcg@10");
  };
  const double none = ndcg(nullptr), constant = ndcg(attributes_of({attribute("same", 1, std::vector<Ids>(kItems, Ids{0}))}));
  BOOST_CHECK_MESSAGE(none > 0.9 && std::abs(none - constant) < 0.05, "ndcg@10 " << none << ", with a constant " << constant);
}

BOOST_AUTO_TEST_CASE(queries_and_item_vectors_are_what_the_loss_is_of) {
  for (const bool normalise : {true, false}) {
    auto config = small("softmax");
    config.normalise = normalise;
    Fixture f = make(config, some_attributes(kItems));
    fill_biases(f.model);
    f.check_losses_are_of_the_served_vectors(batch_of(config));
  }
}

// A history's vector beside longer and shorter ones is what it is alone; one without items is zeros.
BOOST_AUTO_TEST_CASE(histories_do_not_see_each_other) {
  Fixture f = make(small(), some_attributes(kItems));
  fill_biases(f.model);
  f.context.set_stable_rows(true);
  const std::vector<Ids> some = {{1, 2}, {}, {3, 4, 5, 6, 7}, {8}, {9, 1, 2}}, none = {{}, {}};
  const Tensor together = f.model.queries(f.context, pack_histories(some, 12));
  for (std::size_t s = 0; s < some.size(); ++s) {
    const Tensor alone = f.model.queries(f.context, pack_histories(std::vector<Ids>{some[s]}, 12));
    for (std::size_t c = 0; c < 8; ++c) BOOST_CHECK_EQUAL(together.data<float>()[s * 8 + c], alone.data<float>()[c]);
  }
  for (std::size_t c = 0; c < 8; ++c) BOOST_CHECK_EQUAL(together.data<float>()[8 + c], 0.0F);
  const Tensor nothing = f.model.queries(f.context, pack_histories(none, 12));
  BOOST_CHECK(std::ranges::all_of(nothing.span<float>(), [](float x) { return x == 0; }));
}

BOOST_AUTO_TEST_CASE(dropout_changes_the_training_alone) {
  auto config = small();
  const Batch batch = batch_of(config);
  const auto loss = [&](bool training) {
    Fixture f = make(config, some_attributes(kItems));
    return f.total(batch, training);
  };
  const double without = loss(true);
  BOOST_CHECK_EQUAL(loss(false), without);
  config.dropout = 0.5;
  BOOST_CHECK(loss(true) != without);
  BOOST_CHECK_EQUAL(loss(false), without);
}

// Each shopper has a kind of things that it buys; the last of them is an item that nobody had before.
BOOST_AUTO_TEST_CASE(items_that_training_never_met_are_found_by_their_attributes) {
  constexpr std::int32_t kKinds = 8, kEach = 15, kCold = 5, kAll = kKinds * kEach;
  std::mt19937 engine(5);
  std::vector<Ids> histories, kinds;
  for (std::int32_t i = 0; i < kAll; ++i) kinds.push_back({i % kKinds});
  for (std::int32_t user = 0; user < 300; ++user) {
    const std::int32_t kind = user % kKinds;
    const auto item = [&](std::int32_t first, std::int32_t count) {
      return kind + kKinds * (first + static_cast<std::int32_t>(engine() % static_cast<std::uint32_t>(count)));
    };
    Ids history;
    for (int e = 0; e < 8; ++e) history.push_back(item(kCold, kEach - kCold));
    history.push_back(item(0, kCold));
    histories.push_back(history);
  }
  const auto all = shop_of(histories, kAll);
  const models::RankingValidation test(std::make_shared<HeldOut>(all, Part::kTest, 12), {});
  models::TwoTowerConfig config;
  config.channels = 16, config.hidden = 32, config.context_length = 12;
  const auto hit_rate = [&](const std::shared_ptr<const ItemAttributes>& attributes) {
    Fixture f(config, kAll, kernels::Device{}, kernels::DType::kFloat32, attributes);
    f.learn(SequenceDataset(all, {.context = 12, .negatives = config.negatives()}), 60);
    return metric(test.run(f.context, f.model, {.batch = 64}), "hr@10");
  };
  const double ids = hit_rate(nullptr), known = hit_rate(attributes_of({attribute("kind", kKinds, kinds)}));
  BOOST_CHECK_MESSAGE(known > 0.5 && known > 3 * ids, "hr@10 of ids " << ids << ", with attributes " << known);
}

// Of 1,000 items and histories of 12: those of histories, targets and negatives, or the catalogue, once.
BOOST_AUTO_TEST_CASE(a_plan_counts_the_items_that_a_micro_batch_computes) {
  struct Case {
    std::string loss, sampling;
    bool shared;
    std::int64_t one, many, negatives;  // distinct items of one history and of 500; negatives of a target among three histories
  };
  for (const Case& c : {Case{"sampled_softmax", "in_batch", false, 24, 1000, 36}, Case{"bce", "uniform", false, 72, 1000, 4},
                        Case{"bce", "uniform", true, 28, 1000, 4}, Case{"softmax", "uniform", false, 1000, 1000, 1000}}) {
    auto config = small(c.loss);
    config.loss.sampling = c.sampling;
    config.loss.shared_negatives = c.shared;
    config.loss.negatives_per_position = 4;
    const CostEstimate cost = models::TwoTower(config, 1000).cost();
    const std::int64_t bytes = cost.distinct.bytes;
    BOOST_TEST(bytes > 0);
    BOOST_TEST(cost.distinct.bytes_of(1) == bytes * c.one);
    BOOST_TEST(cost.distinct.bytes_of(500) == bytes * c.many);
    const Work work = cost.work(3);
    BOOST_TEST(work.targets == 36);
    BOOST_TEST(cost.candidates.beside(work.targets) == c.negatives);
    BOOST_TEST((cost.candidates.shared || cost.candidates.in_batch) == (c.shared || c.loss != "bce"));
    // A query's tower a row, an item's a target and, where they are drawn for each, a negative; and the scores.
    const std::int64_t tower = 4 * kChannels * 10, scored = c.loss == "softmax" ? 1000 : 1 + c.negatives;
    const std::int64_t drawn = c.loss == "bce" && !c.shared ? 4 : 0;
    BOOST_TEST(cost.forward_flops(work) ==
               static_cast<double>(36 * (2 * kChannels + tower) + 36 * (1 + drawn) * tower + 36 * scored * 2 * kChannels));
  }
}

BOOST_AUTO_TEST_CASE(every_loss_learns_the_walk) {
  const auto all = shop_of(walks(200, kItems, 1), kItems);
  const models::RankingValidation test(std::make_shared<HeldOut>(all, Part::kTest, 2), {});
  for (const auto& [loss, sampling] : {std::pair{"sampled_softmax", "in_batch"},
                                       {"sampled_softmax", "popularity"},
                                       {"softmax", "uniform"},
                                       {"gbce", "uniform"}}) {
    auto config = small(loss);
    config.channels = 16, config.hidden = 32, config.context_length = 2;
    config.temperature = 0.1;
    config.loss.sampling = sampling;
    config.loss.negatives_per_position = 4;
    Fixture f = make(config, nullptr);
    f.learn(SequenceDataset(all, {.context = 2, .negatives = config.negatives()}), 150);
    const auto e = test.run(f.context, f.model, {.batch = 64});
    BOOST_CHECK_MESSAGE(metric(e, "ndcg@10") > 0.7, loss << ", " << sampling << ": " << e.text());
  }
}

namespace {

/// Counts how often its items' vectors are asked for.
class Counted final : public models::Recommender {
 public:
  runtime::ParameterStore& parameters() override { return store_; }
  RowLosses forward(Tape&, const Batch&) override { return {}; }
  CostEstimate cost() const override { return {}; }
  std::int64_t items() const override { return kItems; }
  Tensor queries(Context& context, const Batch& batch) override {
    Tensor out = context.tensor({batch["offsets"].elements() - 1, 2});
    out.zero();
    return out;
  }
  Tensor item_vectors(Context& context) override {
    ++asked;
    Tensor out = context.tensor({kItems, 2});
    out.zero();
    return out;
  }
  int asked = 0;

 private:
  ParameterStore store_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(an_evaluation_computes_the_items_vectors_once) {
  Context context(Device{}, 1, 1);
  Counted model;
  const auto held_out = std::make_shared<HeldOut>(shop_of(walks(40, kItems, 1), kItems), Part::kTest, 12);
  const models::RankingValidation test(held_out, {});
  test.run(context, model, {.batch = 4});
  BOOST_CHECK_EQUAL(model.asked, 1);
  test.run(context, model, {.batch = 4});  // the parameters may be others by now
  BOOST_CHECK_EQUAL(model.asked, 2);
  const std::vector<Ids> histories = {{1}, {2}};
  const models::Asked asked{.histories = histories, .users = {}};
  {
    const models::Scoring scoring(context, model);
    for (int i = 0; i < 3; ++i) models::recommend(context, model, asked, {.top = 1, .history = 12, .allow = {}});
    BOOST_CHECK_EQUAL(model.asked, 3);
  }
  models::recommend(context, model, asked, {.top = 1, .history = 12, .allow = {}});
  BOOST_CHECK_EQUAL(model.asked, 4);
}

}  // namespace tradewind::tests
