#include "runtime/data/time_parse.h"

#include <boost/test/unit_test.hpp>
#include <ctime>
#include <random>
#include <vector>

using namespace tradewind::runtime;

namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kFriday = 1'732'877'570;  // 2024-11-29 10:52:50 UTC, `date -u -d "2024-11-29 10:52:50" +%s`

/// What a column reads one text as; -1 where it refuses.
std::int64_t read(const std::string& text, const std::string& format = {}) {
  TimeColumn column(format);
  std::int64_t time = -1;
  return column.read(text, time) ? -1 : time;
}

std::string refusal(TimeColumn& column, const std::string& text) {
  std::int64_t time = 0;
  const auto refused = column.read(text, time);
  return refused ? refused->what + ". " + refused->repair : "";
}

void check_says(const std::string& said, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    BOOST_CHECK_MESSAGE(said.find(part) != std::string::npos, "\"" << said << "\" does not say \"" << part << "\"");
}

}  // namespace

BOOST_AUTO_TEST_CASE(days_are_those_of_the_c_library) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    const auto seconds = static_cast<std::time_t>(random() % 400'000'000'000) - 150'000'000'000;  // years -2783 to 9892
    std::tm calendar{};
    BOOST_REQUIRE(gmtime_r(&seconds, &calendar) != nullptr);
    const std::int64_t year = calendar.tm_year + 1900;
    BOOST_REQUIRE(is_date(year, calendar.tm_mon + 1, calendar.tm_mday));
    const std::int64_t in_day = calendar.tm_hour * 3600 + calendar.tm_min * 60 + calendar.tm_sec;
    BOOST_REQUIRE(days_of_date(year, calendar.tm_mon + 1, calendar.tm_mday) * 86'400 + in_day == seconds);
    if (year < 1000) continue;
    char text[64];
    BOOST_REQUIRE(std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &calendar) > 0);
    BOOST_REQUIRE(time_text(seconds * kSecond) == text);
    BOOST_REQUIRE(read(text) == seconds * kSecond);
  }
}

BOOST_AUTO_TEST_CASE(dates_are_read_in_their_usual_forms) {
  for (const char* text :
       {"2024-11-29T10:52:50Z", "2024-11-29 10:52:50", " 2024-11-29 10:52:50 ", "2024/11/29 10:52:50",
        "2024-11-29T11:52:50+01:00", "2024-11-29 16:22:50 +0530", "2024-11-29T02:52:50-08", "2024-11-29t10:52:50z"})
    BOOST_TEST(read(text) == kFriday * kSecond, text);
  BOOST_TEST(read("2024-11-29T10:52:50.25Z") == kFriday * kSecond + 250'000);
  BOOST_TEST(read("2024-11-29 10:52:50,123456789") == kFriday * kSecond + 123'456);
  BOOST_TEST(read("2024-11-29 10:52") == (kFriday - 50) * kSecond);
  BOOST_TEST(read("2024-11-29") == (kFriday - kFriday % 86'400) * kSecond);
  BOOST_TEST(read("2024-2-9") == read("2024-02-09"));
  BOOST_TEST(read("1969-12-31 23:59:59") == -kSecond);
}

BOOST_AUTO_TEST_CASE(dates_that_do_not_exist_are_refused) {
  for (const char* text : {"2024-02-30",
                           "2023-02-29",
                           "2024-13-01",
                           "2024-00-10",
                           "2024-11-29 24:00",
                           "2024-11-29 10:60",
                           "2024-11-29 10:52:61",
                           "2024-11-29 10",
                           "2024-11-29x",
                           "2024-11-29 10:52:50 CET",
                           "2024-11/29",
                           "yesterday",
                           "nan",
                           "inf",
                           "",
                           " ",
                           "1e400",
                           "-",
                           "1.2.3",
                           "12-13",
                           "0x10",
                           "99999999999999999999",
                           "1-2"})
    BOOST_TEST(read(text) == -1, text);
  BOOST_TEST(read("2024-02-29") > 0);
  BOOST_TEST(read("2000-02-29") > 0);
  BOOST_TEST(read("1900-02-29") == -1);
}

BOOST_AUTO_TEST_CASE(a_declared_form_is_read_and_nothing_else) {
  BOOST_TEST(read("29/11/2024 10:52", "%d/%m/%Y %H:%M") == (kFriday - 50) * kSecond);
  BOOST_TEST(read("11/29/24 10:52:50 AM", "%m/%d/%y %I:%M:%S %p") == kFriday * kSecond);
  BOOST_TEST(read("11/29/24 10:52:50 pm", "%m/%d/%y %I:%M:%S %p") == (kFriday + 12 * 3600) * kSecond);
  BOOST_TEST(read("12:00 AM 1.1.1970", "%I:%M %p %d.%m.%Y") == 0);
  BOOST_TEST(read("29 Nov 2024 10:52:50 +0000", "%d %b %Y %H:%M:%S %z") == kFriday * kSecond);
  BOOST_TEST(read("20241129", "%Y%m%d") == (kFriday - kFriday % 86'400) * kSecond);
  BOOST_TEST(read("2024-334", "%Y-%j") == (kFriday - kFriday % 86'400) * kSecond);
  BOOST_TEST(read("10:52:50.5", "%H:%M:%S.%f") == (10 * 3600 + 52 * 60 + 50) * kSecond + 500'000);
  BOOST_TEST(read("2024-11-29 10:52:50", "%d/%m/%Y %H:%M") == -1);
  BOOST_TEST(read("29/11/2024 10:52 ", "%d/%m/%Y %H:%M") == (kFriday - 50) * kSecond);
  BOOST_TEST(read("29/11/2024 10:52:50", "%d/%m/%Y %H:%M") == -1);
  BOOST_TEST(read("13:00 PM", "%I:%M %p") == -1);
  BOOST_TEST(read("2023-366", "%Y-%j") == -1);
  BOOST_TEST(read("1732877570", "%Y-%m-%d") == -1);
  BOOST_TEST(read("5", "%Q") == -1);
  BOOST_TEST(read("5", "5%") == -1);
}

BOOST_AUTO_TEST_CASE(the_unit_of_numbers_is_told_by_their_size) {
  BOOST_TEST(read("1732877570") == kFriday * kSecond);
  BOOST_TEST(read("1732877570000") == kFriday * kSecond);
  BOOST_TEST(read("1732877570000000") == kFriday * kSecond);
  BOOST_TEST(read("1732877570000000123") == kFriday * kSecond);
  BOOST_TEST(read("1732877570.25") == kFriday * kSecond + 250'000);
  BOOST_TEST(read("881250949.0") == 881'250'949 * kSecond);
  BOOST_TEST(read("1.73287757e+09") == kFriday * kSecond);
  BOOST_TEST(read("1732877570250.5") == kFriday * kSecond + 250'500);
  BOOST_TEST(read("-1.5") == -1'500'000);
  BOOST_TEST(read("+7") == 7 * kSecond);
  BOOST_TEST(read("0") == 0);
}

BOOST_AUTO_TEST_CASE(one_large_number_shows_the_unit_of_all_before_it) {
  TimeColumn column({});
  std::vector<std::int64_t> times;
  for (const char* text : {"0", "90000000000", "250", "1732877570000", "260"}) {  // milliseconds, the first near 1970
    std::int64_t time = 0;
    BOOST_REQUIRE(!column.read(text, time));
    column.rescale(times);
    times.push_back(time);
  }
  BOOST_TEST((times == std::vector<std::int64_t>{0, 90'000'000'000'000, 250'000, kFriday * kSecond, 260'000}));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_said_with_the_way_to_mend_it) {
  TimeColumn column({});
  check_says(refusal(column, ""), {"the time is empty"});
  check_says(refusal(column, "03/04/2024"),
             {"\"03/04/2024\" can be read in more than one way", "data.time_format = \"%d/%m/%Y\""});
  check_says(refusal(column, "29/11/2024 10:52"), {"data.time_format = \"%d/%m/%Y %H:%M\""});
  check_says(refusal(column, "11/29/2024 10:52:50"), {"data.time_format = \"%m/%d/%Y %H:%M:%S\""});
  check_says(refusal(column, "29.11.24"), {"data.time_format = \"%d.%m.%y\""});
  check_says(refusal(column, "soon"), {"\"soon\" is not a time", "2024-11-29T10:52:50Z", "data.time_format"});
  check_says(refusal(column, std::string(1'000'000, 'x')), {"xxx...\" is not a time"});
  BOOST_TEST(refusal(column, "2024-11-29").empty());
  check_says(refusal(column, "1732877570"), {"is a number, but the times before it are dates"});
  TimeColumn numbers({});
  BOOST_TEST(refusal(numbers, "1732877570").empty());
  check_says(refusal(numbers, "2024-11-29"), {"is a date, but the times before it are numbers"});
  TimeColumn declared("%d.%m.%Y");
  check_says(refusal(declared, "2024-11-29"), {"is not a time of the form \"%d.%m.%Y\"", "data.time_format"});
}
