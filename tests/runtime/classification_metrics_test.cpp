#include "runtime/train/classification_metrics.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "kernels/base/error.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

using Labels = std::vector<std::uint8_t>;

nlohmann::json golden() {
  std::ifstream in(std::string(TRADEWIND_SOURCE_DIR) + "/tests/golden/metrics/classification.json");
  return nlohmann::json::parse(in);
}

/// The golden scores are probabilities.
float log_odds(double p) { return static_cast<float>(std::log(p) - std::log1p(-p)); }

void check(const std::string& what, double value, double wanted, double tolerance = 1e-9) {
  BOOST_CHECK_MESSAGE(std::abs(value - wanted) <= tolerance, what << " is " << value << ", not " << wanted);
}

}  // namespace

BOOST_AUTO_TEST_CASE(metrics_are_the_golden_ones) {
  const auto binary = golden().at("binary");
  ClassificationMetrics metrics;
  for (std::size_t i = 0; i < binary["labels"].size(); ++i)
    metrics.add(binary["users"][i].get<std::int32_t>(), log_odds(binary["scores"][i].get<double>()),
                binary["labels"][i].get<std::uint8_t>());
  const auto values = metrics.values();
  const auto& expected = binary.at("expected");
  check("auc", values.auc.value(), expected.at("auc").get<double>());
  check("gauc", values.gauc.value(), expected.at("gauc").get<double>());
  check("log_loss", values.log_loss, expected.at("log_loss").get<double>(), 1e-7);  // log-odds are rounded to float32
  for (const auto& c : golden().at("auc_small")) {
    const auto scores = c.at("scores").get<std::vector<float>>();
    check("auc of few", exact_auc(scores, c.at("labels").get<Labels>()).value(), c.at("expected").at("auc").get<double>());
  }
}

// Against every pair, with many ties.
BOOST_AUTO_TEST_CASE(auc_counts_every_pair) {
  std::mt19937 engine(1);
  std::vector<float> scores(700);
  Labels labels(700);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    labels[i] = engine() % 3 == 0 ? 1 : 0;
    scores[i] = static_cast<float>(engine() % 20 + 5 * labels[i]) / 7;
  }
  double wins = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (std::size_t j = 0; j < scores.size(); ++j)
      if (labels[i] == 1 && labels[j] == 0) {
        wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
        pairs += 1;
      }
  check("auc", exact_auc(scores, labels).value(), wins / pairs, 1e-15);
  const std::vector<float> constant(700, 0.25F);
  check("of a constant", exact_auc(constant, labels).value(), 0.5, 0);
  BOOST_CHECK(!exact_auc(scores, Labels(700, 1)) && !exact_auc(scores, Labels(700, 0)));
}

BOOST_AUTO_TEST_CASE(users_with_one_label_alone_have_no_auc) {
  ClassificationMetrics metrics;
  metrics.add(0, 3, 1);
  metrics.add(0, 1, 0);
  metrics.add(1, 9, 0);  // alone with label 0: the pooled AUC minds it, the users' do not
  metrics.add(1, 8, 0);
  metrics.add(2, 1, 1);
  metrics.add(2, 1, 0);
  metrics.add(2, 0, 0);
  metrics.add(2, 2, 0);
  const auto values = metrics.values();
  BOOST_TEST(values.rows == 8);
  BOOST_TEST(values.positives == 2);
  BOOST_TEST(values.users == 3);
  BOOST_TEST(values.users_with_both == 2);
  check("gauc", values.gauc.value(), (2 * 1 + 4 * 0.5) / 6);
  check("auc", values.auc.value(), (4 + 1 + 0.5 + 0.5) / 12);
  check("base log loss", values.base_log_loss, -0.25 * std::log(0.25) - 0.75 * std::log(0.75));
  ClassificationMetrics one;
  one.add(0, 200, 1);
  one.add(1, -200, 1);
  BOOST_CHECK(!one.values().auc && !one.values().gauc);
  check("large log-odds neither overflow nor vanish", one.values().log_loss, 100);
}

BOOST_AUTO_TEST_CASE(ranks_agree_with_one) {
  std::mt19937 engine(2);
  std::vector<std::tuple<int, float, std::uint8_t>> rows;
  for (int i = 0; i < 301; ++i)
    rows.emplace_back(engine() % 9, static_cast<float>(engine() % 50) / 10, static_cast<std::uint8_t>(engine() % 2));
  const auto measured = [&](int rank, int ranks, Communicator* communicator) {
    ClassificationMetrics metrics;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (static_cast<int>(i) % ranks == rank) metrics.add(std::get<0>(rows[i]), std::get<1>(rows[i]), std::get<2>(rows[i]));
    if (communicator != nullptr) metrics.merge(*communicator);
    return metrics.values();
  };
  const auto wanted = measured(0, 1, nullptr);
  for (const int ranks : {1, 2, 4}) {
    std::vector<ClassificationMetrics::Values> got(static_cast<std::size_t>(ranks));
    const auto errors = tests::on_ranks(ranks, [&](Communicator& communicator) {
      got[static_cast<std::size_t>(communicator.rank())] = measured(communicator.rank(), ranks, &communicator);
    });
    for (const auto& error : errors) BOOST_TEST(error.empty(), error);
    for (const auto& values : got) {
      BOOST_TEST(values.rows == wanted.rows);
      BOOST_TEST(values.users == wanted.users);
      check("auc", values.auc.value(), wanted.auc.value(), 0);
      check("gauc", values.gauc.value(), wanted.gauc.value(), 1e-12);
      check("log loss", values.log_loss, wanted.log_loss, 1e-12);
    }
  }
}

BOOST_AUTO_TEST_CASE(nothing_to_tell_apart_and_scores_that_are_no_numbers_are_errors) {
  tests::check_throws<DataError>([] { ClassificationMetrics().values(); }, {"no pair"});
  ClassificationMetrics metrics;
  metrics.add(0, NAN, 1);
  metrics.add(0, 1, 0);
  tests::check_throws<DataError>([&] { metrics.values(); }, {"not a number"});
}
