// A recommender that is good on a shop whose customers follow their needs is no better than popularity where the same goods are
// dealt out among them at random: what it scores is what it learned, and nothing leaks from what is held out.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

constexpr const char* kRecipe = R"([data]
path = "events.csv"
time_key = "time"
[model]
name = "sasrec"
layers = 1
channels = 32
context = 20
dropout = 0.1
[train]
steps = 200
batch = 64
[optimizer]
name = "adam"
learning_rate = 3e-3
weight_decay = 0.0
[evaluate]
batch = 256
)";

struct View {
  std::string user, item, time;
};

/// As they stand, with their quotes.
std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (const char c : line) {
    quoted = quoted != (c == '"');
    if (c == ',' && !quoted)
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

class Shop {
 public:
  Shop() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    folder_.write("recipe.toml", kRecipe);
    run({"demo-shop", "shop", "--users", "2500", "--items", "400", "--days", "120", "--views", "25"});
    std::istringstream in(text_of(folder_.path() / "shop" / "events.csv"));
    std::string line;
    std::getline(in, line);
    BOOST_REQUIRE_MESSAGE(line.starts_with("user,item,event,time,"), line);
    while (std::getline(in, line)) {
      const auto fields = fields_of(line);
      if (fields.at(2) == "view") views_.push_back({fields[0], fields[1], fields[3]});
    }
  }

  /// Each view keeps its customer and its time, and gets the item of some other view: every item is as frequent as before.
  void shuffle() {
    std::mt19937_64 random(3);
    for (std::size_t i = views_.size(); i-- > 1;) std::swap(views_[i].item, views_[random() % (i + 1)].item);
  }

  /// NDCG@10 of SASRec's last step and of popularity.
  std::pair<double, double> learn(const std::string& name) const {
    std::string text = "user,item,time\n";
    for (const View& view : views_) text += fmt::format("{},{},{}\n", view.user, view.item, view.time);
    folder_.write("events.csv", text);
    run({"train", "recipe.toml", "--set", "run.directory=" + name});
    const auto e = nlohmann::json::parse(run({"evaluate", name, "--checkpoint", "last", "--json"}).output);
    const double model = e.at("ndcg@10").get<double>(), popularity = e.at("popularity").at("ndcg@10").get<double>();
    std::cout << fmt::format("{}: NDCG@10 {:.4f}, popularity {:.4f}\n", name, model, popularity);
    return {model, popularity};
  }

 private:
  Outcome run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), TRADEWIND_BINARY);
    Outcome o = Command(arguments, folder_.path()).wait();
    BOOST_REQUIRE_MESSAGE(o.code == 0, arguments[1] << ": " << o);
    return o;
  }

  TemporaryFolder folder_;
  std::vector<View> views_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(shuffled_targets_fall_to_popularity) {
  Shop shop;
  const auto [learned, popular] = shop.learn("as-it-was");
  BOOST_TEST(learned > 4 * popular);
  shop.shuffle();
  const auto [shuffled, popular_then] = shop.learn("shuffled");
  // The NDCG of some 2,200 customers, of whom one in twelve has a hit, has a standard error of .003.
  BOOST_TEST(shuffled <= popular_then + 0.009);
  BOOST_TEST(shuffled >= popular_then / 2);
}

}  // namespace tradewind::tests
