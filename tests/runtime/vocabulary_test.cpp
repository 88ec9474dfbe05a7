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
