// Vocabularies against those of Hugging Face's trainer and of one that counts everything anew for each merge.
#include "runtime/text/bpe_trainer.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>

#include "kernels/base/error.h"
#include "runtime/data/product_copy.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/command.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;

namespace {

using Ids = std::vector<std::int32_t>;

nlohmann::json golden(const std::string& name) {
  std::ifstream stream(std::string(TRADEWIND_SOURCE_DIR) + "/tests/golden/tokenizers/" + name);
  return nlohmann::json::parse(stream);
}

WordCounts words_of(const std::string& text) {
  WordCounts words;
  words.add(text);
  return words;
}

/// "a b" a line, in the characters that stand for bytes.
std::string merges_of(const BpeVocabulary& vocabulary) { return to_json(vocabulary)["merges"]; }

/// The definition: count all pairs, take the most frequent one with the smallest ids, merge it everywhere.
BpeVocabulary train_naively(const std::string& text, std::int64_t size) {
  BpeVocabulary out = BpeVocabulary::of_bytes();
  std::vector<Ids> words;
  for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
    length = word_length(text.data() + at, text.data() + text.size());
    words.emplace_back();
    for (const char c : text.substr(at, length)) words.back().push_back(*out.find(std::string(1, c)));
  }
  while (out.size() < size) {
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> counts;
    for (const Ids& word : words)
      for (std::size_t i = 1; i < word.size(); ++i) ++counts[{word[i - 1], word[i]}];
    auto best = counts.begin();
    for (auto it = counts.begin(); it != counts.end(); ++it)
      if (it->second > best->second) best = it;
    if (best == counts.end()) break;
    const auto [left, right] = best->first;
    const std::int32_t result = out.merge(left, right);
    for (Ids& word : words) {
      Ids next;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool here = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
        next.push_back(here ? result : word[i]);
        i += here ? 1 : 0;
      }
      word = std::move(next);
    }
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(tinyshakespeare_gives_hugging_faces_vocabulary_and_tokens) {
  const char* shared = std::getenv("TRADEWIND_SHARED");
  const std::filesystem::path file =
      std::filesystem::path(shared != nullptr ? shared : "") / "data/language/tinyshakespeare.txt";
  if (shared == nullptr || !std::filesystem::exists(file)) {
    std::cout << "SKIPPED runtime/bpe_trainer_test: TRADEWIND_SHARED does not say where data/language/tinyshakespeare.txt is\n";
    return;
  }
  const std::string text = tests::text_of(file);
  const BpeVocabulary vocabulary = train_bpe(words_of(text), 1000, false);
  const nlohmann::json expected = golden("bpe-trained.json");
  std::string merges;
  for (const auto& merge : expected["merges"]) {
    if (!merges.empty()) merges += '\n';
    merges += merge[0].get<std::string>() + ' ' + merge[1].get<std::string>();
  }
  BOOST_TEST(merges_of(vocabulary) == merges);
  BOOST_TEST(!to_json(vocabulary).contains("tokens"));  // so the ids are: bytes, then merges in turn
  BOOST_TEST(vocabulary.size() == 1000);
  const auto tokenizer = make_bpe_tokenizer(vocabulary);
  BOOST_TEST(tokenizer->encode(text).size() == expected["tokens_in_training_text"].get<std::size_t>());
  for (const auto& c : expected["cases"])
    BOOST_TEST(tokenizer->encode(c["text"].get<std::string>()) == c["ids"].get<Ids>(), c["text"]);
}

BOOST_AUTO_TEST_CASE(product_copy_gives_hugging_faces_vocabulary_and_tokens) {
  const nlohmann::json expected = golden("bpe-product-copy.json");
  const std::string text = product_copy(1, 400);
  const BpeVocabulary vocabulary = train_bpe(words_of(text), 600, false);
  std::string merges;
  for (const auto& merge : expected["merges"]) {
    if (!merges.empty()) merges += '\n';
    merges += merge.get<std::string>();
  }
  BOOST_TEST(merges_of(vocabulary) == merges);
  BOOST_TEST(vocabulary.size() == expected["vocab_size"].get<std::int64_t>());
  const Ids ids = make_bpe_tokenizer(vocabulary)->encode(text);
  BOOST_TEST(ids.size() == expected["tokens_in_training_text"].get<std::size_t>());
  BOOST_TEST(Ids(ids.begin(), ids.begin() + 200) == expected["first_ids"].get<Ids>());
}

BOOST_AUTO_TEST_CASE(merges_are_those_of_counting_anew_each_time) {
  std::mt19937 random(17);
  for (int round = 0; round < 60; ++round) {
    // Few letters, so that ties and overlapping pairs (aaa, abab) are everywhere.
    const unsigned letters = 1 + random() % 4;
    std::string text;
    for (int i = 0; i < 300; ++i) text += random() % 6 == 0 ? ' ' : static_cast<char>('a' + random() % letters);
    if (round % 3 == 0) text += "中文 中 文文 é";
    const BpeVocabulary ours = train_bpe(words_of(text), 256 + 60, false), naive = train_naively(text, 256 + 60);
    BOOST_REQUIRE_EQUAL(merges_of(ours), merges_of(naive));
    BOOST_REQUIRE(ours.tokens() == naive.tokens());
  }
}

BOOST_AUTO_TEST_CASE(counts_add_up_in_any_order) {
  const std::string text = product_copy(3, 60);
  const std::size_t middle = last_word_boundary(std::string_view(text).substr(0, text.size() / 2));
  WordCounts forwards = words_of(text.substr(0, middle)), backwards = words_of(text.substr(middle));
  forwards.add(words_of(text.substr(middle)));
  backwards.add(words_of(text.substr(0, middle)));
  const std::string whole = merges_of(train_bpe(words_of(text), 400, true));
  BOOST_TEST(merges_of(train_bpe(forwards, 400, true)) == whole);
  BOOST_TEST(merges_of(train_bpe(backwards, 400, true)) == whole);
}

BOOST_AUTO_TEST_CASE(end_of_text_is_the_last_token_and_no_word) {
  const BpeVocabulary vocabulary = train_bpe(words_of("ab<|endoftext|>ab ab"), 300, true);
  BOOST_TEST(merges_of(vocabulary) == "a b\n\u0120 ab");  // and no more: fewer tokens than asked for
  BOOST_TEST(vocabulary.size() == 256 + 2 + 1);
  BOOST_TEST(vocabulary.end_of_text().value() == 258);
  check_throws<ConfigError>([&] { train_bpe(words_of("ab"), 256, true); }, {"256 tokens", "end-of-text"});
  BOOST_TEST(train_bpe(words_of("ab"), 256, false).merges().empty());
}

BOOST_AUTO_TEST_CASE(too_many_distinct_words_are_left_out_and_told) {
  WordCounts words(10);
  words.add("abc def ghij abc klm");  // "abc", " def"; " ghij" has no room, " abc" neither
  BOOST_TEST(words.size() == 2U);
  BOOST_TEST(words.left_out() == 3);
  words.add("abc");
  BOOST_TEST(words.count(0) == 2);
}
