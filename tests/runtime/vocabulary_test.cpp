#include "runtime/data/vocabulary.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>
#include <random>

#include "kernels/base/error.h"
#include "runtime/data/name_runs.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;

namespace {

using Strings = std::vector<std::string>;

Strings names_of(const Vocabulary& vocabulary) {
  Strings out;
  for (std::int32_t i = 0; i < vocabulary.size(); ++i) out.emplace_back(vocabulary.name(i));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(names_get_numbers_in_the_order_they_come_and_keep_them) {
  Vocabulary v;
  BOOST_TEST(v.find("a") == -1);
  BOOST_TEST(v.add("b") == 0);
  BOOST_TEST(v.add("a", 5) == 1);
  BOOST_TEST(v.add("b", 2) == 0);
  BOOST_TEST(v.add("") == 2);
  BOOST_TEST(v.add(std::string("a\0", 2)) == 3);
  BOOST_TEST((names_of(v) == Strings{"b", "a", "", std::string("a\0", 2)}));
  BOOST_TEST(v.count(0) == 3);
  BOOST_TEST(v.count(1) == 5);
  BOOST_TEST(v.find(std::string("a\0", 2)) == 3);
  BOOST_TEST(v.find("c") == -1);
}

BOOST_AUTO_TEST_CASE(a_hundred_thousand_names_are_found_as_a_map_finds_them) {
  std::mt19937 random(3);
  Vocabulary v;
  std::map<std::string, std::pair<std::int32_t, std::int64_t>> oracle;
  for (int i = 0; i < 200'000; ++i) {
    const std::string name = "sku-" + std::to_string(random() % 100'000);
    const auto [at, fresh] = oracle.try_emplace(name, static_cast<std::int32_t>(oracle.size()), 0);
    ++at->second.second;
    BOOST_REQUIRE(v.add(name) == at->second.first);
  }
  BOOST_TEST(v.size() == static_cast<std::int32_t>(oracle.size()));
  for (const auto& [name, known] : oracle) {
    BOOST_REQUIRE(v.find(name) == known.first);
    BOOST_REQUIRE(v.name(known.first) == name);
    BOOST_REQUIRE(v.count(known.first) == known.second);
    BOOST_REQUIRE(v.find(name + "x") == -1);
  }
}

BOOST_AUTO_TEST_CASE(the_most_frequent_come_first_then_by_bytes) {
  Vocabulary names;
  for (const char* name : {"z", "\xC3\xA9", "a", "B", "none"}) names.add(name);
  const Vocabulary v = Vocabulary::by_count(names, std::vector<std::int64_t>{2, 2, 2, 7, 0});
  BOOST_TEST((names_of(v) == Strings{"B", "a", "z", "\xC3\xA9"}));
  BOOST_TEST(v.count(0) == 7);
  BOOST_TEST(v.count(3) == 2);
}

BOOST_AUTO_TEST_CASE(bytes_bring_it_back_and_its_checksum_tells_it_apart) {
  Vocabulary v;
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    std::string name;
    for (unsigned k = 0, n = random() % 12; k < n; ++k) name += static_cast<char>(random() % 256);
    v.add(name, static_cast<std::int64_t>(random() % 9));
  }
  const Vocabulary again = Vocabulary::parse(v.serialised(), "v");
  BOOST_TEST((names_of(again) == names_of(v)));
  for (std::int32_t i = 0; i < v.size(); ++i) BOOST_REQUIRE(again.count(i) == v.count(i));
  BOOST_TEST(again.checksum() == v.checksum());
  BOOST_TEST(Vocabulary::parse(Vocabulary().serialised(), "v").size() == 0);
  Vocabulary other = again;
  other.add(again.name(0), 1);
  BOOST_TEST(other.checksum() != v.checksum());
}

BOOST_AUTO_TEST_CASE(bytes_that_are_cut_or_altered_are_refused_with_their_source) {
  Vocabulary v;
  for (const char* name : {"towel", "soap", "lamp"}) v.add(name, 2);
  const std::string bytes = v.serialised();
  for (std::size_t length = 0; length < bytes.size(); ++length)
    check_throws<DataError>([&] { Vocabulary::parse(bytes.substr(0, length), "run/items.bin"); }, {"run/items.bin: "});
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string altered = bytes;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    check_throws<DataError>([&] { Vocabulary::parse(altered, "run/items.bin"); }, {"run/items.bin: "});
  }
  check_throws<DataError>([&] { Vocabulary::parse(bytes + "x", "run/items.bin"); }, {"altered"});
}

BOOST_AUTO_TEST_CASE(names_without_a_row_of_their_own_share_buckets) {
  Vocabulary all;
  for (const auto& [name, count] : {std::pair{"soap", 5}, {"lamp", 3}, {"rug", 1}, {"mug", 2}}) all.add(name, count);
  const std::vector<std::int64_t> own = {5, 3, 0, 0};
  Vocabulary v = Vocabulary::by_count(all, own, 3);
  BOOST_TEST(v.size() == 5);
  BOOST_TEST(v.buckets() == 3);
  BOOST_TEST((names_of(v) == Strings{"<unknown 0>", "<unknown 1>", "<unknown 2>", "soap", "lamp"}));
  BOOST_TEST(v.find("soap") == 3);
  BOOST_TEST(v.row_of("lamp") == 4);
  BOOST_TEST(v.find("rug") == -1);
  BOOST_TEST(v.find("<unknown 1>") == -1);  // a name like any other
  BOOST_TEST(v.is_bucket(v.row_of("<unknown 1>")));
  BOOST_TEST(v.is_bucket(2));
  BOOST_TEST(!v.is_bucket(3));
  BOOST_TEST((v.candidates() == std::vector<std::uint8_t>{0, 0, 0, 1, 1}));
  v.count_unknown("rug", 1);
  v.count_unknown("mug", 2);
  BOOST_TEST(v.count(0) + v.count(1) + v.count(2) == 3);
  std::vector<int> met(3, 0);
  for (int i = 0; i < 3000; ++i) ++met[static_cast<std::size_t>(v.row_of("new-" + std::to_string(i)))];
  for (const int count : met) BOOST_TEST(std::abs(count - 1000) < 130);  // five deviations
  const std::string bytes = v.serialised();
  BOOST_TEST(bytes.starts_with("TWVOCAB2"));
  const Vocabulary again = Vocabulary::parse(bytes, "a test");
  BOOST_TEST(again.serialised() == bytes);
  BOOST_TEST(again.checksum() == v.checksum());
  BOOST_TEST((names_of(again) == names_of(v)));
  BOOST_TEST(again.row_of("rug") == v.row_of("rug"));
  BOOST_TEST(again.find("<unknown 1>") == -1);
  BOOST_TEST(again.count(again.row_of("mug")) == v.count(v.row_of("mug")));
  for (std::size_t n = 0; n < bytes.size(); ++n)
    check_throws<DataError>([&] { Vocabulary::parse(std::string_view(bytes).substr(0, n), "a test"); }, {"a test"});
  // As before there were buckets.
  BOOST_TEST(Vocabulary::by_count(all, own).serialised().starts_with("TWVOCAB1"));
  BOOST_TEST(Vocabulary::by_count(all, own).candidates().empty());
  BOOST_TEST(Vocabulary::by_count(all, own).row_of("rug") == -1);
}

namespace {

/// `text` at a multiple of 8.
std::vector<std::uint64_t> in_words(const std::string& text) {
  std::vector<std::uint64_t> out((text.size() + 7) / 8);
  std::ranges::copy(text, reinterpret_cast<char*>(out.data()));
  return out;
}

std::string_view bytes_in(const std::vector<std::uint64_t>& words, std::size_t bytes) {
  return {reinterpret_cast<const char*>(words.data()), bytes};
}

/// `count` names of which some share their count and some have none.
std::pair<Vocabulary, std::vector<std::int64_t>> random_names(int count) {
  std::mt19937 random(7);
  Vocabulary names;
  std::vector<std::int64_t> counts;
  for (int i = 0; i < count; ++i) {
    names.add(std::string(random() % 5, 'a') + std::to_string(i * 7919 % 10'007));
    counts.push_back(static_cast<std::int64_t>(random() % 6));
  }
  return {std::move(names), std::move(counts)};
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_mapped_one_is_what_was_written_until_a_name_is_added) {
  const auto [all, counts] = random_names(500);
  for (const std::int32_t buckets : {0, 3}) {
    const Vocabulary written = Vocabulary::by_count(all, counts, buckets);
    const std::string bytes = written.serialised();
    const auto words = in_words(bytes);
    const Vocabulary v = Vocabulary::mapped(bytes_in(words, bytes.size()), nullptr, "a file");
    BOOST_TEST((names_of(v) == names_of(written)));
    BOOST_TEST(std::ranges::equal(v.counts(), written.counts()));
    BOOST_TEST(v.buckets() == buckets);
    for (std::int32_t i = 0; i < all.size(); ++i) {
      BOOST_REQUIRE(v.find(all.name(i)) == written.find(all.name(i)));
      BOOST_REQUIRE(v.row_of(all.name(i)) == written.row_of(all.name(i)));
    }
    BOOST_TEST(v.find("<unknown 1>") == -1);
    BOOST_TEST((v.candidates() == written.candidates()));
    BOOST_TEST(v.checksum() == written.checksum());
    BOOST_TEST(v.serialised() == bytes);
    BOOST_TEST(v.mapped_bytes() == bytes);
    BOOST_TEST(written.mapped_bytes().empty());
    Vocabulary grown = v, expected = written;
    for (Vocabulary* one : {&grown, &expected}) {
      one->add("one more", 4);
      one->add(written.name(buckets), 2);
      if (buckets > 0) one->count_unknown("nobody", 3);
    }
    BOOST_TEST(grown.serialised() == expected.serialised());
    BOOST_TEST(grown.find("one more") == written.size());
    BOOST_TEST(v.serialised() == bytes);
    for (const std::size_t at : {std::size_t{3}, std::size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
      std::string altered = bytes;
      altered[at] = static_cast<char>(altered[at] ^ 4);
      const auto bad = in_words(altered);
      check_throws<DataError>([&] { Vocabulary::mapped(bytes_in(bad, bytes.size()), nullptr, "a file"); }, {"a file: "});
    }
    check_throws<DataError>([&] { Vocabulary::mapped(bytes_in(words, bytes.size() - 8), nullptr, "a file"); }, {"a file: "});
  }
}

BOOST_AUTO_TEST_CASE(names_of_many_runs_come_to_what_one_vocabulary_would) {
  const auto [all, counts] = random_names(3000);
  const Vocabulary expected = Vocabulary::by_count(all, counts);
  for (const int runs : {1, 3, 40}) {
    MemorySpace space;
    NameRuns merged(space);
    std::vector<std::string> added;
    for (int run = 0; run < runs; ++run) {
      Vocabulary some;
      std::vector<std::int64_t> some_counts;
      for (std::int32_t i = 0; i < all.size(); ++i) {
        if (i * 31 % runs != run) continue;
        some.add(all.name(i));
        some_counts.push_back(counts[static_cast<std::size_t>(i)]);
        added.emplace_back(all.name(i));
      }
      merged.add(some, some_counts);
    }
    merged.add(Vocabulary(), {});
    std::vector<std::int32_t> number_of;
    const auto names = merged.merge(number_of);
    BOOST_TEST(names->serialised() == expected.serialised());
    BOOST_REQUIRE_EQUAL(number_of.size(), added.size());
    for (std::size_t i = 0; i < added.size(); ++i) BOOST_REQUIRE(number_of[i] == expected.find(added[i]));
  }
}
