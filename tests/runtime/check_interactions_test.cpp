#include "runtime/data/check_interactions.h"

#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::config_of;
using tests::table_folder;

namespace {

using Strings = std::vector<std::string>;

/// "kind count: line:column line:column" of each finding; warnings in brackets.
Strings shown(const CheckReport& report) {
  Strings out;
  for (const Finding& finding : report.findings) {
    std::string one = fmt::format("{} {}:", finding.kind, finding.count);
    for (const DataProblem& problem : finding.examples) one += fmt::format(" {}:{}", problem.line, problem.column);
    out.push_back(finding.error ? one : fmt::format("({})", one));
  }
  return out;
}

void check_says(const CheckReport& report, const std::string& kind, const Strings& parts) {
  for (const Finding& finding : report.findings) {
    if (finding.kind != kind) continue;
    const std::string text = finding.examples.at(0).text();
    for (const std::string& part : parts)
      BOOST_CHECK_MESSAGE(text.find(part) != std::string::npos, "\"" << text << "\" does not say \"" << part << "\"");
    return;
  }
  BOOST_ERROR("there is no finding " << kind);
}

InteractionsConfig timed(const std::string& text) {
  InteractionsConfig config = config_of(text);
  config.time_key = "time";
  return config;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_table_without_faults_has_no_findings_and_the_numbers_of_training) {
  InteractionsConfig config = timed(
      "user,item,time\nu,a,2024-11-29 10:00\nu,b,2024-11-29 11:00\nu,c,2024-11-29 12:00\nv,c,2024-11-29 10:00\nv,b,2024-11-29 "
      "11:00\nv,a,2024-11-29 12:00\nv,b,2024-11-29 13:00\n");
  config.split = "user";
  config.test_fraction = config.validation_fraction = 0;
  const CheckReport report = check_interactions(config, 1);
  BOOST_TEST(report.good());
  BOOST_TEST(shown(report).empty());
  BOOST_TEST(report.rows == 7);
  BOOST_TEST(report.events == 7);
  BOOST_TEST(report.users == 2);
  BOOST_TEST(report.items == 3);
  BOOST_TEST(report.summary == load_interactions(config, 1).summary);
}

BOOST_AUTO_TEST_CASE(every_row_in_error_is_counted_and_the_first_are_named) {
  std::string text = "user,item,time\n";
  for (int i = 0; i < 3000; ++i) text += i % 3 == 0 ? ",i,1\n" : i % 3 == 1 ? "u,i,soon\n" : "u,i\n";
  text += "u,\"i\"j,1\nu,i,2024-11-29\n";
  const CheckReport report = check_interactions(timed(text), 1, 3);
  BOOST_TEST(!report.good());
  BOOST_TEST((shown(report) == Strings{"empty_id 1000: 2:1 5:1 8:1", "time 1001: 3:5 6:5 9:5", "fields 1000: 4:0 7:0 10:0",
                                       "quotes 1: 3002:6", "no_events 1: 0:0"}));
  BOOST_TEST(report.rows == 2001);
}

BOOST_AUTO_TEST_CASE(what_loads_and_may_not_be_meant_is_named_with_its_line) {
  InteractionsConfig config = timed(
      "user,item,time\nu,a,2024-11-29\nu,b,2024-11-29\nu,a,2024-11-29\nv,a ,1970-01-02\nw,null,2024-11-29\nw,a,2024-11-30\n"
      "u,b,2024-11-30\nu,c,2024-12-01\n");
  const CheckReport report = check_interactions(config, 1);
  BOOST_TEST(report.good());
  BOOST_TEST((shown(report) == Strings{"(blanks_around_id 1: 5:0)", "(id_of_nothing 1: 6:0)", "(odd_time 1: 5:0)",
                                       "(duplicate_event 1: 4:0)", "(user_with_two_events 1: 6:0)",
                                       "(user_with_one_event 1: 5:0)", "(item_never_trained 1: 9:0)"}));
  check_says(report, "blanks_around_id", {config.path + ":5: the id of the item is \"a \""});
  check_says(report, "id_of_nothing", {"the id of the item is \"null\"", "leave the row out"});
  check_says(report, "odd_time", {"read as 1970-01-02 00:00:00", "data.time_key"});
  check_says(report, "duplicate_event",
             {"user \"u\" has item \"a\" at the same time, as in line 2", "data.repeats = \"same_time\""});
  check_says(report, "user_with_one_event", {"user \"v\" has 1 event,", "takes 3", "data.min_user_events"});
  check_says(report, "item_never_trained", {"item \"c\" is in the test, and never in training", "data.min_item_events"});
  config.repeats = "same_time";
  for (const std::string& finding : shown(check_interactions(config, 1)))
    BOOST_TEST(finding.find("duplicate") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(ids_that_capitals_set_apart_are_named) {
  const InteractionsConfig config = config_of("user,item\nu,SKU-1\nu,b\nu,Sku-1\nU,sku-1\nU,b\nU,Sku-1\n");
  const CheckReport report = check_interactions(config, 1);
  BOOST_TEST(report.good());
  // Those that came later: three events of user U, and three of two spellings of the item.
  BOOST_TEST(shown(report).at(0) == "(ids_of_other_case 6: 5:0 6:0 7:0 4:0 5:0)");
  check_says(report, "ids_of_other_case",
             {config.path + ":5: the id of the user is \"U\", and \"u\" is one too", "write them alike"});
}

BOOST_AUTO_TEST_CASE(without_times_repeats_in_a_row_are_named) {
  const CheckReport report = check_interactions(config_of("user,item\nu,a\nv,a\nu,a\nu,b\nu,a\nu,a\nu,a\nv,b\nv,a\n"), 1);
  BOOST_TEST((shown(report) == Strings{"(repeat_in_a_row 3: 4:0 7:0 8:0)"}));
  check_says(report, "repeat_in_a_row", {"user \"u\" has item \"a\" once more, as in line 2", "data.repeats = \"in_a_row\""});
}

BOOST_AUTO_TEST_CASE(given_files_are_named_each) {
  InteractionsConfig config = config_of("user,item\nu,a\nu,b\nv,a\nv,b\n");
  config.split = "given";
  config.validation_path = table_folder().write("validation.csv", "user,item\nu,c\n,b\n").string();
  config.test_path = table_folder().write("test.csv", "item,user\n,v\nd,v\n").string();
  const CheckReport report = check_interactions(config, 1);
  BOOST_TEST((shown(report) == Strings{"empty_id 2: 3:1 2:1", "(item_never_trained 2: 2:0 3:0)"}));
  BOOST_TEST(report.findings.at(0).examples.at(0).file == config.validation_path);
  BOOST_TEST(report.findings.at(0).examples.at(1).file == config.test_path);
  check_says(report, "item_never_trained", {config.validation_path + ":2: item \"c\" is in validation"});
}

BOOST_AUTO_TEST_CASE(what_ends_the_reading_is_a_finding_too) {
  InteractionsConfig missing;
  missing.path = "/nowhere/events.csv";
  check_says(check_interactions(missing, 1), "file", {"/nowhere/events.csv", "cannot be opened"});
  const CheckReport header = check_interactions(config_of("usr,item\nu,a\n"), 1);
  BOOST_TEST((shown(header) == Strings{"no_column 1: 1:0"}));
  check_says(header, "no_column", {":1: no column \"user\"; did you mean \"usr\"? Set data.user_key to one of: usr, item"});
  check_says(check_interactions(config_of("user,item\nu,a\n"), 1), "one_item", {"1 event of one item, \"a\""});
  check_throws<ConfigError>([] { check_interactions(InteractionsConfig{}, 1); }, {"data.path is empty"});
}

BOOST_AUTO_TEST_CASE(what_passes_loads_and_what_does_not_names_the_same_fault) {
  const Strings parts = {"u",  "v", "w",          ",",          ",",   ",", "\n", "\n", "\n",
                         "\"", "7", "2024-11-29", "1732877570", "NaN", ";", "é",  " ",  "4.5"};
  int good = 0, bad = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    std::string text = random() % 50 == 0 ? "user,item\n" : "user,item,time,stars\n";
    for (unsigned i = 0, n = random() % 9; i < n; ++i) {
      std::string row = fmt::format("u{},i{},{},{}\n", random() % 3, random() % 4, random() % 1000, random() % 5);
      if (random() % 8 == 0) row.insert(random() % row.size(), parts[random() % parts.size()]);
      if (random() % 16 == 0) row.erase(random() % row.size(), 1 + random() % 3);
      text += row;
    }
    InteractionsConfig config = timed(text);
    config.rating_key = "stars";
    config.min_rating = random() % 2 == 0 ? 2 : 0;
    config.min_user_events = static_cast<std::int64_t>(random() % 3);
    const CheckReport report = check_interactions(config, 1);
    std::string thrown;
    try {
      load_interactions(config, 1);
    } catch (const DataError& error) {
      thrown = error.what();
    }
    BOOST_REQUIRE_MESSAGE(report.good() == thrown.empty(), text);
    ++(thrown.empty() ? good : bad);
    if (!thrown.empty()) BOOST_REQUIRE_EQUAL(report.findings.at(0).examples.at(0).text(), thrown);
  }
  BOOST_TEST(good > 300);
  BOOST_TEST(bad > 300);
}
