#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/data/csv.h"
#include "runtime/data/shop/shop.h"
#include "runtime/text/utf8.h"
#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

using namespace tradewind::runtime;
using tradewind::tests::text_of;
using Row = std::map<std::string, std::string>;
namespace fs = std::filesystem;

namespace {

std::vector<Row> table(const fs::path& file) {
  const std::string text = text_of(file);
  std::vector<Row> out;
  CsvHeader header;
  std::vector<std::string> fields;
  std::int64_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const std::size_t length = csv_record_length(rest, ",", true);
    if (++line == 1) {
      header = CsvHeader(file.string(), rest.substr(0, length), line);
    } else {
      header.parse(rest.substr(0, length), line, fields);
      Row& row = out.emplace_back();
      for (std::size_t c = 0; c < fields.size(); ++c) row[header.columns()[c]] = fields[c];
    }
    at += length;
  }
  return out;
}

std::vector<nlohmann::json> lines(const fs::path& file) {
  std::istringstream in(text_of(file));
  std::vector<nlohmann::json> out;
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

/// A small shop, written once for all tests that only read it.
struct Demo {
  tradewind::tests::TemporaryFolder folder;
  ShopOptions options{.users = 1500, .items = 400, .days = 240, .views = 50, .seed = 5, .threads = 2};
  ShopCounts counts;
  std::vector<Row> events, items, users;

  Demo() : counts(write_demo_shop(folder.path() / "shop", options)) {
    events = table(path("events.csv"));
    items = table(path("items.csv"));
    users = table(path("users.csv"));
  }
  fs::path path(const std::string& file) const { return folder.path() / "shop" / file; }
};
const Demo& demo() {
  static const Demo kDemo;
  return kDemo;
}

/// Sums of a sample, for its mean and the error of that.
struct Sample {
  double n = 0, sum = 0, squares = 0;
  void add(double x) {
    n += 1;
    sum += x;
    squares += x * x;
  }
  double mean() const { return sum / n; }
  double error() const { return std::sqrt((squares / n - mean() * mean()) / n); }
};

double correlation(const std::vector<std::pair<double, double>>& pairs) {
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (const auto& [a, b] : pairs) {
    x += a;
    y += b;
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  const auto n = static_cast<double>(pairs.size());
  return (n * xy - x * y) / std::sqrt((n * xx - x * x) * (n * yy - y * y));
}

std::map<std::string, Row> by(const std::vector<Row>& rows, const std::string& key) {
  std::map<std::string, Row> out;
  for (const Row& row : rows) BOOST_REQUIRE_MESSAGE(out.emplace(row.at(key), row).second, row.at(key) + " stands there twice");
  return out;
}

nlohmann::json judged(const fs::path& shop, const fs::path& scratch) {
  const auto outcome = tradewind::tests::Command({DEMO_SHOP_TRUTH, shop.string()}, scratch).wait();
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.errors);
  return nlohmann::json::parse(outcome.output);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_shop_is_the_same_to_the_byte_whatever_the_threads) {
  const tradewind::tests::TemporaryFolder folder;
  ShopOptions options{.users = 2500, .items = 300, .days = 40, .views = 12, .seed = 9, .threads = 1};  // three crowds
  write_demo_shop(folder.path() / "1", options);
  for (const int threads : {2, 3}) {
    options.threads = threads;
    write_demo_shop(folder.path() / std::to_string(threads), options);
  }
  options.seed = 10;
  write_demo_shop(folder.path() / "other", options);
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "1")) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const fs::path name = fs::relative(entry.path(), folder.path() / "1");
    const std::string text = text_of(entry.path());
    BOOST_TEST(text.size() > 100U, name);
    BOOST_TEST((text_of(folder.path() / "2" / name) == text), name);
    BOOST_TEST((text_of(folder.path() / "3" / name) == text), name);
    if (name != "truth/model.csv") BOOST_TEST((text_of(folder.path() / "other" / name) != text), name);
  }
  BOOST_TEST(files == 17);
}

BOOST_AUTO_TEST_CASE(what_happens_is_written_in_order_of_time) {
  for (const char* file : {"events.csv", "impressions.csv", "promotions.csv"}) {
    std::string last;
    for (const Row& row : table(demo().path(file))) {
      BOOST_REQUIRE_MESSAGE(row.at("time") >= last, file + (": " + row.at("time")) + " after " + last);
      last = row.at("time");
    }
    BOOST_TEST(last > "2025-07-15T00:00:00Z");
    BOOST_TEST(last < "2025-08-29T00:00:00Z");  // day 240
  }
  for (const char* file : {"reviews.jsonl", "questions.jsonl", "searches.jsonl"}) {
    std::string last;
    for (const auto& object : lines(demo().path(file))) {
      BOOST_REQUIRE(object.at("time") >= last);
      last = object.at("time");
    }
    BOOST_TEST(last > "2025-07-15T00:00:00Z");
  }
}

BOOST_AUTO_TEST_CASE(counts_are_those_of_the_files) {
  const Demo& shop = demo();
  BOOST_TEST(shop.counts.events == std::ssize(shop.events));
  BOOST_TEST(shop.counts.views == std::ranges::count_if(shop.events, [](const Row& row) { return row.at("event") == "view"; }));
  BOOST_TEST(shop.counts.impressions == std::ssize(table(shop.path("impressions.csv"))));
  BOOST_TEST(shop.counts.promotions == std::ssize(table(shop.path("promotions.csv"))));
  BOOST_TEST(shop.counts.reviews == std::ssize(lines(shop.path("reviews.jsonl"))));
  BOOST_TEST(shop.counts.questions == std::ssize(lines(shop.path("questions.jsonl"))));
  BOOST_TEST(shop.counts.searches == std::ssize(lines(shop.path("searches.jsonl"))));
  const double views = static_cast<double>(shop.counts.views) / 1500;  // asked for: about 50
  BOOST_TEST(views > 40);
  BOOST_TEST(views < 60);
}

BOOST_AUTO_TEST_CASE(every_id_is_in_the_catalogue_and_some_need_quotes) {
  const Demo& shop = demo();
  const auto items = by(shop.items, "item"), users = by(shop.users, "user");
  BOOST_TEST(items.size() == 400U);
  BOOST_TEST(users.size() == 1500U);
  std::set<std::string> awkward;
  for (const Row& row : shop.events) {
    BOOST_REQUIRE(items.contains(row.at("item")));
    BOOST_REQUIRE(users.contains(row.at("user")));
    if (row.at("item").find_first_of(",\"") != std::string::npos) awkward.insert(row.at("item"));
  }
  BOOST_TEST(awkward.size() == 8U);  // one in fifty
  for (const char* file : {"impressions.csv"})
    for (const Row& row : table(shop.path(file)))
      BOOST_REQUIRE(items.contains(row.at("item")) && users.contains(row.at("user")));
  for (const Row& row : table(shop.path("promotions.csv"))) BOOST_REQUIRE(users.contains(row.at("user")));
  for (const char* file : {"reviews.jsonl", "questions.jsonl"})
    for (const auto& object : lines(shop.path(file)))
      BOOST_REQUIRE(items.contains(object.at("item")) && users.contains(object.at("user")));
  for (const Row& row : shop.items)
    for (const auto& [column, text] : row) {
      BOOST_REQUIRE_MESSAGE(!text.empty(), column);
      BOOST_REQUIRE(find_invalid_utf8(text) == std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(a_customer_views_an_item_once_and_before_all_else) {
  std::set<std::pair<std::string, std::string>> viewed, bought;
  std::map<std::string, int> kinds;
  for (const Row& row : demo().events) {
    const std::pair pair(row.at("user"), row.at("item"));
    const std::string& kind = row.at("event");
    ++kinds[kind];
    if (kind == "view")
      BOOST_REQUIRE(viewed.insert(pair).second);
    else
      BOOST_REQUIRE(viewed.contains(pair));
    if (kind == "buy") bought.insert(pair);
    if (kind == "rate" || kind == "return") BOOST_REQUIRE(bought.contains(pair));
    BOOST_REQUIRE_EQUAL(row.at("price").empty(), kind != "buy");
    BOOST_REQUIRE_EQUAL(row.at("rating").empty(), kind != "rate");
    BOOST_REQUIRE_EQUAL(row.at("session").empty(), kind == "rate" || kind == "return");
  }
  for (const char* kind : {"view", "cart", "buy", "rate", "return"}) BOOST_TEST(kinds[kind] > 100, kind);
  BOOST_TEST(kinds["view"] > kinds["cart"]);
  BOOST_TEST(kinds["cart"] > kinds["buy"]);
}

BOOST_AUTO_TEST_CASE(nobody_comes_before_joining_or_after_leaving) {
  const Demo& shop = demo();
  const auto users = by(shop.users, "user"), truth = by(table(shop.path("truth/users.csv")), "user");
  for (const Row& row : shop.events) {
    if (row.at("event") != "view") continue;
    const std::string day = row.at("time").substr(0, 10), left = truth.at(row.at("user")).at("left_on");
    BOOST_REQUIRE(day >= users.at(row.at("user")).at("joined_on"));
    BOOST_REQUIRE_MESSAGE(left.empty() || day <= left, day << " " << left);  // a visit may go on after midnight
  }
  Sample likely, unlikely;
  for (const auto& [user, row] : truth)
    (std::stod(row.at("churn_logit")) > -4 ? likely : unlikely).add(row.at("left_on").empty() ? 0 : 1);
  BOOST_TEST(unlikely.mean() > 0.01);
  BOOST_TEST(likely.mean() > unlikely.mean() + 3 * std::hypot(likely.error(), unlikely.error()));
}

BOOST_AUTO_TEST_CASE(promotions_are_given_at_random_and_measured_uplift_is_the_true_one) {
  const auto given = table(demo().path("promotions.csv")), truth = table(demo().path("truth/promotions.csv"));
  const auto users = by(table(demo().path("truth/users.csv")), "user");
  BOOST_REQUIRE(given.size() == truth.size());
  Sample sent, with, without, uplift, probability, luck, sensitive, insensitive, of_sent, of_held;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Row &row = given[i], &true_row = truth[i];
    BOOST_REQUIRE(row.at("user") == true_row.at("user") && row.at("time") == true_row.at("time"));
    const bool is_sent = row.at("sent") == "1";
    BOOST_REQUIRE(row.at("bought") == true_row.at(is_sent ? "bought_with" : "bought_without"));
    BOOST_REQUIRE_EQUAL(row.at("bought") == "0", std::stod(row.at("spent")) == 0);
    const double bought = std::stod(row.at("bought")),
                 sensitivity = std::stod(users.at(row.at("user")).at("price_sensitivity"));
    const double effect = std::stod(true_row.at("bought_with")) - std::stod(true_row.at("bought_without"));
    BOOST_REQUIRE(effect >= 0);
    sent.add(is_sent ? 1 : 0);
    (is_sent ? with : without).add(bought);
    (is_sent ? of_sent : of_held).add(sensitivity);
    uplift.add(effect);
    (sensitivity > 0.5 ? sensitive : insensitive).add(effect);
    const double expected = std::stod(true_row.at("probability_with")) - std::stod(true_row.at("probability_without"));
    probability.add(expected);
    luck.add(effect - expected);
  }
  BOOST_TEST(std::abs(sent.mean() - 0.5) < 4 * 0.5 / std::sqrt(sent.n));
  BOOST_TEST(std::abs(of_sent.mean() - of_held.mean()) < 4 * std::hypot(of_sent.error(), of_held.error()));
  BOOST_TEST(uplift.mean() > 0.02);
  BOOST_TEST(std::abs(with.mean() - without.mean() - uplift.mean()) < 4 * std::hypot(with.error(), without.error()));
  BOOST_TEST(std::abs(luck.mean()) < 4 * luck.error());
  BOOST_TEST(sensitive.mean() > 2 * insensitive.mean());
}

BOOST_AUTO_TEST_CASE(clicks_fall_with_their_true_probability) {
  const auto shown = table(demo().path("impressions.csv")), truth = table(demo().path("truth/impressions.csv"));
  BOOST_REQUIRE(shown.size() == truth.size());
  std::map<int, std::array<double, 3>> bins;  // of probability: clicks, expected, variance
  std::map<std::string, Sample> positions;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    BOOST_REQUIRE(shown[i].at("impression") == truth[i].at("impression"));
    const double p = std::stod(truth[i].at("probability")), clicked = std::stod(shown[i].at("clicked"));
    auto& bin = bins[static_cast<int>(p * 10)];
    bin[0] += clicked;
    bin[1] += p;
    bin[2] += p * (1 - p);
    positions[shown[i].at("position")].add(clicked);
  }
  BOOST_TEST(bins.size() > 4U);
  for (const auto& [at, bin] : bins) BOOST_TEST(std::abs(bin[0] - bin[1]) < 4 * std::sqrt(bin[2]) + 1, at);
  BOOST_TEST(positions.size() == 8U);
  BOOST_TEST(positions["1"].mean() > 2 * positions["8"].mean());
}

BOOST_AUTO_TEST_CASE(reviews_have_the_tone_of_the_truth) {
  const auto reviews = lines(demo().path("reviews.jsonl"));
  const auto truth = table(demo().path("truth/reviews.csv"));
  const auto items = by(table(demo().path("truth/items.csv")), "item");
  BOOST_REQUIRE(reviews.size() == truth.size());
  BOOST_REQUIRE(reviews.size() > 500U);
  std::vector<std::pair<double, double>> ratings, qualities;
  std::map<int, std::set<std::string>> titles;
  std::map<std::string, std::map<int, int>> quality_of_sentence;  // sentence -> tone -> times
  for (std::size_t i = 0; i < reviews.size(); ++i) {
    const auto& review = reviews[i];
    BOOST_REQUIRE(review.at("review") == truth[i].at("review"));
    const int rating = review.at("rating");
    ratings.emplace_back(rating, std::stod(truth[i].at("contentment")));
    qualities.emplace_back(std::stod(truth[i].at("quality")), std::stod(items.at(review.at("item")).at("quality")));
    titles[rating].insert(review.at("title").get<std::string>());
    const std::string text = review.at("text");
    BOOST_REQUIRE(!text.empty() && find_invalid_utf8(text) == std::string::npos);
    for (const char* sentence : {"The quality is excellent", "The finish is poor", "质量非常好", "做工粗糙"})
      if (text.find(sentence) != std::string::npos) ++quality_of_sentence[sentence][std::stoi(truth[i].at("quality"))];
  }
  BOOST_TEST(correlation(ratings) > 0.9);
  BOOST_TEST(correlation(qualities) > 0.6);
  for (const int good : {4, 5})
    for (const int bad : {1, 2})
      for (const std::string& title : titles[good]) BOOST_TEST(!titles[bad].contains(title), title);
  for (const char* sentence : {"The quality is excellent", "质量非常好"}) {
    BOOST_TEST(quality_of_sentence[sentence][1] > 0, sentence);
    BOOST_TEST(quality_of_sentence[sentence].size() == 1U, sentence);
  }
  for (const char* sentence : {"The finish is poor", "做工粗糙"}) {
    BOOST_TEST(quality_of_sentence[sentence][-1] > 0, sentence);
    BOOST_TEST(quality_of_sentence[sentence].size() == 1U, sentence);
  }
}

BOOST_AUTO_TEST_CASE(questions_have_an_intent_and_an_answer_about_the_item) {
  std::map<std::string, std::set<std::string>> questions;
  const auto items = by(demo().items, "item");
  for (const auto& object : lines(demo().path("questions.jsonl"))) {
    const std::string text = object.at("text"), answer = object.at("answer");
    questions[object.at("intent")].insert(text);
    BOOST_REQUIRE(!text.empty() && !answer.empty());
    BOOST_REQUIRE_MESSAGE((text + answer).find_first_of("{}") == std::string::npos, text + answer);
    if (object.at("intent") == "material" && object.at("language") == "en")
      BOOST_REQUIRE(answer.find(items.at(object.at("item")).at("material")) != std::string::npos);
  }
  BOOST_TEST(questions.size() == 11U);
  for (const auto& [intent, texts] : questions)
    for (const auto& [other, of_other] : questions)
      if (intent != other)
        for (const std::string& text : texts) BOOST_TEST(!of_other.contains(text), text);
}

BOOST_AUTO_TEST_CASE(what_a_search_found_is_viewed_next) {
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> views;  // user -> (time, item)
  for (const Row& row : demo().events)
    if (row.at("event") == "view") views[row.at("user")].emplace_back(row.at("time"), row.at("item"));
  const auto items = by(table(demo().path("truth/items.csv")), "item");
  const auto truth = table(demo().path("truth/searches.csv"));
  const auto searches = lines(demo().path("searches.jsonl"));
  BOOST_REQUIRE(truth.size() == searches.size());
  std::map<std::ptrdiff_t, int> places;
  int in_vain = 0;
  for (std::size_t i = 0; i < searches.size(); ++i) {
    const auto& search = searches[i];
    const std::vector<std::string> results = search.at("results");
    BOOST_REQUIRE(std::set(results.begin(), results.end()).size() == results.size());
    if (search.at("clicked").is_null()) {
      ++in_vain;
      for (const std::string& item : results) BOOST_REQUIRE(items.at(item).at("category") != truth[i].at("category"));
      continue;
    }
    const std::string clicked = search.at("clicked"), time = search.at("time");
    const auto found = std::ranges::find(results, clicked);
    BOOST_REQUIRE(found != results.end());
    ++places[found - results.begin()];
    BOOST_REQUIRE(items.at(clicked).at("category") == truth[i].at("category"));
    const auto& history = views[search.at("user")];
    const auto next = std::ranges::upper_bound(history, std::pair(time, std::string("~")));
    if (next != history.end()) BOOST_REQUIRE_MESSAGE(next->second == clicked, search.dump());
  }
  BOOST_TEST(in_vain > 50);
  BOOST_TEST(places.size() == 8U);  // as many as a category of this shop has goods
  BOOST_TEST(places[0] > 2 * places[7]);
}

// At the defaults, three seeds. That the counted NDCG is what the probabilities promise says that the recursion is right.
BOOST_AUTO_TEST_CASE(order_is_worth_knowing_and_more_than_the_last_view) {
  const tradewind::tests::TemporaryFolder folder;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const fs::path shop = folder.path() / std::to_string(seed);
    write_demo_shop(shop, {.seed = seed, .threads = 2});
    const auto worth = judged(shop, folder.path());
    const auto expected = [&](const char* of) { return worth.at(of).at("expected").get<double>(); };
    BOOST_TEST_MESSAGE("seed " << seed << ": " << worth.dump());
    BOOST_TEST(worth.at("targets").get<int>() > 5000);
    BOOST_TEST(expected("best") > 0.25);
    BOOST_TEST(expected("best") < 0.60);
    BOOST_TEST(expected("popularity") < 0.4 * expected("best"));
    BOOST_TEST(expected("markov") < 0.8 * expected("best"));
    BOOST_TEST(expected("first_order") < 0.8 * expected("best"));
    BOOST_TEST(expected("popularity") > 0.01);
    BOOST_TEST(expected("markov") > 2 * expected("popularity"));
    for (const char* of : {"best", "first_order", "markov", "popularity"}) {
      const double measured = worth.at(of).at("measured"), error = worth.at(of).at("standard_error");
      BOOST_TEST(std::abs(measured - expected(of)) < 4 * error, of << ": " << measured << " for " << expected(of));
    }
    fs::remove_all(shop);
  }
}

BOOST_AUTO_TEST_CASE(a_truth_that_is_not_this_shops_is_found_out) {
  const tradewind::tests::TemporaryFolder folder;
  const fs::path shop = folder.path() / "shop";
  fs::copy(demo().path(""), shop, fs::copy_options::recursive);
  const auto agrees = [&] {
    const auto best = judged(shop, folder.path()).at("best");
    return std::abs(best.at("measured").get<double>() - best.at("expected").get<double>()) <
           4 * best.at("standard_error").get<double>();
  };
  BOOST_TEST(agrees());
  std::ofstream out(shop / "truth/needs.csv");  // the stages of each need backwards
  out << "need,stage,category,share,peak_day\n";
  for (const Row& row : table(demo().path("truth/needs.csv")))
    out << row.at("need") << "," << 4 - std::stoi(row.at("stage")) << "," << row.at("category") << "," << row.at("share") << ","
        << row.at("peak_day") << "\n";
  out.close();
  BOOST_TEST(!agrees());
}
