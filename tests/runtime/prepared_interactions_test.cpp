#include "runtime/data/prepared_interactions.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <random>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/data/event_partitions.h"
#include "runtime/data/mapped_file.h"
#include "runtime/data/prepared_stage.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/data/work_folder.h"
#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::config_of;
using tests::table_folder;

namespace fs = std::filesystem;

namespace {

class Quiet final : public PrepareObserver {
 public:
  void on_progress(const std::string&, std::uint64_t, std::uint64_t) override {}
  void on_note(const std::string&) override {}
  bool stop_requested() override { return asked++ == stop_at; }
  int asked = 0, stop_at = -1;
};

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Some users and items are rare, some events repeat, and times are in no order.
std::string random_table(unsigned seed, int rows) {
  std::mt19937 random(seed);
  std::string out = "user,item,time\n";
  for (int i = 0; i < rows; ++i) {
    const unsigned u = random() % 40, v = random() % 60;
    out += fmt::format("u{},i{},{}\n", u * u / 20, v * v / 20, 1'600'000'000 + random() % 500);
  }
  return out;
}

const fs::path& target() {
  static const fs::path one = table_folder().path() / "events.h5";
  return one;
}

Prepared prepare(const InteractionsConfig& config, int partitions = 4, bool fresh = true, const fs::path& to = target()) {
  Quiet observer;
  return prepare_interactions(config, 5, {.to = to, .fresh = fresh}, observer, partitions);
}

InteractionsConfig prepared(InteractionsConfig config) {
  config.prepared = target().string();
  return config;
}

void check_same(const Interactions& a, const Interactions& b) {
  BOOST_TEST((a.offsets == b.offsets));
  BOOST_TEST((a.item == b.item));
  BOOST_TEST((a.time == b.time));
  BOOST_TEST((a.part == b.part));
  BOOST_TEST(a.users->serialised() == b.users->serialised());
  BOOST_TEST(a.items->serialised() == b.items->serialised());
  BOOST_TEST(a.checksum == b.checksum);
  BOOST_TEST(b.summary.ends_with(a.summary));
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_prepared_is_what_is_read_whatever_the_partitions) {
  const auto check = [](const InteractionsConfig& config) {
    const Interactions expected = load_interactions(config, 5);
    std::string bytes;
    for (const int partitions : {1, 3, 40}) {
      BOOST_REQUIRE((prepare(config, partitions) == Prepared::kNow));
      check_same(expected, load_interactions(prepared(config), 5));
      if (bytes.empty()) bytes = bytes_of(target());
      BOOST_TEST((bytes_of(target()) == bytes));
      BOOST_TEST(!fs::exists(target().string() + ".unfinished"));
    }
  };
  InteractionsConfig config = config_of(random_table(3, 3000));
  check(config);  // without times
  config.time_key = "time";
  for (const char* split : {"leave_one_out", "ratio", "time", "user", "none"}) {
    config.split = split;
    check(config);
  }
  for (const char* repeats : {"same_time", "in_a_row", "first"}) {
    config.repeats = repeats;
    check(config);
  }
  config.min_user_events = 10;
  config.min_item_events = 20;
  check(config);
  config.unknown_buckets = 5;
  check(config);
  InteractionsConfig given = config_of(random_table(4, 300));
  given.split = "given";
  given.test_path = table_folder().write("test.csv", random_table(5, 50)).string();
  check(given);
}

// Of more events than are taken at once the last says that all numbers are milliseconds.
BOOST_AUTO_TEST_CASE(times_are_in_one_unit_though_the_last_tells_it) {
  std::string table = "user,item,time\n";
  for (int i = 0; i < 140'000; ++i) table += fmt::format("u{},i{},{}\n", i % 50, i % 7, 99'000'000'000 - i);
  InteractionsConfig config = config_of(table + "u0,i0,1600000000000\n");
  config.time_key = "time";
  const Interactions expected = load_interactions(config, 5);
  BOOST_REQUIRE((prepare(config) == Prepared::kNow));
  check_same(expected, load_interactions(prepared(config), 5));
}

BOOST_AUTO_TEST_CASE(a_partition_has_its_share_and_all_of_a_user) {
  const InteractionsConfig config = config_of(random_table(6, 100'000));
  const fs::path folder = table_folder().path() / "partitions";
  fs::create_directories(folder);
  EventsOnDisk events(folder, 8);
  ThrowProblems sink;
  const EventLog log = read_events(config, sink, true, &events);
  BOOST_TEST(log.item.empty());
  BOOST_TEST(log.users.size() == 0);
  BOOST_TEST(log.counted == 100'000);
  events.order(log.time_unit);
  BOOST_TEST(events.largest() < 40'000);
  BOOST_TEST(events.events() == 100'000);
  const EventLog whole = read_events(config, sink);
  BOOST_REQUIRE(events.users() == whole.users.size());
  std::vector<int> met(static_cast<std::size_t>(events.users()), 0);
  std::vector<std::int64_t> counts(met.size());
  events.each(EventPartitions::Access::kRead, [&](const OrderedEvents& part) {
    for (std::size_t u = 0; u < part.user.size(); ++u) {
      ++met[static_cast<std::size_t>(part.user[u])];
      counts[static_cast<std::size_t>(part.user[u])] = part.offsets[u + 1] - part.offsets[u];
      BOOST_REQUIRE(std::is_sorted(part.line.begin() + part.offsets[u], part.line.begin() + part.offsets[u + 1]));
    }
  });
  BOOST_TEST((met == std::vector<int>(met.size(), 1)));
  MemorySpace space;
  const NumberedUsers users = events.number_users(counts, space);
  BOOST_TEST(users.names->serialised() == Vocabulary::by_count(whole.users, whole.users.counts()).serialised());
  for (std::size_t u = 0; u < counts.size(); ++u) BOOST_REQUIRE(users.names->count(users.number_of[u]) == counts[u]);
  BOOST_TEST(fs::is_empty(folder));  // nothing is left behind, however it ends
}

BOOST_AUTO_TEST_CASE(samples_are_those_of_the_table) {
  const InteractionsConfig config = config_of(random_table(7, 2000));
  prepare(config);
  const SequenceOptions options{.context = 9, .negatives = {.count = 2, .kind = NegativeKind::kPopularity}};
  const SequenceDataset table(std::make_shared<const Interactions>(load_interactions(config, 5)), options);
  const SequenceDataset file(std::make_shared<const Interactions>(load_interactions(prepared(config), 5)), options);
  const std::vector<SampleRef> samples = {{7, 0, 3}, {8, 0, 1}, {9, 0, 11}};
  const Batch a = table.collate(samples), b = file.collate(samples);
  for (const auto& [name, field] : a.fields)
    BOOST_TEST((std::string_view(static_cast<const char*>(field.raw()), field.bytes()) ==
                std::string_view(static_cast<const char*>(b[name].raw()), b[name].bytes())));
}

BOOST_AUTO_TEST_CASE(what_is_stale_or_otherwise_is_refused) {
  InteractionsConfig config = config_of(random_table(8, 500), "stale.csv");
  BOOST_REQUIRE((prepare(config) == Prepared::kNow));
  BOOST_TEST((prepare(config, 7, false) == Prepared::kBefore));
  const auto refuse = [&](const auto& change, const std::vector<std::string>& parts) {
    InteractionsConfig other = prepared(config);
    change(other);
    check_throws<ConfigError>([&] { load_interactions(other, 5); }, parts);
  };
  refuse([](auto& c) { c.repeats = "first"; }, {"data.repeats = \"first\", but was \"keep\"", "--fresh"});
  refuse([](auto& c) { c.path = "elsewhere.csv"; }, {"data.path = \"elsewhere.csv\"", "stale.csv", "data.prepared = \"\""});
  InteractionsConfig random = config;
  random.split = "user";
  prepare(random);
  check_throws<ConfigError>([&] { load_interactions(prepared(random), 6); }, {"run.seed = 6, but was 5"});
  check_throws<DataError>([&] { prepare(config, 4, false); }, {"prepared otherwise", "data.split", "--fresh"});
  prepare(config);

  const Vocabulary others;
  check_throws<DataError>([&] { load_interactions(prepared(config), 5, nullptr, &others); },
                          {"other users or items", "--fresh"});
  // Touched, it is the same; one byte changed, it is not, though it has the size and the file could be read without it.
  fs::last_write_time(config.path, fs::last_write_time(config.path) + std::chrono::seconds(9));
  load_interactions(prepared(config), 5);
  std::string text = bytes_of(config.path);
  text[text.size() - 3] = text[text.size() - 3] == '1' ? '2' : '1';
  table_folder().write("stale.csv", text);
  fs::last_write_time(config.path, fs::last_write_time(config.path) + std::chrono::seconds(20));
  check_throws<DataError>([&] { load_interactions(prepared(config), 5); }, {"stale.csv has changed since", "--fresh"});
  check_throws<DataError>([&] { prepare(config, 4, false); }, {"stale.csv has changed since", "--fresh"});
  fs::remove(config.path);  // gone, as where only the prepared file was copied to
  load_interactions(prepared(config), 5);

  std::string damaged = bytes_of(target());
  damaged[damaged.size() / 2] ^= 1;
  std::ofstream(target(), std::ios::binary) << damaged;
  check_throws<DataError>([&] { load_interactions(prepared(config), 5); }, {"damaged", "--fresh"});
  const auto other = table_folder().write("other.txt", "mine");
  check_throws<DataError>([&] { prepare(config_of("user,item\na,b\n"), 1, true, other); }, {"is no prepared data set"});
}

BOOST_AUTO_TEST_CASE(a_stop_or_an_error_leaves_nothing_behind) {
  const fs::path to = table_folder().path() / "stopped.h5";
  Quiet observer;
  observer.stop_at = 0;
  BOOST_TEST((prepare_interactions(config_of(random_table(9, 100)), 5, {.to = to}, observer) == Prepared::kStopped));
  check_throws<DataError>([&] { prepare(config_of("user,item\na,b\n,c\n"), 4, true, to); },
                          {":3:1", "the id of the user is empty"});
  BOOST_TEST(!fs::exists(to));
  BOOST_TEST(!fs::exists(to.string() + ".unfinished"));
}

// While it reads, orders, counts, leaves out and numbers.
BOOST_AUTO_TEST_CASE(it_stops_wherever_it_is_asked_to) {
  InteractionsConfig config = config_of(random_table(10, 2000));
  config.time_key = "time";
  config.repeats = "first";
  config.min_user_events = 5;
  const fs::path to = table_folder().path() / "any.h5";
  constexpr int kPartitions = 3;
  int at = 0;
  for (;; ++at) {
    Quiet observer;
    observer.stop_at = at;
    if (prepare_interactions(config, 5, {.to = to}, observer, kPartitions) == Prepared::kNow) break;
    BOOST_REQUIRE(!fs::exists(to));
    BOOST_REQUIRE(!fs::exists(to.string() + ".unfinished"));
  }
  BOOST_TEST(
      at >=
      2 + 7 * kPartitions);  // taken once and written; in order, without repeats, thrice the core, counted, numbered, moved
}

BOOST_AUTO_TEST_CASE(kinds_that_are_no_utf8_do_not_end_it) {
  InteractionsConfig config = config_of("user,item,kind\na,x,buy\na,y,buy\nb,y,buy\nb,x,ans\xE4hen\n", "latin.csv");
  config.event_key = "kind";
  config.events = "buy";
  BOOST_REQUIRE((prepare(config) == Prepared::kNow));
  const std::string summary = load_interactions(prepared(config), 5).summary;
  BOOST_TEST((summary.find("1 \"ans\xEF\xBF\xBDhen\"") != std::string::npos), summary);
}

BOOST_AUTO_TEST_CASE(a_table_that_cannot_be_read_twice_is_refused) {
  InteractionsConfig config = config_of("user,item\na,x\na,y\n", "there.csv");
  const fs::path to = table_folder().path() / "there.h5";
  BOOST_REQUIRE((prepare(config, 1, false, to) == Prepared::kNow));
  fs::remove(config.path);
  const auto refuse = [&](const std::string& path, const std::vector<std::string>& parts) {
    config.path = path;
    for (const fs::path& file : {to, table_folder().path() / "never.h5"})
      check_throws<DataError>([&] { prepare(config, 1, false, file); }, parts);
  };
  refuse(config.path, {"data.path", "there.csv\" cannot be opened: No such file", "--set data.path=FILE"});
  refuse(table_folder().path().string(), {"is a folder; name a file in it"});
  const fs::path pipe = table_folder().path() / "pipe.csv";
  BOOST_REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  refuse(pipe.string(), {"pipe.csv\" is no file", "Write it to a file"});
}

BOOST_AUTO_TEST_CASE(what_is_anothers_in_its_folder_stays) {
  const InteractionsConfig config = config_of("user,item\na,x\na,y\n");
  const fs::path to = table_folder().path() / "others.h5", folder = to.string() + ".unfinished";
  const auto put = [&](const char* name) {
    fs::create_directories(folder);
    std::ofstream(folder / name) << "mine";
  };
  put("notes.txt");
  for (const bool fresh : {false, true})
    check_throws<DataError>([&] { prepare(config, 1, fresh, to); }, {"notes.txt in it is none", "--to"});
  BOOST_TEST(bytes_of(folder / "notes.txt") == "mine");
  fs::remove_all(folder);

  put("key.json"), put("0.tokens");
  check_throws<DataError>([&] { prepare(config, 1, false, to); }, {"a text that is half prepared", "--fresh"});
  BOOST_TEST(bytes_of(folder / "0.tokens") == "mine");
  BOOST_TEST((prepare(config, 1, true, to) == Prepared::kNow));
  BOOST_TEST(!fs::exists(folder));

  fs::remove(to);
  put("prepared.h5"), put("events-3"), put("column-17");  // of events, of a process that died
  BOOST_TEST((prepare(config, 1, false, to) == Prepared::kNow));
}

// One lock for both, so that neither removes what the other is writing.
BOOST_AUTO_TEST_CASE(events_and_a_text_are_not_prepared_in_one_folder_at_once) {
  const fs::path folder = table_folder().path() / "both.h5.unfinished";
  {
    const PreparedStage text(folder, {{"key", 1}}, false);
    check_throws<DataError>([&] { WorkFolder(folder, true); }, {"another process is preparing"});
    BOOST_TEST(fs::exists(folder / "key.json"));
  }
  fs::remove_all(folder);
  const WorkFolder events(folder, false);
  check_throws<DataError>([&] { PreparedStage(folder, {{"key", 1}}, true); }, {"another process is preparing"});
}
