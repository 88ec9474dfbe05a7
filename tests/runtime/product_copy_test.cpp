#include "runtime/data/product_copy.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "runtime/data/reader.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"
#include "tests/support/temporary_folder.h"

using namespace tradewind::runtime;

BOOST_AUTO_TEST_CASE(product_copy_is_the_same_for_a_seed) {
  const std::string text = product_copy(1, 50);
  BOOST_TEST(product_copy(1, 50) == text);
  BOOST_TEST(product_copy(2, 50) != text);
  BOOST_TEST(product_copy(1, 60).substr(0, text.size()) == text);
  BOOST_TEST(product_copy(1, 0) == "");
}

BOOST_AUTO_TEST_CASE(product_copy_is_clean_varied_text) {
  const std::string text = product_copy(7, 4000);
  BOOST_TEST(text.size() > 1'000'000U);
  BOOST_TEST(text.size() < 2'000'000U);
  BOOST_TEST(find_invalid_utf8(text) == std::string::npos);
  for (const char* wrong : {"{", "}", "  ", " .", "..", " ,", "\n\n\n", " a everyday", "A oversized", "A all"})
    BOOST_TEST(text.find(wrong) == std::string::npos, wrong);
  const std::string_view view = text;
  const std::size_t characters = distinct_characters({&view, 1}).size();
  BOOST_TEST(characters > 60U);
  BOOST_TEST(characters < 100U);

  const tradewind::tests::TemporaryFolder folder;
  const Documents documents = read_documents(folder.write("copy.txt", text), {.cut = DocumentCut::kBlankLine});
  BOOST_TEST(documents.entries.size() == 4000U);
  std::set<std::string_view> distinct, titles;
  for (std::size_t i = 0; i < documents.entries.size(); ++i) {
    distinct.insert(documents[i]);
    titles.insert(documents[i].substr(0, documents[i].find('\n')));
  }
  BOOST_TEST(distinct.size() == 4000U);
  BOOST_TEST(titles.size() > 3900U);
}
