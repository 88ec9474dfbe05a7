#include "runtime/data/vocabulary.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>

#include "kernels/base/error.h"
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
