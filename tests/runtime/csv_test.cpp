#include "runtime/data/csv.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "kernels/base/error.h"
#include "runtime/data/reader.h"
#include "runtime/text/utf8.h"
#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::in_quotes;
using tests::TemporaryFolder;

namespace {

using Strings = std::vector<std::string>;

Strings fields_of(std::string_view record, std::string_view separator = ",") {
  Strings fields = {"left", "over"};
  parse_csv_record(record, separator, fields);
  return fields;
}

/// The texts of a file, read in pieces of `bytes`.
Strings texts_of(const std::filesystem::path& file, std::size_t bytes, const std::string& column = "text") {
  DocumentStream stream(file, {.format = TextFormat::kCsv, .text_key = column}, bytes, whole_characters);
  Strings out;
  for (TextPiece piece; stream.next(piece);) {
    stream.decode(piece);
    for (const TextPiece::Segment& segment : piece.segments) out.emplace_back(piece[segment]);
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_record_is_cut_into_its_fields) {
  BOOST_TEST((fields_of("a,b,c\n") == Strings{"a", "b", "c"}));
  BOOST_TEST((fields_of("a,,\r\n") == Strings{"a", "", ""}));
  BOOST_TEST((fields_of("") == Strings{""}));
  BOOST_TEST((fields_of(",") == Strings{"", ""}));
  BOOST_TEST((fields_of("\"a,b\",\"c\"\"d\",\"\",\"x\ny\"") == Strings{"a,b", "c\"d", "", "x\ny"}));
  BOOST_TEST((fields_of("6\" pan, 9\" pan") == Strings{"6\" pan", " 9\" pan"}));  // no quote at the beginning of a field
  BOOST_TEST((fields_of("a;b,c", ";") == Strings{"a", "b,c"}));
  BOOST_TEST((fields_of("\"Soft\" towel\tb", "\t") == Strings{"\"Soft\" towel", "b"}));
}

// Of several characters, as MovieLens' files have it: no quoting.
BOOST_AUTO_TEST_CASE(a_separator_may_have_several_characters) {
  BOOST_TEST((fields_of("1::Toy Story: \"2\"::A|B\r\n", "::") == Strings{"1", "Toy Story: \"2\"", "A|B"}));
  BOOST_TEST((fields_of("\"a::b\"::", "::") == Strings{"\"a", "b\"", ""}));
  BOOST_TEST((fields_of("::", "::") == Strings{"", ""}));
  BOOST_TEST((fields_of("a:::b", "::") == Strings{"a", ":b"}));
  BOOST_TEST(csv_record_length("a::\"b\nc", "::", false) == 6);
  BOOST_TEST(csv_record_length("a::b", "::", false) == std::string_view::npos);
  BOOST_TEST(csv_record_length("a::b", "::", true) == 4);
  BOOST_TEST(csv_field_offset("ab::cd::e", "::", 0) == 0);
  BOOST_TEST(csv_field_offset("ab::cd::e", "::", 1) == 4);
  BOOST_TEST(csv_field_offset("ab::cd::e", "::", 2) == 8);
  BOOST_TEST(csv_field_offset("ab::cd::e", "::", 3) == 9);
}

BOOST_AUTO_TEST_CASE(a_quote_out_of_place_is_refused_where_it_is) {
  const auto offset = [](std::string_view record) -> std::size_t {
    try {
      fields_of(record);
    } catch (const CsvError& error) {
      return error.offset;
    }
    return 1000;
  };
  BOOST_TEST(offset("ab,\"c") == 3);
  BOOST_TEST(offset("ab,\"c\"\"") == 3);
  BOOST_TEST(offset("\"a\"b,c") == 3);
  BOOST_TEST(offset("\"a\" ,c") == 3);
  BOOST_TEST(offset("\"a\",c") == 1000);
}

BOOST_AUTO_TEST_CASE(a_record_ends_at_a_line_break_outside_of_quotes) {
  BOOST_TEST(csv_record_length("a,b\nc", ",", false) == 4);
  BOOST_TEST(csv_record_length("a,\"b\n\"\"\n\"\nc", ",", false) == 10);
  BOOST_TEST(csv_record_length("a,\"b\nc", ",", false) == std::string_view::npos);
  BOOST_TEST(csv_record_length("a,\"b\nc", ",", true) == 6);
  BOOST_TEST(csv_record_length("a,\"b\"", ",", false) == std::string_view::npos);  // the next byte may be a quote
  BOOST_TEST(csv_record_length("a,\"b\"", ",", true) == 5);
  BOOST_TEST(csv_record_length("a\t\"b\nc", "\t", false) == 5);
  BOOST_TEST(csv_record_length("", ",", true) == 0);
}

BOOST_AUTO_TEST_CASE(the_header_tells_the_separator) {
  BOOST_TEST(csv_separator("id,title,price") == ",");
  BOOST_TEST(csv_separator("id;title;price, euros") == ";");
  BOOST_TEST(csv_separator("id\ttitle, and more") == "\t");
  BOOST_TEST(csv_separator("a|b|c") == "|");
  BOOST_TEST(csv_separator("\"a;b;c\",d") == ",");
  BOOST_TEST(csv_separator("title") == ",");
  BOOST_TEST(csv_separator("user::item::time") == "::");
  BOOST_TEST(csv_separator("user::item,time") == ",");
  BOOST_TEST(csv_separator("user:token\titem:token") == "\t");
  BOOST_TEST(csv_likely_separator("1::2::3") == "::");
  BOOST_TEST(csv_likely_separator("1::2::3|4", 2) == "|");
  BOOST_TEST(csv_likely_separator("1^2^3", 3) == "^");
  BOOST_TEST(csv_likely_separator("1 2 3", 3) == "");
}

BOOST_AUTO_TEST_CASE(records_come_back_whatever_the_pieces) {
  const TemporaryFolder folder;
  std::mt19937 random(7);
  const Strings parts = {"a", "bc", " ", ",", "\"", "\n", "\r\n", "é", "毛巾", "\"\"", ";", "\t"};
  for (int round = 0; round < 200; ++round) {
    const std::string end = round % 2 == 0 ? "\n" : "\r\n";
    std::string text = round % 3 == 0 ? "\xEF\xBB\xBF" : "";
    if (round % 5 == 0) text.append(end).append("  ").append(end);  // blank lines before the header
    text += "id,text,\"pri\nce\"" + end;
    Strings expected;
    for (unsigned i = 0, n = 1 + random() % 20; i < n; ++i) {
      std::string field;
      for (unsigned k = 0, m = random() % 6; k < m; ++k) field += parts[random() % parts.size()];
      if (!field.empty()) expected.push_back(field);  // an empty text is no document
      text += std::to_string(i) + "," + in_quotes(field) + ",9" + (random() % 8 == 0 ? end + end : end);
    }
    if (round % 7 == 0) text.resize(text.find_last_not_of("\r\n") + 1);  // no line break at the end
    const auto file = folder.write("x.csv", text);
    for (const std::size_t bytes : {1, 2, 7, 64, 100000}) BOOST_TEST((texts_of(file, bytes) == expected));
  }
}

BOOST_AUTO_TEST_CASE(columns_without_a_name_are_passed_over) {
  const TemporaryFolder folder;
  BOOST_TEST((texts_of(folder.write("x.csv", ",,text\n0,a,b\n"), 64) == Strings{"b"}));
}

BOOST_AUTO_TEST_CASE(reading_goes_on_behind_any_piece) {
  const TemporaryFolder folder;
  std::string text = "text,n\n";
  for (int i = 0; i < 50; ++i) text += "\"line\n" + std::to_string(i) + "\"," + std::to_string(i) + "\n";
  const auto file = folder.write("x.csv", text);
  const Strings all = texts_of(file, 40);
  BOOST_TEST(all.size() == 50);
  const ReadOptions options{.format = TextFormat::kCsv};
  DocumentStream stream(file, options, 40, whole_characters);
  std::size_t seen = 0;
  for (TextPiece piece; stream.next(piece);) {
    seen += piece.segments.size();
    DocumentStream again(file, options, 40, whole_characters);
    BOOST_REQUIRE(again.skip_to(stream.position()));
    std::size_t rest = 0;
    for (TextPiece next; again.next(next);) rest += next.segments.size();
    BOOST_TEST(seen + rest == 50);
  }
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named_with_file_line_and_remedy) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& text, Strings parts, const std::string& column = "text") {
    const auto file = folder.write("x.csv", text);
    parts[0] = file.string() + parts[0];
    check_throws<DataError>([&] { texts_of(file, 64, column); }, parts);
  };
  refuse("", {" is empty"});
  refuse("\n \n", {" holds only blank lines"});
  refuse("id,title\n1,a\n", {":1: no column \"text\"", "id, title", "data.text_key", "data.format = \"text\""});
  refuse("id,title\n1,a\n", {":1: no column \"titel\"", "did you mean \"title\"?"}, "titel");
  refuse("text,a,text\n", {":1: two columns are named \"text\""});
  refuse("\"text,a\n1,2\n", {":1:1: in the header, the quote"});
  refuse("text,n\na,1\nb\n", {":3: 1 field, where the header names 2 (separated by \",\")", "in quotes"});
  refuse("text,n\na,1\n\nb,2,3\n", {":4: 3 fields, where the header names 2"});
  refuse("text\tn\na\tb\tc\n", {":2: 3 fields", "separated by a tab", "as a space"});
  refuse("text,n\n\"a\nb\",1\nc,\"d\n", {":4:3: the quote that opens here is not closed"});
  refuse("text,n\n\"a\nb\"c,1\n", {":3:3: \",\" is expected behind the closing quote", "doubled"});
  refuse("text,n\na\xE9,1\n", {":2:2: byte 0xE9", "not valid UTF-8"});
  refuse("text,n\n" + std::string(1'000'000, 'x') + "\n", {":2: 1 field"});
  const auto file = folder.write("long.csv", "text,n\n" + std::string(1'000'000, 'x') + ",1\n");
  BOOST_TEST((texts_of(file, 64) == Strings{std::string(1'000'000, 'x')}));
}
