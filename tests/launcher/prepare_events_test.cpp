// Prepared events are the events: the same losses and rankings, in little memory, whatever happened while they were prepared.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <iostream>

#include "tests/support/event_shop.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

using Shop = EventShop;
using Words = std::vector<std::string>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

Words prepare(const std::string& to, const Settings& settings = {}) {
  Words out = {"prepare", "shop.toml", "--to", to};
  for (const auto& setting : settings) out.insert(out.end(), {"--set", setting});
  return out;
}

Settings with(Settings settings, const std::string& one) {
  settings.push_back(one);
  return settings;
}

/// What a run learned and how it ranks, to the last bit.
Words learned(const Shop& shop, const std::string& run) {
  Words out;
  for (const std::string& line : lines(text_of(shop.folder.path() / run / "metrics.jsonl"))) {
    const auto json = nlohmann::json::parse(line);
    std::string kept = json.at("step").dump();
    for (const char* key : {"loss", "gradient_norm", "validation_loss", "ndcg@10", "hr@10", "mrr"})
      if (json.contains(key)) kept += fmt::format(" {} {}", key, json.at(key).dump());
    out.push_back(kept);
  }
  auto ranking = shop.evaluated(run);
  ranking.erase("run"), ranking.erase("seconds");
  out.push_back(ranking.dump());
  out.push_back(shop.good({"recommend", run, "--user", "C-9", "--top", "5"}).output);
  return out;
}

void check_same_as_the_table(const Shop& shop, const Settings& settings) {
  shop.good(train_into("of-table", with(settings, "train.steps=40")));
  shop.good(prepare("events.h5", settings));
  const auto prepared = with(with(settings, "train.steps=40"), "data.prepared=events.h5");
  const Outcome trained = shop.good(train_into("of-file", prepared));
  BOOST_TEST(holds(trained.output, "events.h5, prepared"), trained);
  const Words expected = learned(shop, "of-table");
  BOOST_TEST(expected.size() >= 40U + 2U);
  BOOST_TEST(learned(shop, "of-file") == expected, boost::test_tools::per_element());
  BOOST_TEST((shop.tensors("of-file", "00000040") == shop.tensors("of-table", "00000040")));
  for (const char* left : {"of-table", "of-file", "events.h5"}) fs::remove_all(shop.folder.path() / left);
}

/// Nothing that a later command could take for the whole.
void check_nothing_at(const Shop& shop, const std::string& file) {
  BOOST_TEST(!fs::exists(shop.folder.path() / file));
  BOOST_TEST(!fs::exists(shop.folder.path() / (file + ".unfinished")));
}

/// Users who come `events / users` times each, in no order.
void write_log(const fs::path& file, std::int64_t users, std::int64_t items, std::int64_t events) {
  std::ofstream out(file, std::ios::binary);
  std::string text = "customer,sku,when\n";
  for (std::int64_t i = 0; i < events; ++i) {
    fmt::format_to(std::back_inserter(text), "customer-{:06d},sku-{:04d},{}\n", i * 7919 % users, i * 31 % items,
                   1'600'000'000 + i / 100);
    if (text.size() < (std::size_t{1} << 20)) continue;
    out << text;
    text.clear();
  }
  out << text;
}

/// With so much memory that the program may write and shares with nobody: what is mapped does not count.
Outcome within(const Shop& shop, std::int64_t kibibytes, const Words& arguments) {
  std::string line = fmt::format("ulimit -d {} && exec {}", kibibytes, TRADEWIND_BINARY);
  for (const std::string& argument : arguments) line += " '" + argument + "'";
  return Command({"/bin/sh", "-c", line}, shop.folder.path()).wait();
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(training_on_prepared_events_gives_the_losses_and_the_ranking_of_the_table, Shop) {
  check_same_as_the_table(*this, {});
  check_same_as_the_table(*this, {"model.loss=bce", "model.negatives=3", "data.split=time", "data.repeats=first"});
  check_same_as_the_table(*this, {"data.split=ratio", "data.unknown_buckets=2", "data.min_item_events=3"});
}

BOOST_FIXTURE_TEST_CASE(bad_rows_end_it_and_nothing_is_left_half_written, Shop) {
  good(prepare("events.h5"));
  const std::string whole = text_of(folder.path() / "events.h5");
  const std::string table = text_of(folder.path() / "events.csv");
  const auto refuse = [&](const std::string& row, const std::string& error) {
    folder.write("events.csv", table + row + "\nC-1,SKU-1,1800000000\n");
    refused(prepare("bad.h5"), 3, "error: events.csv:" + error);
    check_nothing_at(*this, "bad.h5");
    auto again = prepare("events.h5");
    again.emplace_back("--fresh");
    refused(again, 3, "error: events.csv:" + error);
    BOOST_TEST((text_of(folder.path() / "events.h5") == whole));
  };
  const auto line = std::to_string(std::ranges::count(table, '\n') + 1);
  refuse("C-1,,1700000000", line + ":5: the id of the item is empty");
  refuse(",SKU-1,1700000000", line + ":1: the id of the user is empty");
  refuse("C-1,SKU-1,tomorrow", line + ":11: ");
  refuse("C-1,SKU-1", line + ":");
  folder.write("events.csv", table);
  BOOST_TEST(holds(good(prepare("events.h5")).output, "is prepared already"));
}

BOOST_FIXTURE_TEST_CASE(it_says_how_to_train_on_what_it_made, Shop) {
  BOOST_TEST(
      holds(good(prepare("my events.h5", {"data.repeats=first"})).output,
            "my events.h5; try: tradewind train shop.toml --set data.repeats=first --set 'data.prepared=my events.h5'\n"));
  BOOST_TEST(holds(good({"prepare", "shop.toml", "--set", "data.prepared=there.h5"}).output,
                   "there.h5; try: tradewind train shop.toml --set data.prepared=there.h5\n"));
}

// While it writes partitions, columns, and the file itself.
BOOST_FIXTURE_TEST_CASE(a_full_disk_ends_it_and_leaves_nothing, Shop) {
  write_log(folder.path() / "events.csv", 5'000, 300, 300'000);
  auto command = prepare("events.h5");
  command.insert(command.begin(), TRADEWIND_BINARY);
  for (const std::uint64_t room : {0x1000UL, 0x10000UL, 0x100000UL, 0x200000UL, 0x300000UL}) {
    const Outcome o = Command(command, folder.path(), "C.UTF-8", room).wait();
    BOOST_CHECK_MESSAGE(o.code == 3 && holds(o.errors, "File too large") && holds(o.errors, "bytes are free on that disk") &&
                            holds(o.errors, "Make room, then run the same command again"),
                        room << " bytes: " << o);
    check_nothing_at(*this, "events.h5");
  }
}

BOOST_FIXTURE_TEST_CASE(killed_at_any_time_the_same_command_ends_with_the_same_bytes, Shop) {
  write_log(folder.path() / "events.csv", 5'000, 300, 300'000);
  good(prepare("whole.h5"));
  const std::string expected = text_of(folder.path() / "whole.h5");
  auto command = prepare("events.h5");
  command.insert(command.begin(), TRADEWIND_BINARY);
  const fs::path file = folder.path() / "events.h5", unfinished = folder.path() / "events.h5.unfinished";
  /// Sends a signal so many seconds after the work has begun. False where it was done by then.
  const auto interrupted = [&](int signal, double seconds) {
    Command run(command, folder.path());
    while (run.running() && !fs::exists(unfinished)) {
    }
    if (run.ends_within(seconds)) return false;
    run.signal(signal);
    const Outcome o = run.wait();
    BOOST_REQUIRE(!fs::exists(file));
    if (signal == SIGTERM) BOOST_CHECK_MESSAGE(o.code == 75 && holds(o.output, "the same command begins anew"), o);
    return true;
  };
  int killed = 0;
  for (double seconds = 0.01; interrupted(SIGKILL, seconds); seconds *= 1.6) ++killed;
  fs::remove(file);
  BOOST_REQUIRE(interrupted(SIGKILL, 0));
  std::cout << "killed " << killed + 1 << " times\n";
  const Outcome last = good(prepare("events.h5"));
  BOOST_TEST(holds(last.output, "this one begins anew"), last);
  BOOST_TEST((text_of(file) == expected));
  BOOST_TEST(!fs::exists(unfinished));

  // Asked to stop, it leaves nothing.
  fs::remove(file);
  BOOST_REQUIRE(interrupted(SIGTERM, 0));
  check_nothing_at(*this, "events.h5");
}

// event_partitions.h says what is held. Of 300,000 users, 1,000 items and 3 million events that is 13 MiB, the program's own 4
// not counted: 12 bytes a user; 7 MiB of ids and events that are read at once; and of one of 128 partitions some 30,000 events
// with 50 bytes and 2,500 users with 200. From the table, training holds ten times as much.
BOOST_FIXTURE_TEST_CASE(a_log_that_is_larger_than_memory_is_prepared_in_it, Shop) {
  constexpr std::int64_t kKibibytes = 24 << 10;
  if (kSanitized) {
    std::cout << "SKIPPED launcher/prepare_events_test: a sanitizer takes memory of its own\n";
    return;
  }
  write_log(folder.path() / "events.csv", 300'000, 1'000, 3'000'000);
  BOOST_TEST(static_cast<std::int64_t>(fs::file_size(folder.path() / "events.csv")) / 1024 > 4 * kKibibytes);
  if (within(*this, kKibibytes, {"train", "shop.toml", "--dry-run"}).code == 0) {
    std::cout << "SKIPPED launcher/prepare_events_test: this system does not limit what a process holds\n";
    return;
  }
  const Outcome o = within(*this, kKibibytes, prepare("events.h5"));
  BOOST_CHECK_MESSAGE(o.code == 0 && holds(o.output, "3,000,000 events of 300,000 users with 1,000 items"), o);
}

}  // namespace tradewind::tests
