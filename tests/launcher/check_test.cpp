// `tradewind check` on recipes of both kinds of data, as a person runs it.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

constexpr const char* kShop = R"([data]
path = "events.csv"
user_key = "customer"
item_key = "sku"
time_key = "when"
[model]
name = "sasrec"
)";

constexpr const char* kText = R"([data]
path = "reviews.jsonl"
[model]
name = "gpt"
)";

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Shop {
  TemporaryFolder folder;
  Shop() {
    folder.write("shop.toml", kShop);
    folder.write("text.toml", kText);
    std::string events = "sku,customer,when\n";
    for (const char* customer : {"ann", "bob", "cid"})
      for (const char* item : {"soap,{},2024-11-29 10:00", "lamp,{},2024-11-29 11:00", "rug,{},2024-11-29 12:00"})
        events += std::string(item).replace(std::string(item).find("{}"), 2, customer) + "\n";
    folder.write("events.csv", events);
  }
  Outcome check(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {TRADEWIND_BINARY, "check"});
    return Command(arguments, folder.path()).wait();
  }
};

void expect(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  BOOST_CHECK_MESSAGE(outcome.code == code, outcome);
  for (const std::string& part : parts)
    BOOST_CHECK_MESSAGE(holds(outcome.output + outcome.errors, part), outcome << "does not say \"" << part << "\"");
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(data_without_errors_ends_with_0_and_what_to_do_next, Shop) {
  expect(check({"shop.toml"}), 0,
         {"6 item_never_trained", "events.csv:4: item \"rug\" is in the test, and never in training",
          "9 events of 3 users with 3 items", "it can be read; try: tradewind train shop.toml"});
  folder.write("my events.csv", text_of(folder.path() / "events.csv"));
  expect(check({"shop.toml", "--set", "data.path=my events.csv", "--set", "data.repeats=first"}), 0,
         {"try: tradewind train shop.toml --set 'data.path=my events.csv' --set data.repeats=first\n"});
  folder.write("reviews.jsonl", "{\"text\": \"A soft towel.\"}\n");
  expect(check({"text.toml"}), 0, {"1 document", "try: tradewind train text.toml"});
}

BOOST_FIXTURE_TEST_CASE(errors_end_with_3_and_name_file_row_column_and_repair, Shop) {
  std::string text = "sku,customer,when\n";
  for (int i = 0; i < 9; ++i) text += "soap,,2024-11-29\n";
  folder.write("bad.csv", text + "soap,ann,29/11/2024\nsoap,ann\n");
  const Outcome outcome = check({"shop.toml", "--set", "data.path=bad.csv", "--examples", "2"});
  expect(outcome, 3,
         {"ERROR: 9 empty_id", "bad.csv:2:6: the id of the user is empty", "bad.csv:3:6: ", "and 7 more",
          "bad.csv:11:10: \"29/11/2024\" can be read in more than one way. Say which: data.time_format = \"%d/%m/%Y\"",
          "bad.csv:12: 2 fields, where the header names 3", "12 errors; training would stop at the first"});
  BOOST_CHECK(!holds(outcome.output, "bad.csv:4:"));
  expect(check({"shop.toml", "--set", "data.item_key=skus"}), 3,
         {"events.csv:1: no column \"skus\"; did you mean \"sku\"? Set data.item_key to one of: sku, customer, when"});
  expect(check({"shop.toml", "--set", "data.path=none.csv"}), 3, {"none.csv", "cannot be opened"});
  folder.write("reviews.jsonl", "{\"text\": \"A soft towel.\"}\n{\"txt\": \"x\"}\n[1]\n");
  expect(check({"text.toml"}), 3, {"ERROR: 2 document", "reviews.jsonl:2: no key \"text\"", "reviews.jsonl:3: "});
}

BOOST_FIXTURE_TEST_CASE(a_program_gets_the_same_as_one_object, Shop) {
  folder.write("bad.csv", "sku,customer,when\nsoap,\"an\n,n\",2024-11-29\n\"la\xFF\",ann,soon\n");
  const Outcome outcome = check({"shop.toml", "--set", "data.path=bad.csv", "--json"});
  BOOST_CHECK_EQUAL(outcome.code, 3);
  const auto report = nlohmann::json::parse(outcome.output);
  BOOST_CHECK_EQUAL(report.at("good"), false);
  BOOST_CHECK_EQUAL(report.at("rows"), 2);
  const auto& finding = report.at("findings").at(0);
  BOOST_CHECK_EQUAL(finding.at("kind"), "time");
  BOOST_CHECK_EQUAL(finding.at("count"), 1);
  BOOST_CHECK_EQUAL(finding.at("error"), true);
  const auto& example = finding.at("examples").at(0);
  BOOST_CHECK_EQUAL(example.at("file"), "bad.csv");
  BOOST_CHECK_EQUAL(example.at("line"), 4);
  BOOST_CHECK(holds(example.at("what"), "\"soon\" is not a time"));
  BOOST_CHECK(holds(example.at("repair"), "data.time_format"));
  const auto good = nlohmann::json::parse(check({"shop.toml", "--json"}).output);
  BOOST_CHECK_EQUAL(good.at("good"), true);
  BOOST_CHECK_EQUAL(good.at("events"), 9);
  BOOST_CHECK_EQUAL(good.at("findings").at(0).at("error"), false);
}

BOOST_FIXTURE_TEST_CASE(what_it_cannot_take_is_refused, Shop) {
  expect(check({}), 2, {"CONFIG"});
  expect(check({"shop.toml", "--examples", "0"}), 2, {"--examples"});
  expect(check({"none.toml"}), 2, {"none.toml"});
  expect(check({"shop.toml", "--set", "data.path="}), 2, {"data.path is empty"});
  expect(check({"text.toml", "--set", "data.path="}), 2, {"data.path is empty"});
  expect(check({"shop.toml", "--set", "data.split=given"}), 2, {"data.validation_path"});
}

}  // namespace tradewind::tests
