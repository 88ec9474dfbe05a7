#include "runtime/data/event_log.h"

#include <fmt/format.h>
#include <zlib.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "kernels/base/error.h"
#include "runtime/data/table_stream.h"
#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::config_of;
using tests::in_quotes;
using tests::table_folder;

namespace {

using Strings = std::vector<std::string>;

/// The events of a log as "user item", with "@time" where there are times.
Strings shown(const EventLog& log) {
  Strings out;
  for (std::size_t i = 0; i < log.item.size(); ++i) {
    out.push_back(std::string(log.users.name(log.user[i])) + " " + std::string(log.items.name(log.item[i])));
    if (!log.time.empty()) out.back() += fmt::format("@{}", log.time[i] / 1'000'000);
  }
  return out;
}

Strings read(const InteractionsConfig& config) {
  ThrowProblems sink;
  return shown(read_events(config, sink));
}

class Collect final : public ProblemSink {
 public:
  void report(const DataProblem& problem) override { problems.push_back(problem); }
  std::vector<DataProblem> problems;
};

void refuse(const InteractionsConfig& config, Strings parts) {
  parts[0] = config.path + parts[0];
  check_throws<DataError>([&] { read(config); }, parts);
}

}  // namespace

BOOST_AUTO_TEST_CASE(events_come_from_every_kind_of_table) {
  const Strings expected = {"ann soap", "bob lamp", "ann lamp"};
  BOOST_TEST((read(config_of("user,item\nann,soap\nbob,lamp\nann,lamp\n")) == expected));
  BOOST_TEST((read(config_of("\xEF\xBB\xBF\r\n\"item\";x;user\r\nsoap;1;ann\r\n\r\nlamp;2;bob\r\nlamp;3;ann")) == expected));
  BOOST_TEST((read(config_of("user:token\titem:token\trating:float\nann\tsoap\t5\nbob\tlamp\t3\nann\tlamp\t\n", "x.inter")) ==
              expected));
  BOOST_TEST(
      (read(config_of("{\"user\":\"ann\",\"item\":\"soap\",\"x\":[{\"user\":1}]}\n\n{\"item\":\"lamp\",\"user\":\"bob\"}\n"
                      "{\"user\":\"ann\",\"item\":\"lamp\",\"y\":null}",
                      "x.jsonl")) == expected));
  InteractionsConfig spaces = config_of("user item\nann soap\n  bob \t lamp  \r\nann lamp\n", "x.txt");
  spaces.format = "spaces";
  BOOST_TEST((read(spaces) == expected));
  InteractionsConfig nameless = config_of("ann soap\nbob lamp\nann lamp\n", "x.txt");
  nameless.format = "spaces";
  nameless.columns = "user item";
  BOOST_TEST((read(nameless) == expected));
  nameless = config_of("1,soap,ann\n2,lamp,bob\n3,lamp,ann\n");
  nameless.columns = "time, item, user";
  BOOST_TEST((read(nameless) == expected));
  InteractionsConfig sequences = config_of("ann soap lamp\nbob lamp soap lamp\n", "x.txt");
  sequences.format = "sequences";
  BOOST_TEST((read(sequences) == Strings{"ann soap", "ann lamp", "bob lamp", "bob soap", "bob lamp"}));
}

// As MovieLens' ratings.dat is written, and with a line of names.
BOOST_AUTO_TEST_CASE(a_separator_of_several_characters_is_told_or_seen) {
  InteractionsConfig config = config_of("1::soap::5::978300760\n1::\"x\"::3::978302109\n", "ratings.dat");
  check_throws<ConfigError>([&] { read(config); }, {"data.format", "data.separator"});
  config.format = "csv";
  config.columns = "user item rating time";
  config.time_key = "time";
  const Strings expected = {"1 soap@978300760", "1 \"x\"@978302109"};
  BOOST_TEST((read(config) == expected));  // seen
  config.separator = "::";
  BOOST_TEST((read(config) == expected));
  BOOST_TEST((read(config_of("user::item\n17::3\n")) == Strings{"17 3"}));
  config = config_of("user~~item\n17~~a~3\n");
  config.separator = "~~";
  BOOST_TEST((read(config) == Strings{"17 a~3"}));
  config = config_of("user,item\n17,3::\n");  // of its header, whatever is in its rows
  BOOST_TEST((read(config) == Strings{"17 3::"}));
}

BOOST_AUTO_TEST_CASE(a_wrong_separator_is_refused_with_the_right_one) {
  const std::string rows = "1::1193::5::978300760\n1::661::3::978302109\n";
  const auto with = [](const std::string& text, const std::string& separator, const std::string& columns) {
    InteractionsConfig config = config_of(text, "ratings.dat");
    config.format = "csv";
    config.separator = separator;
    config.columns = columns;
    return config;
  };
  const std::string names = "user item rating time";
  refuse(with(rows, ",", names), {":1: \",\" is not in the first row", "Set data.separator = \"::\""});
  refuse(with(rows, ":", names), {":1: 7 fields", "4 fields, so set data.separator = \"::\""});
  refuse(with("1\t2\t3\t4\n", "::", names), {":1: \"::\" is not in the first row", "Set data.separator = \"\\t\""});
  refuse(with("1 2 3\n", "::", names), {":1: \"::\" is not in the first row", "to what stands between"});
  refuse(with("user;item;note\n1;2;a,b\n", ",", ""), {":1: \",\" is not in the first row", "Set data.separator = \";\""});
  refuse(with("user;item;note, long\n1;2;a,b\n", ",", ""), {":1: no column \"user\"", "data.separator is \",\"; is it \";\"?"});
  refuse(with("user^item\n1^2\n", "", ""), {":1: no column \"user\"", "data.separator"});
  InteractionsConfig spaces = with(rows, "", names);
  spaces.format = "spaces";
  refuse(spaces, {":1: 1 field between blanks", "set data.format = \"csv\" and data.separator = \"::\""});
  spaces.separator = "::";
  check_throws<ConfigError>([&] { read(spaces); }, {"data.separator", "data.format = \"csv\""});
  const InteractionsConfig quote = with(rows, "\"", names);
  check_throws<ConfigError>([&] { read(quote); }, {"data.separator", "a quote"});
}

BOOST_AUTO_TEST_CASE(numbers_are_ids_too) {
  BOOST_TEST(
      (read(config_of("{\"user\":18446744073709551615,\"item\":-7}\n", "x.jsonl")) == Strings{"18446744073709551615 -7"}));
  BOOST_TEST((read(config_of("user,item\n007,7\n")) == Strings{"007 7"}));  // as they are written
}

BOOST_AUTO_TEST_CASE(ids_with_separators_quotes_and_line_breaks_stay_whole) {
  std::mt19937 random(2);
  const Strings parts = {"a", ",", "\"", "\n", "\r\n", "毛巾", " ", "\t", "\xFF", std::string(1, '\0'), ";", "#"};
  for (int round = 0; round < 30; ++round) {
    std::string text = "item,note,user\n";
    Strings expected;
    for (unsigned i = 0, n = 1 + random() % 40; i < n; ++i) {
      std::string id;
      while (id.empty())
        for (unsigned k = 0, m = random() % 6; k < m; ++k) id += parts[random() % parts.size()];
      text += fmt::format("{},x,u{}{}", in_quotes(id), i, random() % 2 == 0 ? "\n" : "\r\n");
      expected.push_back(fmt::format("u{} {}", i, id));
    }
    BOOST_TEST((read(config_of(text)) == expected));
  }
}

BOOST_AUTO_TEST_CASE(a_file_of_many_chunks_is_read_whole_plain_and_compressed) {
  std::string text = "user,item,note\n";
  Strings expected;
  std::mt19937 random(9);
  for (int i = 0; i < 60'000; ++i) {
    const std::string user = fmt::format("u{}", random() % 500), item = fmt::format("i{}", i);
    const bool quoted = random() % 5 == 0;
    text += user + "," + item + "," + (quoted ? "\"a\n\"\"b\"\",\n\"" : std::string(random() % 60, 'n')) + "\n";
    expected.push_back(user + " " + item);
  }
  BOOST_TEST(text.size() > 2'000'000);
  BOOST_TEST((read(config_of(text)) == expected));
  InteractionsConfig config = config_of("", "events.csv.gz");
  gzFile file = gzopen(config.path.c_str(), "wb");
  BOOST_REQUIRE(file != nullptr);
  BOOST_REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  BOOST_REQUIRE(gzclose(file) == Z_OK);
  BOOST_TEST((read(config) == expected));
}

BOOST_AUTO_TEST_CASE(comments_kinds_ratings_and_times_are_read) {
  InteractionsConfig config = config_of(
      "# exported on Friday\nuser,item,when,kind,stars\n#bob,soap,5,view,5\nann,soap,2024-11-29,view,5\nann,lamp,2024-11-29 "
      "00:01,buy,2\n"
      "bob,lamp,2024-11-28,cart,4\nbob,rug,2024-11-28,\"return\",1\n");
  config.comment = "#";
  config.time_key = "when";
  BOOST_TEST(
      (read(config) == Strings{"ann soap@1732838400", "ann lamp@1732838460", "bob lamp@1732752000", "bob rug@1732752000"}));
  config.event_key = "kind";
  config.events = " view,buy , sell";
  config.rating_key = "stars";
  config.min_rating = 3;
  ThrowProblems sink;
  const EventLog log = read_events(config, sink, true);
  BOOST_TEST((shown(log) == Strings{"ann soap@1732838400"}));
  BOOST_TEST((log.line == std::vector<std::int64_t>{4}));
  BOOST_TEST(log.rows == 4);
  BOOST_TEST(log.below_rating == 1);
  BOOST_TEST(log.other_kinds.size() == 2);
  BOOST_TEST(log.other_kinds.find("return") >= 0);
  BOOST_TEST((log.absent_kinds == Strings{"sell"}));
}

// A column of ids is taken for one of kinds: it is said, and does not fill the memory.
BOOST_AUTO_TEST_CASE(of_kinds_that_do_not_count_the_first_thousand_are_named) {
  std::string table = "user,item,kind\nann,soap,view\n";
  for (int i = 0; i < 1500; ++i) table += fmt::format("ann,soap,kind-{}\nann,soap,kind-0\n", i);
  table += "ann,soap," + std::string(99, 'x') + "\xE6\xAF\x9B\nann,soap,kind-1499\n";
  InteractionsConfig config = config_of(table);
  config.event_key = "kind";
  config.events = "view";
  ThrowProblems sink;
  const EventLog log = read_events(config, sink);
  BOOST_TEST(log.counted == 1);
  BOOST_TEST(log.rows == 3003);
  BOOST_TEST(log.other_kinds.size() == kMostKinds);
  BOOST_TEST(log.other_kinds.count(log.other_kinds.find("kind-0")) == 1501);
  BOOST_TEST(log.more_kinds == 502);
  config.path =
      table_folder().write("long.csv", "user,item,kind\na,b,view\na,b," + std::string(99, 'x') + "\xE6\xAF\x9B\n").string();
  BOOST_TEST(read_events(config, sink).other_kinds.name(0) == std::string(99, 'x'));  // no half of a character
}

BOOST_AUTO_TEST_CASE(integers_of_json_may_have_any_number_of_digits) {
  InteractionsConfig config = config_of("{\"user\": 123456789012345678901234567890, \"item\": -7}\n", "digits.jsonl");
  BOOST_TEST((read(config) == Strings{"123456789012345678901234567890 -7"}));
  refuse(config_of("{\"user\": 1e30, \"item\": 7}\n", "digits.jsonl"), {":1:2: \"user\" is 1e30, a number with a fraction"});
}

BOOST_AUTO_TEST_CASE(names_of_columns_are_of_files_without_them) {
  InteractionsConfig config = config_of("{\"user\": \"u\", \"item\": \"i\"}\n", "named.jsonl");
  config.columns = "user item";
  check_throws<ConfigError>([&] { read(config); }, {"data.columns = \"user item\"", "named.jsonl", "Leave data.columns empty"});
  config.split = "given";
  config.test_path = table_folder().write("unnamed.csv", "v,j\n").string();
  BOOST_TEST((read(config) == Strings{"u i", "v j"}));
}

BOOST_AUTO_TEST_CASE(the_parts_may_be_files_of_their_own) {
  InteractionsConfig config = config_of("user,item,t\nann,a,1000\n");
  config.split = "given";
  config.time_key = "t";
  config.test_path = table_folder().write("test.jsonl", "{\"user\":\"ann\",\"item\":\"c\",\"t\":1732877570000}\n").string();
  config.validation_path = table_folder().write("validation.csv", "item,t,user\nb,2000,ann\n").string();
  ThrowProblems sink;
  const EventLog log = read_events(config, sink);
  // Times of all files are in one unit: the test's show that they are milliseconds.
  BOOST_TEST((shown(log) == Strings{"ann a@1", "ann b@2", "ann c@1732877570"}));
  BOOST_TEST((log.source == std::vector<Part>{Part::kTrain, Part::kValidation, Part::kTest}));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_table_is_named_with_file_line_column_and_repair) {
  refuse(config_of(""), {" is empty"});
  refuse(config_of("\n \n"), {" holds only blank lines"});
  refuse(config_of("user_id,item\nu,i\n"),
         {":1: no column \"user\"", "did you mean \"user_id\"?", "Set data.user_key to one of: user_id, item"});
  refuse(config_of("userid:token\titem:token\nu\ti\n"), {":1: no column \"user\"", "did you mean \"userid:token\"?"});
  refuse(config_of("17,1193,978300760\n17,661,978302109\n"),
         {":1: no column \"user\"", "Line 1 looks like data, not like names", "its 3 fields",
          "data.columns = \"user item time\""});
  refuse(config_of("user item time\n17 1193 97\n"), {":1: no column \"user\"", "set data.format = \"spaces\""});
  refuse(config_of("user^item\n17^3\n"), {":1: no column \"user\"", "Comma, tab, semicolon, bar or :: separate fields"});
  refuse(config_of("user,item,user\n1,2,3\n"), {":1: two columns are named \"user\""});
  refuse(config_of("user,item\nu,i\n\nu;i\n"), {":4: 1 field, where the header names 2 (separated by \",\")", "in quotes"});
  refuse(config_of("user,item\nu,i\nu,soap, soft\n"), {":3: 3 fields, where the header names 2"});
  refuse(config_of("user\titem\nu\n"), {":2: 1 field", "separated by a tab", "as a space"});
  refuse(config_of("user,item\n\"u\n1\",i\nv,\"so\"ap\n"), {":4:7: \",\" is expected behind the closing quote", "doubled"});
  refuse(config_of("user,item\nu,i\nv,\"so\nap\n"), {":3:3: the quote that opens here is not closed"});
  refuse(config_of("user,item\nu,i\n\"x\ny\",\n"), {":4:4: the id of the item is empty"});
  refuse(config_of("user,item\nu,i\n,i\n"), {":3:1: the id of the user is empty", "leave the row out"});
  refuse(config_of("user,item\nu," + std::string(1'000'000, 'x') + "\n"),
         {":2:3: the id of the item has 1,000,000 bytes", "4,096"});
  refuse(config_of(std::string("\xFF\xFEu\0s\0", 6)), {" is UTF-16", "iconv"});
}

BOOST_AUTO_TEST_CASE(a_field_of_a_million_characters_is_read_where_it_is_no_id) {
  BOOST_TEST((read(config_of("user,item,note\nu,i," + std::string(1'000'000, 'x') + "\nv,i,\"" + std::string(3'000'000, '\n') +
                             "\"\nw,i,\n")) == Strings{"u i", "v i", "w i"}));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_value_is_named_with_file_line_column_and_repair) {
  InteractionsConfig times = config_of("user,item,time\nu,i,1732877570\nü,i,soon\n");
  times.time_key = "time";
  refuse(times, {":3:5: \"soon\" is not a time", "data.time_format"});
  times = config_of("user,item,time\nu,i,03/04/2024\n");
  times.time_key = "time";
  refuse(times, {":2:5: \"03/04/2024\" can be read in more than one way", "data.time_format = \"%d/%m/%Y\""});
  InteractionsConfig ratings = config_of("user,item,stars\nu,i,4.5\nu,j,NaN\n");
  ratings.rating_key = "stars";
  refuse(ratings, {":3:5: the rating \"NaN\" is not a finite number", "leave out"});
  for (const char* bad : {"", "inf", "4,5", "five", "1e999", "4 "}) {
    ratings = config_of(std::string("user;item;stars\nu;i;") + bad + "\n");
    ratings.rating_key = "stars";
    refuse(ratings, {":2:5: the rating"});
  }
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_lines_of_json_is_named_with_file_line_and_repair) {
  const auto jsonl = [](const std::string& line) {
    return config_of("{\"user\":\"u\",\"item\":\"i\"}\n" + line + "\n", "x.jsonl");
  };
  refuse(jsonl("user,item"), {":2:1: not valid JSON", "data.format = \"csv\""});
  refuse(jsonl("{\"user\":\"ü\",\"item\" \"i\"}"), {":2:22: not valid JSON"});
  refuse(jsonl("{\"user\":\"u\",\"item\":\"i\"} {}"), {":2:", "not valid JSON"});
  refuse(jsonl("[1,2]"), {":2:1: an object is expected"});
  refuse(jsonl("{\"user\":\"u\",\"itme\":\"i\"}"),
         {":2:1: no key \"item\"; did you mean \"itme\"?", "Set data.item_key to one of: itme"});
  refuse(jsonl("{\"user\":\"u\",\"item\":null}"), {":2:13: \"item\" is null"});
  refuse(jsonl("{\"user\":\"u\",\"item\":7.5}"), {":2:13: \"item\" is 7.5, a number with a fraction", "text or an integer"});
  refuse(jsonl("{\"user\":\"u\",\"item\":[\"i\"]}"), {":2:13: \"item\" is neither text nor a number"});
  refuse(jsonl("{\"user\":\"\",\"item\":\"i\"}"), {":2:2: the id of the user is empty"});
  refuse(jsonl("{\"user\":\"u\xE9\",\"item\":\"i\"}"), {":2:", "not valid JSON", "UTF-8"});
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_lines_of_blanks_is_named_with_file_line_and_repair) {
  InteractionsConfig config = config_of("1 2\n1 2 3\n", "x.txt");
  check_throws<ConfigError>([&] { read(config); }, {"does not tell what is in it", "data.format", "\"spaces\""});
  config.format = "spaces";
  refuse(config, {":1: no column \"user\"", "looks like data", "data.columns"});
  config.columns = "user item";
  refuse(config, {":2: 3 fields between blanks, where there are 2 columns (user item)", "data.columns"});
  config.item_key = "product";
  check_throws<ConfigError>([&] { read(config); }, {"data.columns has no column \"product\"", "data.item_key"});
  InteractionsConfig sequences = config_of("1 2 3\n4\n", "x.txt");
  sequences.format = "sequences";
  refuse(sequences, {":2:1: the user \"4\" has no items"});
  sequences.time_key = "time";
  check_throws<ConfigError>([&] { read(sequences); }, {"data.time_key", "sequences"});
}

BOOST_AUTO_TEST_CASE(reading_goes_on_behind_rows_with_problems_where_they_are_collected) {
  InteractionsConfig config = config_of("user,item,time\nu,i,1\n,i,2\nu,j\nu,j,x\nu,\"j\"k,5\n\"a\nb\",,3\nv,i,7\n");
  config.time_key = "time";
  Collect sink;
  const EventLog log = read_events(config, sink, true);
  BOOST_TEST((shown(log) == Strings{"u i@1", "v i@7"}));
  BOOST_TEST((log.line == std::vector<std::int64_t>{2, 9}));
  Strings found;
  for (const DataProblem& p : sink.problems) found.push_back(fmt::format("{} {}:{}", p.kind, p.line, p.column));
  BOOST_TEST((found == Strings{"empty_id 3:1", "fields 4:0", "time 5:5", "quotes 6:6", "empty_id 8:4"}));
}

BOOST_AUTO_TEST_CASE(keys_that_do_not_go_together_are_refused) {
  const auto refuse_config = [](const auto& change, const Strings& parts) {
    InteractionsConfig config = config_of("user,item\nu,i\n");
    change(config);
    check_throws<ConfigError>([&] { read(config); }, parts);
  };
  refuse_config([](auto& c) { c.path = ""; }, {"data.path is empty"});
  refuse_config([](auto& c) { c.split = "given"; }, {"data.validation_path or data.test_path"});
  refuse_config([](auto& c) { c.test_path = "x"; }, {"data.test_path is set", "data.split = \"given\""});
  refuse_config([](auto& c) { c.split = "time"; }, {"data.time_key"});
  refuse_config([](auto& c) { c.repeats = "same_time"; }, {"data.time_key"});
  refuse_config([](auto& c) { c.events = "view"; }, {"data.event_key"});
  refuse_config([](auto& c) { c.time_format = "%Y"; }, {"data.time_key"});
  refuse_config([](auto& c) { c.validation_fraction = c.test_fraction = 0.5; }, {"leave nothing to train on"});
}
