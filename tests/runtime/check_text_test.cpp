#include "runtime/data/check_text.h"

#include <boost/test/unit_test.hpp>

#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::table_folder;

namespace {

DataConfig text_of(const std::string& name, const std::string& text) {
  DataConfig config;
  config.path = table_folder().write(name, text).string();
  return config;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_text_without_faults_has_no_findings) {
  DataConfig config = text_of("x.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\"}\n{\"text\":\"毛巾\"}\n");
  config.validation_path = table_folder().write("y.csv", "id,text\n1,\"two\nlines\"\n").string();
  const CheckReport report = check_text(config);
  BOOST_TEST(report.good());
  BOOST_TEST(report.findings.empty());
  BOOST_TEST(report.rows == 3);
  BOOST_TEST(report.summary.find("2 documents") != std::string::npos);
  BOOST_TEST(report.summary.find("1 document") != std::string::npos);
  BOOST_TEST(check_text(text_of("z.txt", std::string(3'000'000, 'x'))).rows == 1);  // one document of several pieces
}

BOOST_AUTO_TEST_CASE(reading_goes_on_behind_documents_that_cannot_be_read) {
  const DataConfig config = text_of("x.csv", "id,text\n1,a\n2\n3,\"b\"c\n4,d\n5,e,f\n");
  const CheckReport report = check_text(config, 2);
  BOOST_TEST(!report.good());
  BOOST_TEST(report.rows == 2);
  BOOST_REQUIRE(report.findings.size() == 1);
  const Finding& finding = report.findings[0];
  BOOST_TEST(finding.count == 3);
  BOOST_REQUIRE(finding.examples.size() == 2);
  BOOST_TEST(finding.examples[0].file == config.path);
  BOOST_TEST(finding.examples[0].line == 3);
  BOOST_TEST(finding.examples[0].what.starts_with("1 field, where the header names 2"));
  BOOST_TEST(finding.examples[1].line == 4);
  BOOST_TEST(finding.examples[1].column == 6);
  BOOST_TEST(finding.examples[1].what.starts_with("\",\" is expected behind the closing quote"));
  const CheckReport json = check_text(text_of("x.jsonl", "{\"text\":\"a\"}\n[]\n{\"text\":7}\nno\n"));
  BOOST_TEST(json.findings.at(0).count == 3);
  BOOST_TEST(json.findings.at(0).examples.at(2).line == 4);
}

BOOST_AUTO_TEST_CASE(what_ends_the_reading_is_a_finding_too) {
  DataConfig config = text_of("x.txt", "a\n");
  config.validation_path = "/nowhere/text.txt";
  const CheckReport missing = check_text(config);
  BOOST_TEST(missing.findings.at(0).kind == "file");
  BOOST_TEST(missing.findings.at(0).examples.at(0).text().find("/nowhere/text.txt") != std::string::npos);
  BOOST_TEST(missing.rows == 1);
  BOOST_TEST(!check_text(text_of("x.txt", "")).good());
  BOOST_TEST(!check_text(text_of("x.txt", "a\xFF\n")).good());
  BOOST_TEST(check_text(text_of("x.csv", "id,text\n1,\n")).findings.at(0).kind == "no_text");
  check_throws<ConfigError>([] { check_text(DataConfig{}); }, {"data.path is empty"});
}
