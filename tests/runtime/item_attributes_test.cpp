// Columns of a table of items as numbers: which rows values get, what has none, what is refused and where.
#include "runtime/data/item_attributes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/test/unit_test.hpp>

#include "runtime/data/check_interactions.h"
#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::config_of;
using tests::table_folder;

namespace {

using Strings = std::vector<std::string>;

/// Items a, b, c, d, e with a row of their own.
Vocabulary items_of(const Strings& names = {"a", "b", "c", "d", "e"}, std::int32_t buckets = 0) {
  Vocabulary out(buckets);
  for (const auto& name : names) out.add(name);
  return out;
}

InteractionsConfig config_with(const std::string& table, const std::string& columns, const std::string& name = "items.csv") {
  InteractionsConfig config;
  config.path = "events.csv";
  config.items = table_folder().write(name, table).string();
  config.item_columns = columns;
  return config;
}

ItemAttributes load(const InteractionsConfig& config, const Vocabulary& items = items_of(),
                    const ItemAttributes* existing = nullptr) {
  ThrowProblems sink;
  return load_item_attributes(config, items, sink, existing);
}

/// "red,blue" of each item; "-" where it has none.
Strings shown(const AttributeColumn& column) {
  Strings out;
  for (std::size_t i = 0; i + 1 < column.offsets.size(); ++i) {
    Strings values;
    for (const std::int32_t code : column.of(static_cast<std::int32_t>(i))) values.emplace_back(column.values.name(code));
    out.push_back(values.empty() ? "-" : fmt::format("{}", fmt::join(values, ",")));
  }
  return out;
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_CASE(values_that_enough_items_have_get_rows_and_the_others_share) {
  const auto config =
      config_with("item,brand,colour\nb,Acme,red\na,Acme,\nd,Bolt,blue\nnew,Bolt,blue\nc,Bolt,red\n", "brand colour");
  const ItemAttributes got = load(config);
  BOOST_REQUIRE_EQUAL(got.columns.size(), 2U);
  // Two items each: by their bytes. "new" has no events and does not count, so blue is rare; e is not in the table.
  BOOST_TEST((shown(got.columns[0]) == Strings{"Acme", "Acme", "Bolt", "Bolt", "-"}), fmt::format("{}", shown(got.columns[0])));
  BOOST_TEST((shown(got.columns[1]) == Strings{"-", "red", "red", "<unknown 0>", "-"}),
             fmt::format("{}", shown(got.columns[1])));
  BOOST_TEST((got.absent == std::vector<std::int32_t>{4}));
  for (const char* part :
       {"items.csv: 4 items of the events; 1 others are not in it and have no values; 1 rows of items without",
        "attribute brand: 2 values; 1 items without",
        "attribute colour: 1 values, and 1 rare or unknown ones that share 1 rows; 2 items without"})
    BOOST_CHECK_MESSAGE(holds(got.summary, part), part << " is not in " << got.summary);

  auto without = config;
  without.value_buckets = 0;
  BOOST_TEST((shown(load(without).columns[1]) == Strings{"-", "red", "red", "-", "-"}));
  auto all = config;
  all.min_value_items = 1;
  BOOST_TEST((shown(load(all).columns[1]) == Strings{"-", "red", "red", "blue", "-"}));
}

BOOST_AUTO_TEST_CASE(a_field_may_hold_several_values_and_each_counts_once) {
  auto config = config_with("item,tags\na,x | y\nb,y|y|\nc,x\nd,\"x|z\"\ne,z\n", "tags");
  config.list_separator = "|";
  const auto got = load(config);
  BOOST_TEST((shown(got.columns[0]) == Strings{"x,y", "y", "x", "x,z", "z"}), fmt::format("{}", shown(got.columns[0])));
  BOOST_CHECK_EQUAL(got.columns[0].values.count(got.columns[0].values.find("y")), 2);
}

BOOST_AUTO_TEST_CASE(json_lines_may_have_arrays_and_null) {
  const auto config = config_with(
      "{\"item\": \"a\", \"tags\": [\"x\", \"y\"], \"shelf\": 7}\n{\"item\": \"b\", \"tags\": null, \"shelf\": \"7\"}\n"
      "{\"item\": \"c\", \"tags\": [], \"shelf\": null}\n{\"item\": \"d\", \"tags\": \"x\", \"shelf\": 7}\n"
      "{\"item\": \"e\", \"tags\": [\"y\"], \"shelf\": 8}\n",
      "tags,shelf", "items.jsonl");
  const auto got = load(config);
  BOOST_TEST((shown(got.columns[0]) == Strings{"x,y", "-", "-", "x", "y"}), fmt::format("{}", shown(got.columns[0])));
  BOOST_TEST((shown(got.columns[1]) == Strings{"7", "7", "-", "7", "<unknown 0>"}));
  for (const char* tags : {"[\"x\", [\"y\"]]", "[{\"x\": 1}]", "[true]", "{\"x\": 1}", "false"})
    check_throws<DataError>(
        [&] {
          load(
              config_with(fmt::format("{{\"item\": \"a\", \"shelf\": 7, \"tags\": {}}}\n", tags), "tags,shelf", "items.jsonl"));
        },
        {"items.jsonl:1:27: \"tags\" is neither text nor a number", "an array of texts and numbers is expected"});
}

BOOST_AUTO_TEST_CASE(numbers_become_ranges_of_equally_many_items) {
  Strings names;
  std::string table = "sku,price\n";
  for (int i = 0; i < 100; ++i) {
    names.push_back(fmt::format("i{}", i));
    table += fmt::format("i{},{}\n", i, (i * 37 % 100) + 0.5);  // 0.5 to 99.5, each once
  }
  auto config = config_with(table + "none,1e9\n", "");
  config.items_key = "sku";
  config.item_number_columns = "price";
  config.number_ranges = 4;
  names.emplace_back("none at all");
  const auto got = load(config, items_of(names));
  const AttributeColumn& price = got.columns.at(0);
  BOOST_REQUIRE_EQUAL(price.values.size(), 4);
  for (std::int32_t range = 0; range < 4; ++range) BOOST_CHECK_EQUAL(price.values.count(range), 25);
  BOOST_CHECK_EQUAL(price.values.name(0), "up to 24.5");
  BOOST_CHECK_EQUAL(price.values.name(3), "above 74.5");
  const auto range_of = [&](const std::string& item) {
    const std::int32_t id = items_of(names).find(item);
    return std::string(price.values.name(price.of(id)[0]));
  };
  BOOST_CHECK_EQUAL(range_of("i0"), "up to 24.5");   // 0.5
  BOOST_CHECK_EQUAL(range_of("i72"), "up to 74.5");  // 64.5
  BOOST_CHECK_EQUAL(range_of("i77"), "up to 49.5");  // 49.5: an end belongs to its range
  BOOST_CHECK_EQUAL(range_of("i27"), "above 74.5");  // 99.5
  BOOST_CHECK(price.of(100).empty());

  // A model's ranges stay, whatever the numbers have become.
  std::string dearer = "sku,price\n";
  for (int i = 0; i < 100; ++i) dearer += fmt::format("i{},{}\n", i, (i * 37 % 100) + 50.5);
  auto later = config_with(dearer, "", "later.csv");
  later.items_key = "sku";
  later.item_number_columns = "price";
  const auto again = load(later, items_of(names), &got);
  BOOST_CHECK(again.columns[0].values.checksum() == price.values.checksum());
  BOOST_CHECK_EQUAL(again.columns[0].values.name(again.columns[0].of(0)[0]), "up to 74.5");  // 50.5

  auto same = config_with("sku,price\na,3\nb,3\n", "", "same.csv");
  same.items_key = "sku";
  same.item_number_columns = "price";
  BOOST_TEST((shown(load(same, items_of({"a", "b"})).columns[0]) == Strings{"any number", "any number"}));
}

BOOST_AUTO_TEST_CASE(the_order_of_the_rows_changes_nothing) {
  const auto one = load(config_with("item,brand\na,Acme\nb,Acme\nc,Bolt\nd,Bolt\ne,Cast\n", "brand"));
  const auto other = load(config_with("item,brand\nd,Bolt\ne,Cast\nb,Acme\nc,Bolt\na,Acme\n", "brand", "other.csv"));
  BOOST_CHECK(one.serialised() == other.serialised());
  const auto changed = load(config_with("item,brand\nd,Bolt\ne,Acme\nb,Acme\nc,Bolt\na,Acme\n", "brand", "other.csv"));
  BOOST_CHECK(one.checksum() != changed.checksum());
}

BOOST_AUTO_TEST_CASE(what_a_run_keeps_is_read_again_or_refused) {
  auto config = config_with("item,brand,price\na,Acme,1\nb,Acme,2.5\nc,Bolt,3\nd,Bolt,\n", "brand");
  config.item_number_columns = "price";
  const auto written = load(config);
  const std::string bytes = written.serialised();
  const auto read = ItemAttributes::parse(bytes, "run");
  BOOST_CHECK(read.serialised() == bytes);
  BOOST_CHECK_EQUAL(read.columns[1].name, "price");
  BOOST_CHECK(read.columns[1].number && !read.columns[0].number);
  BOOST_TEST((shown(read.columns[0]) == shown(written.columns[0])));
  for (const std::size_t at : {std::size_t{0}, std::size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    check_throws<DataError>([&] { ItemAttributes::parse(damaged, "run"); }, {"run: "});
    check_throws<DataError>([&] { ItemAttributes::parse(bytes.substr(0, at), "run"); }, {"run: "});
  }
}

BOOST_AUTO_TEST_CASE(a_models_rows_keep_their_meaning_with_another_table) {
  const auto before = load(config_with("item,brand\na,Acme\nb,Acme\nc,Bolt\nd,Bolt\n", "brand"));
  const auto now =
      load(config_with("item,brand\na,Bolt\nb,Zinc\nc,Bolt\nd,Zinc\ne,Acme\n", "brand", "later.csv"), items_of(), &before);
  BOOST_TEST((shown(now.columns[0]) == Strings{"Bolt", "<unknown 0>", "Bolt", "<unknown 0>", "Acme"}));
  BOOST_CHECK(now.columns[0].values.checksum() == before.columns[0].values.checksum());
  check_throws<ConfigError>([&] { load(config_with("item,colour\na,red\n", "colour"), items_of(), &before); },
                            {"data.item_columns", "the model's are \"brand\""});
}

// Items that share rows of data.unknown_buckets have no values, and no bucket is an item of the table.
BOOST_AUTO_TEST_CASE(buckets_of_items_have_no_values) {
  const auto got = load(config_with("item,brand\n<unknown 0>,Acme\na,Acme\nb,Acme\n", "brand"), items_of({"a", "b"}, 2));
  BOOST_TEST((shown(got.columns[0]) == Strings{"-", "-", "Acme", "Acme"}));
  BOOST_CHECK(got.absent.empty());
}

BOOST_AUTO_TEST_CASE(what_is_wrong_has_a_place_and_a_remedy) {
  struct Case {
    std::string table;
    Strings parts;
  };
  for (const auto& [table, parts] : {
           Case{"item,brnd,price\na,Acme,1\n",
                {"items.csv:1: no column \"brand\"; did you mean \"brnd\"?",
                 "Set data.item_columns to one of: item, brnd, price"}},
           Case{"sku,brand,price\na,Acme,1\n", {"items.csv:1: no column \"item\"", "Set data.item_key to one of"}},
           Case{"item,brand,price\na,Acme,1\n,Acme,2\n", {"items.csv:3:1: the id of the item is empty", "leave the row out"}},
           Case{"item,brand,price\na,Acme,1\nb,Acme,2\na,Bolt,2\n",
                {"items.csv:4:1: the item \"a\" is there twice, first in line 2", "data.list_separator"}},
           Case{"item,brand,price\na,Acme,cheap\n",
                {"items.csv:2:8: \"cheap\" in the column \"price\" is not a finite number", "data.item_columns"}},
           Case{"item,brand,price\na,Acme,nan\n", {"items.csv:2:8: \"nan\""}},
           Case{"item,brand,price\nother,Acme,dear\n", {"items.csv:2:12: \"dear\""}},  // of items without events too
           Case{fmt::format("item,brand,price\na,{},1\n", std::string(5000, 'x')),
                {"items.csv:2:3: the value of \"brand\" has 5,000 bytes, where 4,096 are the most"}},
           Case{"item,brand,price\na,Acme\n", {"items.csv:2: 2 fields"}},
           Case{"item,brand,price\nx,Acme,1\ny,Acme,1\n",
                {"items.csv: none of the 5 items of the events is in it", "Set data.items_key"}},
       }) {
    auto config = config_with(table, "brand");
    config.item_number_columns = "price";
    check_throws<DataError>([&] { load(config); }, parts);
  }
  check_throws<DataError>([] { load({.path = "e.csv", .items = "nowhere.csv", .item_columns = "brand"}); }, {"nowhere.csv"});
  check_throws<ConfigError>([] { load(config_with("item,brand\n", "brand", "items.txt")); },
                            {"items.txt does not tell what is in it", "Set data.items_format"});
}

BOOST_AUTO_TEST_CASE(keys_that_do_not_go_together_are_refused) {
  const auto refuse = [](const InteractionsConfig& config, const Strings& parts) {
    check_throws<ConfigError>([&] { config.check(); }, parts);
  };
  refuse({.path = "e.csv", .item_columns = "brand"}, {"data.item_columns = \"brand\"", "Set data.items"});
  refuse({.path = "e.csv", .item_number_columns = "price"}, {"data.item_number_columns = \"price\"", "Set data.items"});
  refuse({.path = "e.csv", .items_key = "sku"}, {"data.items_key = \"sku\"", "Set data.items"});
  refuse({.path = "e.csv", .items = "i.csv"}, {"none of its columns is named", "data.item_columns"});
  refuse({.path = "e.csv", .items = "i.csv", .item_columns = "brand price", .item_number_columns = "price"},
         {"name \"price\" twice"});
  refuse({.path = "e.csv", .items = "i.csv", .item_columns = "brand", .list_separator = "::"}, {"more than one character"});
  InteractionsConfig good{.path = "e.csv", .items = "i.csv", .item_columns = "a brand, a shelf"};
  BOOST_CHECK_NO_THROW(good.check());
}

BOOST_AUTO_TEST_CASE(the_check_looks_at_every_row_of_the_table_of_items) {
  auto config = config_of("user,item\nu,a\nu,b\nu,c\nv,b\nv,c\nv,a\n");
  config.items =
      table_folder().write("goods.csv", "item,brand,title\na,Acme,one\n,Acme,two\na,Acme,three\nb,Acme\n,,\n").string();
  config.item_columns = "brand title";
  const auto report = check_interactions(config, 1);
  BOOST_TEST(!report.good());
  const auto find = [&](const std::string& kind) {
    for (const Finding& finding : report.findings)
      if (finding.kind == kind) return fmt::format("{} {}", finding.count, finding.examples.at(0).place());
    return std::string("none");
  };
  BOOST_CHECK_EQUAL(find("empty_id"), "2 " + config.items + ":3:1");
  BOOST_CHECK_EQUAL(find("item_twice"), "1 " + config.items + ":4:1");
  BOOST_CHECK_EQUAL(find("fields"), "1 " + config.items + ":5");
  BOOST_CHECK_EQUAL(find("item_without_attributes"), "2 " + config.items);
  BOOST_CHECK_EQUAL(find("column_of_rare_values"), "2 " + config.items);
  BOOST_CHECK(holds(report.summary, "goods.csv: 1 items of the events"));
}
