#include "runtime/core/terminal.h"

#include <boost/test/unit_test.hpp>

namespace tradewind::runtime {
namespace {

BOOST_AUTO_TEST_CASE(a_short_line_stays_as_it_is) {
  BOOST_TEST(wrap_lines("training loss     4.2", 80) == "training loss     4.2");
  BOOST_TEST(wrap_lines("", 80) == "");
  BOOST_TEST(wrap_lines("a\n\n  b\n", 80) == "a\n\n  b\n");
  BOOST_TEST(wrap_lines("12345 789", 9) == "12345 789");
}

BOOST_AUTO_TEST_CASE(a_long_line_is_broken_at_spaces_and_indented_by_two_more_than_its_own) {
  BOOST_TEST(wrap_lines("12345 789", 8) == "12345\n  789");
  BOOST_TEST(wrap_lines("one two three four", 9) == "one two\n  three\n  four");
  BOOST_TEST(wrap_lines("  one two three", 9) == "  one two\n    three");
  BOOST_TEST(wrap_lines("good     one two", 12) == "good     one\n  two");
  BOOST_TEST(wrap_lines("one two\nthree four", 7) == "one two\nthree\n  four");
}

BOOST_AUTO_TEST_CASE(a_word_longer_than_a_line_stays_whole) {
  BOOST_TEST(wrap_lines("cannot open /a/very/long/path: gone", 12) == "cannot open\n  /a/very/long/path:\n  gone");
  BOOST_TEST(wrap_lines("/a/very/long/path", 5) == "/a/very/long/path");
}

BOOST_AUTO_TEST_CASE(wide_characters_count_two_and_malformed_bytes_one) {
  BOOST_TEST(wrap_lines("毛巾 柔软", 9) == "毛巾 柔软");
  BOOST_TEST(wrap_lines("毛巾 柔软", 8) == "毛巾\n  柔软");
  BOOST_TEST(wrap_lines("é é", 3) == "é é");
  BOOST_TEST(wrap_lines("\xff\xfe ab", 5) == "\xff\xfe ab");
}

BOOST_AUTO_TEST_CASE(the_words_of_a_text_fill_lines_behind_an_indent) {
  BOOST_TEST(wrap_text("", "# ") == "");
  BOOST_TEST(wrap_text(" \n ", "# ") == "");
  BOOST_TEST(wrap_text(" a \n b  c ", "# ") == "# a b c\n");
  const std::string word(38, 'w');
  BOOST_TEST(wrap_text(word + " " + word + "  x", "") == word + " " + word + " x\n");
  BOOST_TEST(wrap_text(word + " " + word + "  x", "  ") == "  " + word + " " + word + "\n  x\n");
}

}  // namespace
}  // namespace tradewind::runtime
