#include "runtime/text/tokenizer.h"

#include <boost/test/unit_test.hpp>

#include "kernels/base/error.h"
#include "runtime/text/utf8.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

std::unique_ptr<Tokenizer> chars_of(std::string_view text, bool end_of_text = false) {
  return make_char_tokenizer(distinct_characters({&text, 1}), end_of_text);
}

}  // namespace

BOOST_AUTO_TEST_CASE(char_tokens_are_the_distinct_code_points_in_order) {
  const auto tokenizer = chars_of(
      "bé"
      "a\n€😀"
      "ab");
  BOOST_TEST(tokenizer->vocabulary_size() == 6);
  BOOST_TEST(!tokenizer->end_of_text().has_value());
  const std::vector<std::int32_t> expected{0, 1, 2, 3, 4, 5};
  BOOST_TEST(tokenizer->encode("\nabé€😀") == expected);
  BOOST_TEST(tokenizer->decode(expected) == "\nabé€😀");
  BOOST_TEST(tokenizer->bytes_of(0) == 1);
  BOOST_TEST(tokenizer->bytes_of(3) == 2);
  BOOST_TEST(tokenizer->bytes_of(4) == 3);
  BOOST_TEST(tokenizer->bytes_of(5) == 4);
}

BOOST_AUTO_TEST_CASE(end_of_text_is_the_last_id_and_stands_for_nothing) {
  const auto tokenizer = chars_of("ab", true);
  BOOST_TEST(tokenizer->vocabulary_size() == 3);
  BOOST_TEST(tokenizer->end_of_text().value() == 2);
  BOOST_TEST(tokenizer->bytes_of(2) == 0);
  BOOST_TEST(tokenizer->decode(std::vector<std::int32_t>{0, 2, 1}) == "ab");
  BOOST_TEST(make_byte_tokenizer()->end_of_text().value() == 256);
  BOOST_TEST(make_byte_tokenizer()->vocabulary_size() == 257);
}

BOOST_AUTO_TEST_CASE(unknown_character_names_itself_and_its_place) {
  const auto tokenizer = chars_of("abc\né");
  tests::check_throws<DataError>([&] { tokenizer->encode("ab\ncé€"); },
                                 {"\"€\"", "U+20AC", "byte 6", "line 2, column 3", "\"byte\""});
  tests::check_throws<DataError>([&] { tokenizer->encode("a\rb"); }, {"U+000D", "byte 1"});
  tests::check_throws<DataError>([&] { tokenizer->encode("a\xC3("); }, {"0xC3", "byte 1", "UTF-8"});
  tests::check_throws<DataError>([&] { tokenizer->bytes(5); }, {"no token 5", "0 to 4"});
  tests::check_throws<DataError>([&] { tokenizer->bytes(-1); }, {"no token -1"});
  tests::check_throws<DataError>([&] { make_byte_tokenizer()->bytes(257); }, {"no token 257"});
}

BOOST_AUTO_TEST_CASE(byte_tokens_are_the_bytes) {
  const auto tokenizer = make_byte_tokenizer();
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const auto ids = tokenizer->encode(all);
  for (int i = 0; i < 256; ++i) BOOST_TEST(ids[static_cast<std::size_t>(i)] == i);
  BOOST_TEST(tokenizer->decode(ids) == all);
}

BOOST_AUTO_TEST_CASE(json_brings_the_same_tokenizer_back) {
  for (const bool end_of_text : {false, true}) {
    const auto tokenizer = chars_of(std::string_view("x\0y\"\\é😀", 11), end_of_text);
    const auto copy = Tokenizer::from_json(nlohmann::json::parse(tokenizer->to_json().dump()));
    BOOST_TEST(copy->name() == "char");
    BOOST_TEST(copy->vocabulary_size() == tokenizer->vocabulary_size());
    BOOST_TEST((copy->end_of_text() == tokenizer->end_of_text()));
    BOOST_TEST(copy->to_json() == tokenizer->to_json());
  }
  BOOST_TEST(Tokenizer::from_json(make_byte_tokenizer()->to_json())->name() == "byte");
}

BOOST_AUTO_TEST_CASE(bad_json_is_refused) {
  const auto refuse = [](const char* text, const std::string& part) {
    tests::check_throws<DataError>([&] { Tokenizer::from_json(nlohmann::json::parse(text)); }, {part});
  };
  refuse("[]", "object");
  refuse("{}", "type");
  refuse(R"({"type": 3})", "type");
  refuse(R"({"type": "wordpiece"})", "wordpiece");
  refuse(R"({"type": "bpe", "end_of_text": false})", "merges");
  refuse(R"({"type": "bpe", "merges": ""})", "end_of_text");
  refuse(R"({"type": "bpe", "merges": "a b\nc", "end_of_text": false})", "tokenizer:2");
  refuse(R"({"type": "bpe", "merges": "", "tokens": "a\nb", "end_of_text": false})", "byte 0x00");
  refuse(R"({"type": "char"})", "end_of_text");
  refuse(R"({"type": "char", "end_of_text": false})", "characters");
  refuse(R"({"type": "char", "end_of_text": false, "characters": ""})", "without characters");
  refuse(R"({"type": "char", "end_of_text": false, "characters": "ba"})", "ascend");
  refuse(R"({"type": "char", "end_of_text": false, "characters": "aa"})", "ascend");
  refuse(R"({"type": "char", "end_of_text": 1, "characters": "ab"})", "end_of_text");
}

BOOST_AUTO_TEST_CASE(utf8_is_checked_strictly) {
  for (const std::string good : {"", "abcdefghij", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
                                 "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
    BOOST_TEST(find_invalid_utf8(good) == std::string::npos);
  for (const std::string bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC3(", "\xE2(\xAC"}) {
    BOOST_TEST(find_invalid_utf8(bad) == 0U);
    BOOST_TEST(find_invalid_utf8("eight ascii, then " + bad + " more and more") == 18U);
  }
  for (char32_t point = 0; point < 0x110000; ++point) {  // every character survives being written and read
    if (point >= 0xD800 && point < 0xE000) continue;
    std::string text;
    append_utf8(text, point);
    const Utf8Character read = decode_utf8(text.data(), text.data() + text.size());
    if (read.status != Utf8Status::kOk || read.point != point || read.length != utf8_length(point))
      BOOST_FAIL("character " << code_point_name(point));
  }
}

BOOST_AUTO_TEST_CASE(stream_decoder_gives_whole_characters_only) {
  const auto tokenizer = make_byte_tokenizer();
  const std::string text = "café €9 😀!";
  StreamDecoder decoder(*tokenizer);
  std::string out;
  for (const std::int32_t id : tokenizer->encode(text)) {
    const std::string piece = decoder.push(id);
    BOOST_TEST(find_invalid_utf8(piece) == std::string::npos);
    out += piece;
  }
  BOOST_TEST(out + decoder.finish() == text);

  StreamDecoder broken(*tokenizer);
  out.clear();
  for (const std::int32_t id : tokenizer->encode("a\xC3(\xFF"
                                                 "b\xE2\x82"))
    out += broken.push(id);
  out += broken.finish();
  BOOST_TEST(out ==
             "a\xEF\xBF\xBD(\xEF\xBF\xBD"
             "b\xEF\xBF\xBD");
  BOOST_TEST(broken.finish() == "");
}
