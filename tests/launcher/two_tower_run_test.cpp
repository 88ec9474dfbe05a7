// Two towers from a shop's log and its table of items to recommendations, as a person runs them: what a run keeps of the table,
// when another one is refused, kills and ranks.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/event_shop_ranks.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

using Strings = std::vector<std::string>;

constexpr const char* kRecipe = R"([run]
directory = "run"
[data]
path = "events.csv"
user_key = "customer"
item_key = "sku"
time_key = "when"
items = "items.csv"
item_columns = "brand tags"
item_number_columns = "price"
list_separator = "|"
number_ranges = 4
[model]
name = "two_tower"
channels = 16
hidden = 24
context = 10
window = 2
dropout = 0.1
temperature = 0.1
[train]
steps = 60
batch = 24
micro_batch = 3
[optimizer]
name = "adam"
learning_rate = 1e-2
weight_decay = 0.0
[evaluate]
every = 20
[checkpoint]
every = 7
keep_last = 20
[runtime]
threads = 1
)";

struct Shop : EventShop {
  /// Customer c walks through the items from c * 7 on, one after the other. Of 40 items the table has 38.
  Shop() {
    std::string events = "customer,sku,when\n";
    for (int c = 0; c < 60; ++c)
      for (int e = 0; e < 6 + c % 5; ++e)
        events += fmt::format("C-{},SKU-{},{}\n", c, (c * 7 + e) % 40, 1700000000 + e * 86400 + c);
    folder.write("events.csv", events);
    folder.write("items.csv", table());
    folder.write("shop.toml", kRecipe);
  }
  /// `brand`: of SKU-5, whose own is B1.
  static std::string table(const std::string& brand = "B1") {
    std::string out = "sku,title,brand,tags,price\nNEW-1,not sold yet,B1,,5\n";
    for (int i = 0; i < 38; ++i)
      out += fmt::format("SKU-{},thing {},{},{},{}.50\n", i, i, i == 5 ? brand : fmt::format("B{}", i % 4),
                         i % 3 == 0   ? "sale|gift"
                         : i % 3 == 1 ? "gift"
                                      : "",
                         i);
    return out;
  }
};

/// The name of the newest checkpoint of the run "run"; "" where there is none.
std::string newest(const Shop& shop) {
  std::string out;
  const fs::path folder = shop.folder.path() / "run" / "checkpoints";
  if (!fs::exists(folder)) return out;
  for (const auto& entry : fs::directory_iterator(folder))
    if (const std::string name = entry.path().filename(); name.starts_with("step-")) out = std::max(out, name);
  return out;
}

/// Trains "run" until it has saved once more, and stops it.
void stop_early(const Shop& shop, const Strings& command) {
  Strings program = command;
  program.insert(program.begin(), TRADEWIND_BINARY);
  const std::string before = newest(shop);
  Command run(program, shop.folder.path());
  while (run.running() && newest(shop) == before) {
  }
  run.signal(SIGTERM);
  BOOST_REQUIRE_EQUAL(run.wait().code, 75);
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_run_keeps_what_it_knows_of_the_items, Shop) {
  const Outcome trained = good({"train", "shop.toml"});
  for (const char* part :
       {"items.csv: 38 items of the events; 2 others are not in it and have no values; 1 rows of items without events",
        "attribute brand: 4 values; 2 items without", "attribute tags: 2 values", "attribute price: 4 ranges"})
    BOOST_CHECK_MESSAGE(holds(trained.output, part), part << " is not in " << trained);
  const auto before = nlohmann::json::parse(good({"evaluate", "run", "--json"}).output);
  BOOST_CHECK_MESSAGE(before.at("hr@10").get<double>() > 0.8 && before.at("hr@10") > before.at("popularity").at("hr@10"),
                      before);
  const auto best = lines(good({"recommend", "run", "--user", "C-9", "--top", "3"}).output);
  const auto like = good({"similar", "run", "--item", "SKU-20", "--top", "3"}).output;

  fs::remove(folder.path() / "items.csv");
  auto after = nlohmann::json::parse(good({"evaluate", "run", "--json"}).output);
  for (const char* key : {"loss", "ndcg@10", "hr@10", "mrr"}) BOOST_CHECK_EQUAL(after.at(key), before.at(key));
  BOOST_TEST(lines(good({"recommend", "run", "--user", "C-9", "--top", "3"}).output) == best, boost::test_tools::per_element());
  BOOST_CHECK_EQUAL(good({"similar", "run", "--item", "SKU-20", "--top", "3"}).output, like);
  BOOST_CHECK_EQUAL(lines(like).size(), 4U);
  folder.write("pairs.csv", "customer,sku\nC-9," + best[1].substr(6, best[1].rfind(',') - 6) + "\n");
  const auto scores = lines(good({"predict", "run", "--pairs", "pairs.csv"}).output);
  BOOST_REQUIRE_EQUAL(scores.size(), 2U);
  BOOST_CHECK_EQUAL(scores[1].substr(scores[1].rfind(',')), best[1].substr(best[1].rfind(',')));
  good({"verify", "run"});
  good({"export", "run", "--to", "vectors", "--format", "vectors"});
  BOOST_CHECK(holds(text_of(folder.path() / "vectors" / "item_vectors.npy"), "(40, 16)"));
  good({"export", "run", "--to", "model.h5"});
  const auto exported = good({"inspect", "model.h5", "--json"}).output;
  for (const char* part : {"item_attributes", "brand", "above ", "/attribute_embedding/2/weight", "/user_tower/up/weight"})
    BOOST_CHECK_MESSAGE(holds(exported, part), part << " is not in " << exported);
  refused({"train", "shop.toml", "--fresh"}, 3, "items.csv");
}

BOOST_FIXTURE_TEST_CASE(another_table_of_items_is_not_gone_on_with, Shop) {
  const Strings forever = {"train", "shop.toml", "--set", "train.steps=1000000"};
  stop_early(*this, forever);
  folder.write("items.csv", table("B2"));
  refused(forever, 3, "what items.csv says of the items is not what this run began with");
  // Another order of the rows, and what is said of an item without events, is nothing to the run.
  auto rows = lines(table());
  std::reverse(rows.begin() + 1, rows.end());
  rows.back() = "NEW-1,not sold yet,B9,new,7";
  std::string text;
  for (const auto& row : rows) text += row + "\n";
  folder.write("items.csv", text);
  stop_early(*this, forever);
}

// A training that begins with another run's parameters keeps the meaning of its rows, and reads the table anew.
BOOST_FIXTURE_TEST_CASE(a_run_goes_on_from_another_with_a_new_table, Shop) {
  good(train_into("first", {}));
  folder.write("items.csv", table("B-new"));
  good(train_into("second", {"run.from=first", "train.steps=14", "evaluate.every=0"}));
  good({"evaluate", "second"});
  refused(train_into("third", {"run.from=first", "data.item_columns=brand title"}), 2, "the model's are \"brand tags price\"");
}

BOOST_FIXTURE_TEST_CASE(keys_and_rows_in_error_are_named, Shop) {
  folder.write("sasrec.toml",
               "[data]\npath = \"events.csv\"\nuser_key = \"customer\"\nitem_key = \"sku\"\nitems = \"items.csv\"\n"
               "item_columns = \"brand\"\n[model]\nname = \"sasrec\"\n");
  refused({"train", "sasrec.toml"}, 2, "model.name = \"sasrec\" knows items by their ids alone");
  refused({"train", "shop.toml", "--set", "data.item_columns=brandt"}, 3, "did you mean \"brand\"");
  refused({"train", "shop.toml", "--set", "data.items=''"}, 2, "Set data.items");
  folder.write("items.csv", table() + "SKU-1,again,B1,,1\n,nobody,B1,,1\nSKU-39,thing,B1,,cheap\n");
  const Outcome checked = tradewind({"check", "shop.toml"});
  BOOST_CHECK_EQUAL(checked.code, 3);
  for (const char* part : {"items.csv:41:1: the item \"SKU-1\" is there twice, first in line 4",
                           "items.csv:42:1: the id of the item", "items.csv:43:18: \"cheap\"", "it has no item \"SKU-38\""})
    BOOST_CHECK_MESSAGE(holds(checked.output, part), part << " is not in " << checked);
  refused({"train", "shop.toml"}, 3, "items.csv:41:1");
}

BOOST_FIXTURE_TEST_CASE(a_killed_run_goes_on_to_the_same_bits, Shop) {
  for (const Strings& settings : {Strings{}, Strings{"model.sparse_embeddings=true"}})
    check_killed(settings.empty() ? "dense" : "sparse", settings);
}

// Micro-batches of three histories are the same on 1, 2 and 4 ranks, and with them the negatives.
BOOST_FIXTURE_TEST_CASE(ranks_agree, Shop) { check_ranks(*this, {}); }

}  // namespace tradewind::tests
