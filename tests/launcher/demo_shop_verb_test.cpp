#include <sys/resource.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

using tradewind::tests::Command;
using tradewind::tests::Outcome;
using tradewind::tests::TemporaryFolder;
using tradewind::tests::text_of;
namespace fs = std::filesystem;

namespace {

Outcome run(const TemporaryFolder& folder, std::vector<std::string> more, std::uint64_t file_bytes = 0) {
  more.insert(more.begin(), {TRADEWIND_BINARY, "demo-shop"});
  return Command(more, folder.path(), "C.UTF-8", file_bytes).wait();
}

void check_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  BOOST_CHECK_MESSAGE(outcome.code == code, outcome);
  BOOST_CHECK_MESSAGE(outcome.errors.starts_with("error: "), outcome);
  for (const std::string& part : parts)
    BOOST_CHECK_MESSAGE(outcome.errors.find(part) != std::string::npos, part << "\n" << outcome);
}

const std::vector<std::string> kSmall = {"shop", "--users", "300", "--items", "300", "--days", "60", "--views", "20"};

std::vector<std::string> small(std::vector<std::string> more = {}) {
  more.insert(more.begin(), kSmall.begin(), kSmall.end());
  return more;
}

}  // namespace

BOOST_AUTO_TEST_CASE(demo_shop_says_what_it_wrote) {
  const TemporaryFolder folder;
  const Outcome written = run(folder, small({"--json"}));
  BOOST_REQUIRE_MESSAGE(written.code == 0, written);
  const auto told = nlohmann::json::parse(written.output);
  const auto rows = [&](const char* file) {
    const std::string text = text_of(folder.path() / "shop" / file);
    return std::ranges::count(text, '\n') - (std::string(file).ends_with(".csv") ? 1 : 0);
  };
  BOOST_CHECK_EQUAL(told.at("path"), "shop");
  BOOST_CHECK_EQUAL(told.at("users"), rows("users.csv"));
  BOOST_CHECK_EQUAL(told.at("items"), rows("items.csv"));
  for (const char* name : {"events", "impressions", "promotions"}) {
    BOOST_CHECK_EQUAL(told.at(name), rows((name + std::string(".csv")).c_str()));
    BOOST_CHECK_GT(told.at(name).get<int>(), 100);
  }
  for (const char* name : {"reviews", "questions", "searches"})
    BOOST_CHECK_EQUAL(told.at(name), rows((name + std::string(".jsonl")).c_str()));

  const TemporaryFolder other;  // the same with other threads, said in words
  const Outcome again = run(other, small({"--threads", "3"}));
  BOOST_CHECK_MESSAGE(again.output.starts_with("shop: " + told.at("events").dump() + " events"), again);
  BOOST_CHECK(text_of(other.path() / "shop/events.csv") == text_of(folder.path() / "shop/events.csv"));
}

BOOST_AUTO_TEST_CASE(demo_shop_refuses_what_makes_no_sense) {
  const TemporaryFolder folder;
  check_refused(run(folder, {}), 2, {"DIR is missing"});
  check_refused(run(folder, {"shop", "--users", "0"}), 2, {"--users must lie between 1 and"});
  check_refused(run(folder, {"shop", "--items", "249"}), 2, {"--items must lie between 250 and"});
  check_refused(run(folder, {"shop", "--days", "0"}), 2, {"--days must lie between 1 and 3650"});
  check_refused(run(folder, {"shop", "--threads", "0"}), 2, {"--threads"});
  check_refused(run(folder, {"shop", "--seed", "-1"}), 2, {"--seed"});
  for (const char* views : {"0", "nan", "151", "-5"})
    check_refused(run(folder, {"shop", "--items", "300", "--views", views}), 2,
                  {"--views must lie between 1 and half the items, 150"});
  BOOST_CHECK(!fs::exists(folder.path() / "shop"));
}

BOOST_AUTO_TEST_CASE(demo_shop_touches_nothing_that_is_there) {
  const TemporaryFolder folder;
  folder.write("file", "mine");
  fs::create_directories(folder.path() / "full");
  folder.write("full/notes.txt", "mine");
  fs::create_directories(folder.path() / "empty");
  std::vector<std::string> arguments = kSmall;
  for (const char* name : {"file", "full"}) {
    arguments[0] = name;
    check_refused(run(folder, arguments), 2, {name, "name another, or remove it first"});
  }
  arguments[0] = "file/below";
  check_refused(run(folder, arguments), 3, {"cannot create", "Not a directory"});
  BOOST_CHECK_EQUAL(text_of(folder.path() / "file"), "mine");
  BOOST_CHECK_EQUAL(text_of(folder.path() / "full/notes.txt"), "mine");
  for (const char* name : {"empty", "a/b/", "./here"}) {
    arguments[0] = name;
    const Outcome outcome = run(folder, arguments);
    BOOST_CHECK_MESSAGE(outcome.code == 0, outcome);
    BOOST_CHECK(fs::exists(folder.path() / name / "events.csv"));
  }
}

BOOST_AUTO_TEST_CASE(demo_shop_on_a_full_disk_leaves_no_half_shop_and_goes_on_with_room) {
  const TemporaryFolder folder;
  check_refused(run(folder, small(), 50'000), 3, {"writing shop.partial/", "free some space"});
  BOOST_CHECK(!fs::exists(folder.path() / "shop"));
  const Outcome outcome = run(folder, small());
  BOOST_CHECK_MESSAGE(outcome.code == 0, outcome);
  BOOST_CHECK(fs::exists(folder.path() / "shop/truth/model.csv"));
  BOOST_CHECK(!fs::exists(folder.path() / "shop.partial"));
}

// What is held grows with customers and goods, not with the time that is watched: the files here are several times as large.
BOOST_AUTO_TEST_CASE(demo_shop_holds_no_more_than_a_few_days) {
  const TemporaryFolder folder;
  const Outcome outcome =
      run(folder, {"shop", "--users", "4000", "--items", "2000", "--days", "1200", "--views", "250", "--threads", "2"});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "shop"))
    if (entry.is_regular_file()) bytes += entry.file_size();
  struct rusage usage {};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto held = static_cast<std::uintmax_t>(usage.ru_maxrss) * 1024;
  BOOST_CHECK_GT(bytes, 200'000'000U);
  BOOST_CHECK_MESSAGE(held < bytes / 4, held << " bytes of memory for " << bytes << " bytes of files");
}
