// Byte-level BPE against Hugging Face's tokenizers (tests/golden/tokenizers) and against code that does the same slowly.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>

#include <unicode/uregex.h>

#include "kernels/base/error.h"
#include "runtime/text/bpe_vocabulary.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::TemporaryFolder;

namespace {

using Ids = std::vector<std::int32_t>;

nlohmann::json golden(const std::string& name) {
  std::ifstream stream(std::string(TRADEWIND_SOURCE_DIR) + "/tests/golden/tokenizers/" + name);
  return nlohmann::json::parse(stream);
}

/// The vocabulary of bpe-trained.json in the files that GPT-2's comes in.
void write_vocabulary(const TemporaryFolder& folder, const nlohmann::json& trained, bool end_of_text = false) {
  nlohmann::json ids = nlohmann::json::object();
  for (const auto& token : trained["vocab"]) ids[token.get<std::string>()] = ids.size();
  if (end_of_text) ids["<|endoftext|>"] = ids.size();
  std::string merges = "#version: 0.2\n";
  for (const auto& merge : trained["merges"]) merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  folder.write("vocab.json", ids.dump());
  folder.write("merges.txt", merges);
}

std::string shown(const Tokenizer& tokenizer, const Ids& ids) {
  StreamDecoder decoder(tokenizer);
  std::string out;
  for (const std::int32_t id : ids)
    out += id == tokenizer.end_of_text() ? std::string(tokenizer.end_of_text_name()) : decoder.push(id);
  return out + decoder.finish();
}

/// Texts of what is easily mistaken: kinds of spaces, apostrophes, letters and digits of several scripts, marks, no UTF-8.
std::string awkward_text(std::mt19937& random, int characters) {
  static const std::vector<std::string> kParts = {" ",
                                                  " ",
                                                  " ",
                                                  "\n",
                                                  "\t",
                                                  "\r\n",
                                                  "\v",
                                                  "\u0085",
                                                  "\u00A0",
                                                  "\u2003",
                                                  "\u3000",
                                                  "\u2028",
                                                  "\u200B",
                                                  "\uFEFF",
                                                  "'",
                                                  "'s",
                                                  "'re",
                                                  "'ll",
                                                  "'l",
                                                  "'ve",
                                                  "'D",
                                                  "a",
                                                  "bc",
                                                  "the",
                                                  "Z",
                                                  "é",
                                                  "ß",
                                                  "ǅ",
                                                  "ʰ",
                                                  "中",
                                                  "文",
                                                  "ก",
                                                  "1",
                                                  "23",
                                                  "٣",
                                                  "Ⅷ",
                                                  "½",
                                                  "²",
                                                  "!",
                                                  "?!",
                                                  "-",
                                                  "_",
                                                  "😀",
                                                  "👍🏽",
                                                  "e\u0301",
                                                  "\u0300",
                                                  "<|endoftext|>",
                                                  "<|",
                                                  "$",
                                                  "€",
                                                  std::string(1, '\0')};
  std::string out;
  for (int i = 0; i < characters; ++i) out += kParts[random() % kParts.size()];
  return out;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size(); at += out.back().size())
    out.push_back(text.substr(at, word_length(text.data() + at, text.data() + text.size())));
  return out;
}

/// As the definition says: of all pairs in the word the one whose merge comes first, wherever it stands.
Ids merge_naively(const BpeVocabulary& vocabulary, const std::string& word) {
  Ids ids;
  for (const char c : word) ids.push_back(*vocabulary.find(std::string(1, c)));
  for (;;) {
    for (const auto& merge : vocabulary.merges()) {
      bool found = false;
      Ids next;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const bool here = i + 1 < ids.size() && ids[i] == merge.left && ids[i + 1] == merge.right;
        next.push_back(here ? merge.result : ids[i]);
        i += here ? 1 : 0;
        found = found || here;
      }
      ids = std::move(next);
      if (found) goto again;
    }
    return ids;
  again:;
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(gpt2_has_hugging_faces_tokens_and_texts) {
  const char* shared = std::getenv("TRADEWIND_SHARED");
  const std::filesystem::path folder = std::filesystem::path(shared != nullptr ? shared : "") / "data/tokenizers/gpt2";
  if (shared == nullptr || !std::filesystem::exists(folder)) {
    std::cout << "SKIPPED runtime/bpe_test: TRADEWIND_SHARED does not say where data/tokenizers/gpt2 is\n";
    return;
  }
  const auto tokenizer = make_bpe_tokenizer(read_bpe_vocabulary(folder, "data.vocabulary"));
  BOOST_TEST(tokenizer->vocabulary_size() == 50257);
  BOOST_TEST(tokenizer->end_of_text().value() == 50256);
  const nlohmann::json expected = golden("gpt2.json");
  const auto encoder = tokenizer->encoder();  // one for all: what it remembers must not matter
  BOOST_TEST(expected["cases"].size() == 171U);
  for (const auto& c : expected["cases"]) BOOST_TEST_CONTEXT(c["text"]) {
      Ids ids;
      encoder->append(c["text"].get<std::string>(), ids);
      BOOST_TEST(ids == c["ids"].get<Ids>());
      BOOST_TEST(shown(*tokenizer, ids) == c["decoded"].get<std::string>());
    }
  for (const auto& c : expected["decode_of_prefixes"])
    BOOST_TEST(shown(*tokenizer, c["ids"].get<Ids>()) == c["decoded"].get<std::string>());
  const nlohmann::json json = tokenizer->to_json();
  BOOST_TEST(!json.contains("tokens"));
  BOOST_TEST(json.dump().size() < 550000U);
  BOOST_TEST(Tokenizer::from_json(json)->encode("Tradewind's 3 résumés") == tokenizer->encode("Tradewind's 3 résumés"));
}

BOOST_AUTO_TEST_CASE(a_vocabulary_in_files_has_hugging_faces_tokens) {
  const TemporaryFolder folder;
  const nlohmann::json trained = golden("bpe-trained.json");
  write_vocabulary(folder, trained);
  const auto tokenizer = make_bpe_tokenizer(read_bpe_vocabulary(folder.path(), "data.vocabulary"));
  BOOST_TEST(tokenizer->name() == "bpe");
  BOOST_TEST(tokenizer->vocabulary_size() == 1000);
  BOOST_TEST(!tokenizer->end_of_text().has_value());
  const auto copy = Tokenizer::from_json(nlohmann::json::parse(tokenizer->to_json().dump()));
  BOOST_TEST(copy->to_json() == tokenizer->to_json());
  const auto encoder = tokenizer->encoder();
  BOOST_TEST(trained["cases"].size() > 200U);
  for (const auto& c : trained["cases"]) BOOST_TEST_CONTEXT(c["text"]) {
      const auto text = c["text"].get<std::string>();
      Ids ids;
      encoder->append(text, ids);
      BOOST_TEST(ids == c["ids"].get<Ids>());
      BOOST_TEST(copy->encode(text) == ids);
      BOOST_TEST(tokenizer->decode(ids) == text);
    }
}

BOOST_AUTO_TEST_CASE(end_of_text_is_a_token_where_the_text_names_it) {
  const TemporaryFolder folder;
  write_vocabulary(folder, golden("bpe-trained.json"), true);
  const auto tokenizer = make_bpe_tokenizer(read_bpe_vocabulary(folder.path(), "data.vocabulary"));
  BOOST_TEST(tokenizer->vocabulary_size() == 1001);
  const Ids ids = tokenizer->encode("a  <|endoftext|> b<|endoftext");
  BOOST_TEST(std::count(ids.begin(), ids.end(), 1000) == 1);
  BOOST_TEST(tokenizer->decode(ids) == "a   b<|endoftext");
  BOOST_TEST(tokenizer->decode(ids, true) == "a  <|endoftext|> b<|endoftext");
  BOOST_TEST(tokenizer->bytes_of(1000) == 0);
  BOOST_TEST(Tokenizer::from_json(tokenizer->to_json())->encode("a  <|endoftext|> b<|endoftext") == ids);
}

BOOST_AUTO_TEST_CASE(words_are_those_of_gpt2s_pattern) {
  // ICU's \s is narrower than Unicode's White_Space, which GPT-2's engine means.
  const std::string pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";
  UErrorCode status = U_ZERO_ERROR;
  UParseError where;
  const std::unique_ptr<URegularExpression, decltype(&uregex_close)> regex(uregex_openC(pattern.c_str(), 0, &where, &status),
                                                                           uregex_close);
  BOOST_REQUIRE(U_SUCCESS(status));
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = awkward_text(random, 1 + static_cast<int>(random() % 30));
    std::u16string wide;
    for (const char *at = text.data(), *end = at + text.size(); at < end;) {
      const Utf8Character c = decode_utf8(at, end);
      if (c.point >= 0x10000) wide += static_cast<char16_t>(0xD7C0 + (c.point >> 10));
      wide += static_cast<char16_t>(c.point >= 0x10000 ? 0xDC00 + (c.point & 0x3FF) : c.point);
      at += c.length;
    }
    std::vector<std::string> expected;
    uregex_setText(regex.get(), wide.data(), static_cast<std::int32_t>(wide.size()), &status);
    while (uregex_findNext(regex.get(), &status) != 0) {
      std::string word;
      for (std::int32_t i = uregex_start(regex.get(), 0, &status); i < uregex_end(regex.get(), 0, &status); ++i) {
        char32_t point = wide[static_cast<std::size_t>(i)];
        if ((point & 0xFC00) == 0xD800)
          point = ((point & 0x3FF) << 10) + 0x10000 + (wide[static_cast<std::size_t>(++i)] & 0x3FF);
        append_utf8(word, point);
      }
      expected.push_back(word);
    }
    BOOST_REQUIRE(U_SUCCESS(status));
    BOOST_REQUIRE_MESSAGE(words_of(text) == expected, "other words than the pattern's in: " << nlohmann::json(text).dump());
  }
}

BOOST_AUTO_TEST_CASE(short_and_long_words_are_merged_as_the_definition_says) {
  const TemporaryFolder folder;
  write_vocabulary(folder, golden("bpe-trained.json"));
  const BpeVocabulary vocabulary = read_bpe_vocabulary(folder.path(), "data.vocabulary");
  const auto tokenizer = make_bpe_tokenizer(vocabulary);
  std::mt19937 random(3);
  for (const int letters : {1, 3, 14, 15, 16, 17, 60, 127, 128, 129, 130, 400}) {
    for (int round = 0; round < 10; ++round) {
      std::string word;
      for (int i = 0; i < letters; ++i) word += "theandiraaoue"[random() % 13];
      BOOST_TEST(tokenizer->encode(word) == merge_naively(vocabulary, word));
    }
    BOOST_TEST(tokenizer->encode(std::string(static_cast<std::size_t>(letters), 'l')) ==
               merge_naively(vocabulary, std::string(static_cast<std::size_t>(letters), 'l')));
  }
  const std::string endless(1 << 20, 'l');  // in time only if it is not quadratic
  BOOST_TEST(tokenizer->decode(tokenizer->encode(endless)) == endless);
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_text_survive) {
  const auto tokenizer = make_bpe_tokenizer(BpeVocabulary::of_bytes());
  std::string all;
  for (int i = 0; i < 512; ++i) all += static_cast<char>(i * 37);
  BOOST_TEST(tokenizer->decode(tokenizer->encode(all)) == all);
  BOOST_TEST(tokenizer->vocabulary_size() == 256);
  check_throws<DataError>([&] { tokenizer->bytes(256); }, {"no token 256"});
}

BOOST_AUTO_TEST_CASE(an_encoder_gives_the_same_whatever_it_has_seen) {
  const TemporaryFolder folder;
  write_vocabulary(folder, golden("bpe-trained.json"), true);
  const auto tokenizer = make_bpe_tokenizer(read_bpe_vocabulary(folder.path(), "data.vocabulary"));
  const auto encoder = tokenizer->encoder();
  std::mt19937 random(11);
  Ids filler;
  for (int i = 0; i < 300000; ++i) {  // more words than it remembers at a time
    filler.clear();
    encoder->append(" w" + std::to_string(random()), filler);
  }
  for (int round = 0; round < 300; ++round) {
    const std::string text = awkward_text(random, 40);
    Ids ids;
    encoder->append(text, ids);
    BOOST_TEST(ids == tokenizer->encode(text));
  }
}

BOOST_AUTO_TEST_CASE(a_text_that_is_cut_where_it_may_be_has_the_tokens_of_the_whole) {
  const TemporaryFolder folder;
  write_vocabulary(folder, golden("bpe-trained.json"), true);
  const auto bpe = make_bpe_tokenizer(read_bpe_vocabulary(folder.path(), "data.vocabulary"));
  const auto byte = make_byte_tokenizer();
  std::mt19937 random(5);
  int cuts = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = awkward_text(random, 30);
    const std::size_t known = random() % (text.size() + 1);  // the rest has not been read yet
    for (const Tokenizer* tokenizer : {bpe.get(), byte.get()}) {
      const std::size_t at = tokenizer->cut(std::string_view(text).substr(0, known));
      BOOST_REQUIRE(at <= known);
      Ids parts = tokenizer->encode(text.substr(0, at));
      const Ids rest = tokenizer->encode(text.substr(at));
      parts.insert(parts.end(), rest.begin(), rest.end());
      BOOST_REQUIRE(parts == tokenizer->encode(text));
      BOOST_REQUIRE(find_invalid_utf8(text.substr(0, at)) == std::string::npos);
      cuts += tokenizer == bpe.get() && at > 0 ? 1 : 0;
    }
  }
  BOOST_TEST(cuts > 2000);
  BOOST_TEST(bpe->cut("no blank") == 2U);
  BOOST_TEST(bpe->cut("noblank") == 0U);
  BOOST_TEST(bpe->cut("noblank ") == 7U);
  BOOST_TEST(byte->cut("a\xE4\xB8") == 1U);
}

BOOST_AUTO_TEST_CASE(ids_in_another_order_survive_json) {
  const TemporaryFolder folder;
  const nlohmann::json trained = golden("bpe-trained.json");
  write_vocabulary(folder, trained, true);
  nlohmann::json ids = nlohmann::json::object();
  for (const auto& token : trained["vocab"]) ids[token.get<std::string>()] = 1000 - static_cast<int>(ids.size());
  ids["<|endoftext|>"] = 0;
  folder.write("vocab.json", ids.dump());
  const auto tokenizer = make_bpe_tokenizer(read_bpe_vocabulary(folder.path(), "data.vocabulary"));
  const auto copy = Tokenizer::from_json(nlohmann::json::parse(tokenizer->to_json().dump()));
  BOOST_TEST(copy->to_json() == tokenizer->to_json());
  BOOST_TEST(copy->end_of_text().value() == 0);
  Ids expected = trained["cases"][60]["ids"].get<Ids>();
  for (auto& id : expected) id = 1000 - id;
  BOOST_TEST(copy->encode(trained["cases"][60]["text"].get<std::string>()) == expected);
}

BOOST_AUTO_TEST_CASE(a_vocabulary_that_is_none_is_refused) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& file, const std::string& contents, const std::vector<std::string>& parts) {
    write_vocabulary(folder, golden("bpe-trained.json"));
    folder.write(file, contents);
    check_throws<DataError>([&] { read_bpe_vocabulary(folder.path(), "data.vocabulary"); }, parts);
  };
  refuse("vocab.json", "{", {"vocab.json", "parse error", "Fetch"});
  refuse("vocab.json", "[]", {"vocab.json", "object"});
  refuse("vocab.json", R"({"a": 0, "b": 0})", {"vocab.json", "\"b\" has the id 0"});
  refuse("vocab.json", R"({"a": 0, "b": 2})", {"vocab.json", "\"b\" has the id 2", "0 to 1"});
  refuse("vocab.json", R"({"a": "x"})", {"vocab.json", "\"a\" has the id \"x\""});
  refuse("vocab.json", R"({"a": 0, "b": 1})", {"byte 0x00", "no token"});
  refuse("merges.txt", "#version\nh e\nh e x\n", {"merges.txt:3", "two tokens"});
  refuse("merges.txt", "he\n", {"merges.txt:1", "two tokens"});
  refuse("merges.txt", "h e\nx y\n", {"merges.txt:2", "\"x y\"", "what it makes"});
  refuse("merges.txt", "h qqq\n", {"merges.txt:1", "\"qqq\" is no token"});
  std::filesystem::remove(folder.path() / "merges.txt");
  check_throws<ConfigError>([&] { read_bpe_vocabulary(folder.path(), "data.vocabulary"); },
                            {"data.vocabulary", folder.path().string(), "merges.txt", "encoder.json"});
}
