// Columns of a table of items as numbers: which rows values get, what has none, what is refused and where.
#include "runtime/data/item_attributes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "runtime/data/check_interactions.h"
#include "tests/support/event_tables.h"
#include "tests/support/hdf5_table.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::config_of;
using tests::Hdf5Table;
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

BOOST_AUTO_TEST_CASE(what_stands_between_values_may_be_any_text) {
  auto chinese = config_with("item,tags\na,红、绿\nb,绿、\nc,纸\n", "tags");
  chinese.list_separator = "、";
  chinese.min_value_items = 1;
  const auto of_chinese = shown(load(chinese).columns[0]);
  BOOST_TEST((of_chinese == Strings{"绿,红", "绿", "纸", "-", "-"}), fmt::format("{}", of_chinese));
  auto longer = config_with("item,tags\na,x::y:z\nb,::\nc,y:z\n", "tags");
  longer.list_separator = "::";
  longer.min_value_items = 1;
  const auto of_longer = shown(load(longer).columns[0]);
  BOOST_TEST((of_longer == Strings{"y:z,x", "-", "y:z", "-", "-"}), fmt::format("{}", of_longer));
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

// Lists may be longer than any one value may.
BOOST_AUTO_TEST_CASE(the_limit_of_a_value_is_not_one_of_a_list) {
  std::string tags;
  for (int i = 0; i < 2000; ++i) tags += fmt::format("{}\"t{}\"", i == 0 ? "" : ", ", i);
  const std::string row = "{{\"item\": \"{}\", \"tags\": [{}]}}\n";
  const auto got = load(config_with(fmt::format(fmt::runtime(row), "a", tags) + fmt::format(fmt::runtime(row), "b", tags),
                                    "tags", "items.jsonl"));
  BOOST_TEST(got.columns[0].of(0).size() == 2000U);
  check_throws<DataError>(
      [&] {
        load(config_with(fmt::format(fmt::runtime(row), "other", "\"x\", \"" + std::string(5000, 'y') + "\""), "tags",
                         "items.jsonl"));
      },
      {"items.jsonl:1:19: a value of \"tags\" has 5,000 bytes"});
}

// The id too may be an attribute: then two keys of the config name one of the row.
BOOST_AUTO_TEST_CASE(a_key_of_json_may_be_wanted_twice) {
  auto config = config_with("{\"item\": \"a\", \"price\": 3}\n{\"item\": \"b\", \"price\": [4, 5]}\n", "item", "items.jsonl");
  config.min_value_items = 1;
  BOOST_TEST((shown(load(config).columns[0]) == Strings{"a", "b", "-", "-", "-"}));
  config.item_number_columns = "price";
  check_throws<DataError>([&] { load(config); }, {"items.jsonl:2:15: an array of several values in the column \"price\""});
}

BOOST_AUTO_TEST_CASE(a_table_in_hdf5_is_the_same_as_csv) {
  const Strings items = {"b", "a", "d", "c"}, brands = {"Acme", "Acme", "Bolt", ""};
  const std::vector<std::int64_t> shelves = {7, 7, 8, 8};
  const std::vector<float> prices = {9.95F, 1, std::numeric_limits<float>::quiet_NaN(), 30};
  const std::vector<double> weights = {0.1, 0.2, 0.3, std::numeric_limits<double>::quiet_NaN()};
  std::string csv = "item,brand,shelf,price,weight\n";
  const auto field = [](double value, const std::string& text) { return std::isnan(value) ? "" : text; };
  for (std::size_t i = 0; i < items.size(); ++i)
    csv += fmt::format("{},{},{},{},{}\n", items[i], brands[i], shelves[i], field(prices[i], fmt::format("{}", prices[i])),
                       field(weights[i], fmt::format("{}", weights[i])));
  auto config = config_with(csv, "brand shelf");
  config.item_number_columns = "price weight";
  config.number_ranges = 3;
  const ItemAttributes expected = load(config);

  Hdf5Table table("items.h5");
  table.long_texts("item", items);
  table.texts("brand", brands, 6, H5T_STR_NULLTERM);
  table.numbers("shelf", H5T_NATIVE_INT64, shelves);
  table.numbers("price", H5T_NATIVE_FLOAT, prices);
  table.numbers("weight", H5T_NATIVE_DOUBLE, weights);
  config.items = table.close();
  const ItemAttributes got = load(config);
  BOOST_TEST((shown(got.columns[0]) == Strings{"Acme", "Acme", "-", "<unknown 0>", "-"}));
  BOOST_TEST((shown(got.columns[2]) == Strings{"up to 1", "up to 9.95", "above 9.95", "-", "-"}),
             fmt::format("{}", shown(got.columns[2])));
  BOOST_TEST((got.serialised() == expected.serialised()));
  BOOST_TEST((got.absent == expected.absent));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_table_in_hdf5_has_a_remedy) {
  Hdf5Table table("bad.h5");
  table.long_texts("item", {"a", "", "b", "a"});
  table.long_texts("sku", {"a", "b", "c", "d"});
  table.long_texts("brand", {"Acme", "Acme", "Bolt", "Bolt"});
  table.long_texts("colours", {"red", "blue"});
  const std::vector<std::int32_t> square(4, 1);
  table.write("sizes", H5T_NATIVE_INT32, square.data(), {2, 2});
  table.numbers<double>("price", H5T_NATIVE_DOUBLE, {1, 2, 3, std::numeric_limits<double>::infinity()});
  const hid_t truth = H5Tenum_create(H5T_NATIVE_INT8);
  const std::vector<std::int8_t> flags(4, 1);
  for (const std::int8_t value : {std::int8_t{0}, std::int8_t{1}}) H5Tenum_insert(truth, value == 0 ? "no" : "yes", &value);
  table.write("fair", truth, flags.data(), {4});
  H5Tclose(truth);
  InteractionsConfig config{.path = "events.csv"};
  config.items = table.close();
  const auto refuse = [&](const std::string& key, const std::string& columns, const std::string& numbers, Strings parts) {
    config.items_key = key, config.item_columns = columns, config.item_number_columns = numbers;
    parts[0] = config.items + parts[0];
    check_throws<DataError>([&] { load(config); }, parts);
  };
  refuse("item", "brand", "", {":2: the id of the item is empty", "leave the row out"});
  refuse("sku", "brnd", "", {": no dataset \"brnd\"; did you mean \"brand\"?", "Set data.item_columns to one of"});
  refuse("id", "brand", "", {": no dataset \"id\"", "Set data.items_key to one of"});
  refuse("price", "brand", "", {": dataset \"price\" has floating-point numbers, which are no ids", "data.items_key"});
  refuse("sku", "colours", "", {": dataset \"colours\" has 2 rows, and \"sku\" has 4"});
  refuse("sku", "sizes", "", {": dataset \"sizes\" has not one dimension"});
  refuse("sku", "fair", "", {": dataset \"fair\" is neither text nor numbers"});
  refuse("sku", "", "price", {":4: \"inf\" in the column \"price\" is not a finite number"});
  refuse("sku", "", "brand", {":1: \"Acme\" in the column \"brand\" is not a finite number", "data.item_columns"});
  refuse("brand", "sku", "", {":2: the item \"Acme\" is there twice, first in line 1"});
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

// Right as bytes, and wrong all the same: nothing is looked up beyond the values or the items.
BOOST_AUTO_TEST_CASE(values_out_of_range_are_refused) {
  const auto good = load(config_with("item,brand\na,Acme\nb,Acme\n", "brand"));
  const auto refuse = [&](const auto& change) {
    ItemAttributes bad = good;
    change(bad.columns[0]);
    check_throws<DataError>([&] { ItemAttributes::parse(bad.serialised(), "run"); }, {"run: the values of items"});
  };
  BOOST_CHECK_NO_THROW(ItemAttributes::parse(good.serialised(), "run"));
  refuse([](AttributeColumn& c) { c.codes[0] = c.values.size(); });
  refuse([](AttributeColumn& c) { c.codes[0] = -1; });
  refuse([](AttributeColumn& c) { c.offsets[1] = 9; });
  refuse([](AttributeColumn& c) { c.offsets.back() = 1; });
  refuse([](AttributeColumn& c) { c.offsets.front() = 1; });
  refuse([](AttributeColumn& c) { c.offsets.clear(), c.codes.clear(); });
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
  BOOST_CHECK_MESSAGE(got.summary.ends_with("attribute brand: 1 values"), got.summary);
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
                {"items.csv:2:3: a value of \"brand\" has 5,000 bytes, where 4,096 are the most"}},
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
