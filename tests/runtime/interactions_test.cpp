#include "runtime/data/interactions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include "kernels/base/error.h"
#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::config_of;
using tests::table_folder;

namespace {

using Strings = std::vector<std::string>;

/// "ann: soap lamp/v rug/t" for each user.
Strings shown(const Interactions& data) {
  Strings out;
  for (std::int32_t u = 0; u < data.users->size(); ++u) {
    out.push_back(std::string(data.users->name(u)) + ":");
    for (std::int64_t i = data.offsets[static_cast<std::size_t>(u)]; i < data.offsets[static_cast<std::size_t>(u) + 1]; ++i) {
      const auto event = static_cast<std::size_t>(i);
      constexpr std::array<const char*, 3> kEnds = {"", "/v", "/t"};
      out.back() += fmt::format(" {}{}", data.items->name(data.item[event]), kEnds[static_cast<std::size_t>(data.part[event])]);
    }
  }
  return out;
}

bool says(const Interactions& data, const std::string& part) { return data.summary.find(part) != std::string::npos; }

/// A shop's log, each row "user,item,time".
struct Row {
  int user, item, time;
};
std::vector<Row> random_rows(unsigned seed, int rows, unsigned users, unsigned items, unsigned times) {
  std::mt19937 random(seed);
  std::vector<Row> out;
  for (int i = 0; i < rows; ++i) {
    // Squares make some users and items rare.
    const double u = static_cast<double>(random() % 1000) / 1000, v = static_cast<double>(random() % 1000) / 1000;
    out.push_back({.user = static_cast<int>(users * u * u),
                   .item = static_cast<int>(items * v * v),
                   .time = static_cast<int>(random() % times)});
  }
  return out;
}
std::string text_of(const std::vector<Row>& rows) {
  std::string out = "user,item,time\n";
  for (const Row& row : rows) out += fmt::format("u{},i{},{}\n", row.user, row.item, row.time);
  return out;
}

/// A file of the folder that TRADEWIND_SHARED names; empty where it is not there, which is said.
std::string shared(const std::string& file) {
  const char* root = std::getenv("TRADEWIND_SHARED");
  const std::string path = root == nullptr ? "" : std::string(root) + "/data/sequences/" + file;
  if (!path.empty() && std::filesystem::exists(path)) return path;
  std::cout << "SKIPPED runtime/interactions_test: TRADEWIND_SHARED does not say where data/sequences/" << file << " is\n";
  return "";
}

void check_counts(const Interactions& data, std::int32_t users, std::int32_t items, std::int64_t events) {
  BOOST_TEST(data.users->size() == users);
  BOOST_TEST(data.items->size() == items);
  BOOST_TEST(data.events() == events);
  BOOST_TEST(data.offsets.back() == events);
}

std::array<std::int64_t, 3> parts_of(const Interactions& data) {
  std::array<std::int64_t, 3> out{};
  for (const Part part : data.part) ++out[static_cast<std::size_t>(part)];
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(events_are_in_order_of_time_and_those_of_one_time_in_that_of_the_file) {
  InteractionsConfig config =
      config_of("user,item,time\nann,c,30\nbob,x,5\nann,b2,20\nann,b1,20\nbob,y,5\nann,a,10\nann,b3,20\n");
  BOOST_TEST((shown(load_interactions(config, 1)) == Strings{"ann: c b2 b1 a/v b3/t", "bob: x y"}));  // without times
  config.time_key = "time";
  const Interactions data = load_interactions(config, 1);
  BOOST_TEST((shown(data) == Strings{"ann: a b2 b1 b3/v c/t", "bob: x y"}));
  BOOST_TEST((data.time ==
              std::vector<std::int64_t>{10'000'000, 20'000'000, 20'000'000, 20'000'000, 30'000'000, 5'000'000, 5'000'000}));
  BOOST_TEST(says(data, "1970-01-01 00:00:05 to 1970-01-01 00:00:30"));
}

BOOST_AUTO_TEST_CASE(numbers_go_by_frequency_and_do_not_depend_on_the_order_of_the_rows) {
  std::vector<Row> rows = random_rows(4, 3000, 60, 90, 100'000);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].time = static_cast<int>(i);  // no two at one time
  InteractionsConfig config = config_of(text_of(rows));
  config.time_key = "time";
  config.min_item_events = 3;
  for (const char* split : {"leave_one_out", "ratio", "user", "time"}) {
    config.split = split;
    const Interactions data = load_interactions(config, 7);
    for (std::int32_t i = 1; i < data.items->size(); ++i) BOOST_REQUIRE(data.items->count(i - 1) >= data.items->count(i));
    std::vector<Row> shuffled = rows;
    std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(1));
    InteractionsConfig other = config;
    other.path = table_folder().write("shuffled.csv", text_of(shuffled)).string();
    BOOST_TEST(load_interactions(other, 7).checksum == data.checksum);
    BOOST_TEST((shown(load_interactions(other, 7)) == shown(data)));
  }
}

BOOST_AUTO_TEST_CASE(the_checksum_tells_data_apart) {
  const std::string text = "user,item,time\nann,a,1\nann,b,2\nann,c,3\nbob,a,1\nbob,b,2\nbob,c,3\n";
  InteractionsConfig config = config_of(text);
  std::set<std::uint64_t> sums = {load_interactions(config, 1).checksum};
  BOOST_TEST(sums.insert(load_interactions(config, 1).checksum).second == false);
  config.time_key = "time";
  BOOST_TEST(sums.insert(load_interactions(config, 1).checksum).second);
  config.split = "none";
  BOOST_TEST(sums.insert(load_interactions(config, 1).checksum).second);
  config.split = "ratio";
  config.test_fraction = config.validation_fraction = 0.34;
  std::set<std::uint64_t> draws;
  for (std::uint64_t seed = 0; seed < 20; ++seed) draws.insert(load_interactions(config, seed).checksum);
  BOOST_TEST(draws.size() > 10);  // of 36
  config = config_of(text + "bob,d,4\n", "more.csv");
  BOOST_TEST(sums.insert(load_interactions(config, 1).checksum).second);
}

BOOST_AUTO_TEST_CASE(repeats_go_as_asked) {
  InteractionsConfig config = config_of("user,item,time\nu,a,1\nu,b,1\nu,a,1\nu,a,2\nu,a,2\nv,a,2\nu,b,3\nu,b,4\nv,a,9\n");
  config.time_key = "time";
  config.split = "none";
  const auto of = [&](const char* repeats) {
    config.repeats = repeats;
    return shown(load_interactions(config, 1));
  };
  BOOST_TEST((of("keep") == Strings{"u: a b a a a b b", "v: a a"}));
  BOOST_TEST((of("same_time") == Strings{"u: a b a b b", "v: a a"}));
  BOOST_TEST((of("in_a_row") == Strings{"u: a b a b", "v: a"}));
  BOOST_TEST((of("first") == Strings{"u: a b", "v: a"}));
  BOOST_TEST(says(load_interactions(config, 1), "left out as repeats (data.repeats): 6"));
}

BOOST_AUTO_TEST_CASE(the_core_is_the_largest_in_which_all_have_enough) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    const std::vector<Row> rows = random_rows(seed, 300, 40, 50, 1000);
    InteractionsConfig config = config_of(text_of(rows));
    config.min_user_events = 2 + seed % 4;
    config.min_item_events = 2 + seed / 4 % 4;
    std::vector<Row> core = rows;  // one row at a time, in another order than the code
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < core.size() && !changed; ++i) {
        const auto users = std::ranges::count(core, core[i].user, &Row::user);
        const auto items = std::ranges::count(core, core[i].item, &Row::item);
        if (users >= config.min_user_events && items >= config.min_item_events) continue;
        core.erase(core.begin() + static_cast<std::ptrdiff_t>(i));
        changed = true;
      }
    }
    BOOST_TEST_CONTEXT("seed " << seed) {
      if (core.empty()) {
        check_throws<DataError>([&] { load_interactions(config, 1); }, {"no events to learn from", "data.min_user_events"});
        continue;
      }
      const Interactions data = load_interactions(config, 1);
      BOOST_TEST(data.events() == static_cast<std::int64_t>(core.size()));
      std::map<std::string, std::int64_t> users, items;
      for (const Row& row : core) ++users[fmt::format("u{}", row.user)], ++items[fmt::format("i{}", row.item)];
      BOOST_TEST(static_cast<std::size_t>(data.users->size()) == users.size());
      BOOST_TEST(static_cast<std::size_t>(data.items->size()) == items.size());
      for (const auto& [name, count] : users) BOOST_TEST(data.users->count(data.users->find(name)) == count);
      for (const auto& [name, count] : items) BOOST_TEST(data.items->count(data.items->find(name)) == count);
    }
  }
}

BOOST_AUTO_TEST_CASE(users_with_fewer_than_three_events_are_left_to_training) {
  const Interactions data = load_interactions(config_of("user,item\na,1\na,2\na,3\nb,1\nb,2\nc,1\n"), 1);
  BOOST_TEST((shown(data) == Strings{"a: 1 2/v 3/t", "b: 1 2", "c: 1"}));
  BOOST_TEST(says(data, "2 users with fewer than 3 events are training only"));
  BOOST_TEST(says(data, "of those of test, 1 are of items that training never sees"));
}

BOOST_AUTO_TEST_CASE(a_ratio_takes_the_same_of_each_user_whoever_else_is_there) {
  const std::vector<Row> rows = random_rows(8, 4000, 40, 200, 1000);
  InteractionsConfig config = config_of(text_of(rows));
  config.split = "ratio";
  const Interactions data = load_interactions(config, 3);
  std::map<std::string, std::string> whole;
  for (const std::string& user : shown(data)) whole[user.substr(0, user.find(':'))] = user;
  for (std::int32_t u = 0; u < data.users->size(); ++u) {
    const auto user = static_cast<std::size_t>(u);
    const auto begin = data.part.begin() + data.offsets[user], end = data.part.begin() + data.offsets[user + 1];
    BOOST_TEST(std::count(begin, end, Part::kTest) == (end - begin) / 10);
    BOOST_TEST(std::count(begin, end, Part::kValidation) == (end - begin) / 10);
  }
  // Half of the users, the order of theirs as it was.
  std::vector<Row> half;
  std::ranges::copy_if(rows, std::back_inserter(half), [](const Row& row) { return row.user % 2 == 0; });
  config.path = table_folder().write("half.csv", text_of(half)).string();
  for (const std::string& user : shown(load_interactions(config, 3))) BOOST_TEST(user == whole[user.substr(0, user.find(':'))]);
}

BOOST_AUTO_TEST_CASE(a_ratio_takes_every_place_of_a_user_equally_often) {
  std::string text = "user,item\n";
  for (int u = 0; u < 4000; ++u)
    for (int i = 0; i < 10; ++i) text += fmt::format("{},{}\n", u, i % 7);  // some items twice
  InteractionsConfig config = config_of(text);
  config.split = "ratio";
  const Interactions data = load_interactions(config, 5);
  std::array<std::array<int, 3>, 10> taken{};
  for (std::size_t i = 0; i < data.part.size(); ++i) ++taken[i % 10][static_cast<std::size_t>(data.part[i])];
  const double deviation = std::sqrt(4000 * 0.1 * 0.9);
  for (const auto& place : taken) {
    BOOST_TEST(std::abs(place[1] - 400) < 4.5 * deviation);
    BOOST_TEST(std::abs(place[2] - 400) < 4.5 * deviation);
  }
}

BOOST_AUTO_TEST_CASE(by_time_the_latest_events_are_tested_and_one_time_is_not_cut) {
  std::string text = "user,item,time\n";
  for (int i = 0; i < 100; ++i) text += fmt::format("u{},i{},{}\n", i % 7, i % 5, i / 4);
  InteractionsConfig config = config_of(text);
  config.time_key = "time";
  config.split = "time";
  config.validation_fraction = 0.2;
  config.test_fraction = 0.1;
  const Interactions data = load_interactions(config, 1);
  // The last 10 of 100 begin in the middle of time 22, which is tested whole, with 23 and 24; the 20 before in that of 17.
  for (std::size_t i = 0; i < data.time.size(); ++i) {
    const std::int64_t time = data.time[i] / 1'000'000;
    BOOST_TEST((data.part[i] == (time >= 22 ? Part::kTest : time >= 17 ? Part::kValidation : Part::kTrain)));
  }
  BOOST_TEST(says(data, "test from 1970-01-01 00:00:22"));
  config.test_fraction = 0;
  BOOST_TEST(parts_of(load_interactions(config, 1))[2] == 0);
  config.path = table_folder().write("one_time.csv", "user,item,time\na,1,5\na,2,5\nb,1,5\nb,2,5\n").string();
  config.test_fraction = 0.3;
  check_throws<DataError>([&] { load_interactions(config, 1); }, {"leaves nothing to train on", "data.test_fraction"});
}

BOOST_AUTO_TEST_CASE(by_user_whole_users_are_tested_and_stay_when_others_come) {
  std::string text = "user,item\n";
  for (int u = 0; u < 10'000; ++u) text += fmt::format("u{0},a\nu{0},b\n", u);
  InteractionsConfig config = config_of(text);
  config.split = "user";
  config.validation_fraction = 0.2;
  const Interactions data = load_interactions(config, 1);
  std::array<int, 3> users{};
  for (std::size_t u = 0; u < 10'000; ++u) {
    BOOST_REQUIRE((data.part[2 * u] == data.part[2 * u + 1]));
    ++users[static_cast<std::size_t>(data.part[2 * u])];
  }
  BOOST_TEST(std::abs(users[1] - 2000) < 180);  // 4.5 standard deviations of 40
  BOOST_TEST(std::abs(users[2] - 1000) < 135);  // of 30
  config.path = table_folder().write("some.csv", "user,item\nu17,a\nu17,b\nu4,b\nu4,a\nu99,a\n").string();
  const Interactions some = load_interactions(config, 1);
  for (std::int32_t u = 0; u < some.users->size(); ++u) {
    const std::int32_t before = data.users->find(some.users->name(u));
    BOOST_TEST((some.part[static_cast<std::size_t>(some.offsets[static_cast<std::size_t>(u)])] ==
                data.part[static_cast<std::size_t>(data.offsets[static_cast<std::size_t>(before)])]));
  }
}

BOOST_AUTO_TEST_CASE(given_files_are_the_parts) {
  InteractionsConfig config = config_of("user,item\na,1\na,2\nb,1\n");
  config.split = "given";
  config.test_path = table_folder().write("test.csv", "user,item\nb,2\na,9\nc,1\n").string();
  config.validation_path = table_folder().write("validation.csv", "user,item\nb,3\n").string();
  const Interactions data = load_interactions(config, 1);
  BOOST_TEST((shown(data) == Strings{"a: 1 2 9/t", "b: 1 3/v 2/t", "c: 1/t"}));
  BOOST_TEST(says(data, "of those of test, 1 are of items"));
  BOOST_TEST(says(data, "of those of validation, 1 are of items"));
}

BOOST_AUTO_TEST_CASE(a_runs_numbers_stay_and_what_is_new_is_said) {
  InteractionsConfig config = config_of("user,item\nann,soap\nann,lamp\nann,rug\nbob,soap\n");
  const Interactions first = load_interactions(config, 1);
  const Interactions again = load_interactions(config, 1, first.users.get(), first.items.get());
  BOOST_TEST(again.checksum == first.checksum);
  config = config_of("user,item\neve,rug\nbob,lamp\ndan,oven\neve,soap\nbob,oven\neve,rug\ncid,soap\n", "new.csv");
  config.split = "none";
  const Interactions data = load_interactions(config, 1, first.users.get(), first.items.get());
  BOOST_TEST((shown(data) == Strings{"ann:", "bob: lamp", "eve: rug soap rug", "cid: soap"}));
  BOOST_TEST(data.items->checksum() == first.items->checksum());
  BOOST_TEST(says(data, "left out, as the model does not know their items: 2"));
  BOOST_TEST(says(data, "users that the model does not know: 2"));
}

BOOST_AUTO_TEST_CASE(another_shops_table_is_refused_with_the_reason) {
  const Interactions data = load_interactions(config_of("user,item\nann,soap\nann,lamp\nbob,soap\n"), 1);
  InteractionsConfig other = config_of("user,item\nann,4711\nbob,4712\n", "other.csv");
  check_throws<DataError>(
      [&] { load_interactions(other, 1, data.users.get(), data.items.get()); },
      {"other.csv: no events to learn from", "events that count: 2, of which 2 are of items that the model"});
}

BOOST_AUTO_TEST_CASE(a_runs_core_comes_out_the_same_with_its_own_numbers) {
  InteractionsConfig config = config_of(text_of(random_rows(21, 2000, 80, 120, 1000)));
  config.min_item_events = 6;
  config.min_user_events = 6;
  config.repeats = "in_a_row";
  const Interactions first = load_interactions(config, 1);
  BOOST_TEST(says(first, "as users or items have too few"));
  BOOST_TEST(load_interactions(config, 1, first.users.get(), first.items.get()).checksum == first.checksum);
}

namespace {

/// Of ann's events the last is of an item that nobody else has, of bob's the last two; r is in training once.
InteractionsConfig rare_config() {
  InteractionsConfig config =
      config_of("user,item\nann,a\nann,b\nann,a\nann,b\nann,x\nbob,a\nbob,r\nbob,b\nbob,y\nbob,z\n", "rare.csv");
  config.unknown_buckets = 2;
  config.min_item_events = 2;
  return config;
}

}  // namespace

BOOST_AUTO_TEST_CASE(rare_items_and_those_that_training_never_sees_share_rows) {
  const InteractionsConfig config = rare_config();
  const Interactions data = load_interactions(config, 1);
  BOOST_TEST(data.items->size() == 4);
  BOOST_TEST(data.items->buckets() == 2);
  const auto row = [&](const char* name) { return std::string(data.items->name(data.items->row_of(name))); };
  BOOST_TEST(row("a") == "a");
  BOOST_TEST((shown(data) == Strings{fmt::format("ann: a b a b/v {}/t", row("x")),
                                     fmt::format("bob: a {} b {}/v {}/t", row("r"), row("y"), row("z"))}));
  BOOST_TEST(data.items->count(0) + data.items->count(1) == 4);
  BOOST_TEST(data.items->count(data.items->find("b")) == 3);
  BOOST_TEST(says(data,
                  "2 items have a row of their own; 4 others share 2 rows (data.unknown_buckets), with 1 events of training, "
                  "1 of validation, 2 of test"));
  BOOST_TEST(says(data, "of those of test, 2 are of items that training never sees"));
  BOOST_TEST(!says(data, "nothing is learnt there"));
  BOOST_TEST(load_interactions(config, 1).checksum == data.checksum);
  InteractionsConfig other = config;
  other.unknown_buckets = 3;
  BOOST_TEST(load_interactions(other, 1).checksum != data.checksum);
}

BOOST_AUTO_TEST_CASE(a_runs_buckets_take_what_is_new) {
  InteractionsConfig config = rare_config();
  const Interactions first = load_interactions(config, 1);
  BOOST_TEST(load_interactions(config, 1, first.users.get(), first.items.get()).checksum == first.checksum);
  config.path = table_folder().write("later.csv", "user,item\neve,b\neve,oven\neve,r\neve,r\neve,a\n").string();
  config.split = "none";
  const Interactions data = load_interactions(config, 1, first.users.get(), first.items.get());
  const auto row = [&](const char* name) { return std::string(first.items->name(first.items->row_of(name))); };
  BOOST_TEST((shown(data) == Strings{"ann:", "bob:", fmt::format("eve: b {} {} {} a", row("oven"), row("r"), row("r"))}));
  BOOST_TEST(data.items->checksum() == first.items->checksum());
  config.unknown_buckets = 0;
  check_throws<ConfigError>([&] { load_interactions(config, 1, first.users.get(), first.items.get()); },
                            {"data.unknown_buckets = 0", "has 2 rows", "Set it to 2"});
}

BOOST_AUTO_TEST_CASE(buckets_change_neither_the_users_nor_the_split) {
  InteractionsConfig config = config_of(text_of(random_rows(22, 2000, 80, 120, 1000)));
  config.time_key = "time";
  config.split = "ratio";
  config.min_user_events = 5;
  const Interactions without = load_interactions(config, 4);
  config.unknown_buckets = 7;
  config.min_item_events = 10;
  const Interactions data = load_interactions(config, 4);
  BOOST_TEST((data.part == without.part));
  BOOST_TEST(data.users->checksum() == without.users->checksum());
  std::vector<std::int64_t> trained(static_cast<std::size_t>(without.items->size()));
  for (std::size_t i = 0; i < without.item.size(); ++i)
    if (without.part[i] == Part::kTrain) ++trained[static_cast<std::size_t>(without.item[i])];
  for (std::size_t i = 0; i < data.item.size(); ++i) {
    const std::string_view name = without.items->name(without.item[i]);
    BOOST_REQUIRE(data.item[i] == data.items->row_of(name));
    BOOST_REQUIRE(data.items->is_bucket(data.item[i]) == (trained[static_cast<std::size_t>(without.item[i])] < 10));
  }
}

BOOST_AUTO_TEST_CASE(buckets_that_learn_nothing_are_told_and_only_buckets_refused) {
  InteractionsConfig config = rare_config();
  config.min_item_events = 0;
  BOOST_TEST(says(load_interactions(config, 1), "nothing is learnt there: raise data.min_item_events to 2 or more"));
  config.min_item_events = 100;
  check_throws<DataError>([&] { load_interactions(config, 1); },
                          {"no item has the 100 training events", "data.min_item_events"});
}

BOOST_AUTO_TEST_CASE(what_is_left_out_is_counted_and_said) {
  InteractionsConfig config =
      config_of("user,item,kind,stars\nann,a,view,5\nann,b,cart,5\nann,c,cart,5\nann,d,view,1\nann,e,back,5\nann,f,view,4\n");
  config.event_key = "kind";
  config.events = "view,buy";
  config.rating_key = "stars";
  config.min_rating = 2;
  const Interactions data = load_interactions(config, 1);
  BOOST_TEST((shown(data) == Strings{"ann: a f"}));
  BOOST_TEST(says(data, "data.events does not name them: 2 \"cart\", 1 \"back\""));
  BOOST_TEST(says(data, "no row has the kind \"buy\""));
  BOOST_TEST(says(data, "below data.min_rating: 1"));
}

BOOST_AUTO_TEST_CASE(data_that_cannot_be_learnt_from_is_refused_with_the_reason) {
  check_throws<DataError>([] { load_interactions(config_of("user,item\nu,soap\n"), 1); },
                          {"1 event of one item, \"soap\"", "several items"});
  check_throws<DataError>([] { load_interactions(config_of("user,item\nu,soap\nv,soap\n"), 1); }, {"2 events of one item"});
  check_throws<DataError>([] { load_interactions(config_of("user,item\n"), 1); },
                          {"no events to learn from. No row of it could be read"});
  InteractionsConfig kinds = config_of("user,item,kind\nu,a,View\nu,b,Buy\n");
  kinds.event_key = "kind";
  kinds.events = "view";
  check_throws<DataError>(
      [&] { load_interactions(kinds, 1); },
      {"no events to learn from. Rows: 2", "data.events = \"view\" does not name: 2", "some of: View, Buy"});
  InteractionsConfig ratings = config_of("user,item,stars\nu,a,1\nu,b,2\n");
  ratings.rating_key = "stars";
  ratings.min_rating = 4;
  check_throws<DataError>([&] { load_interactions(ratings, 1); }, {"rated below data.min_rating = 4: 2"});
}

BOOST_AUTO_TEST_CASE(public_data_sets_have_the_counts_that_are_published) {
  if (const std::string path = shared("ml-1m/ml-1m.txt.gz"); !path.empty()) {
    InteractionsConfig config;
    config.path = path;
    config.format = "spaces";
    config.columns = "user item";
    const Interactions data = load_interactions(config, 1);
    check_counts(data, 6040, 3416, 999'607);
    BOOST_TEST((parts_of(data) == std::array<std::int64_t, 3>{999'607 - 2 * 6040, 6040, 6040}));
    const std::int32_t user = data.users->find("1");
    BOOST_TEST(data.items->name(data.items_of(user)[0]) == "1");
    BOOST_TEST(data.items->name(data.items_of(user)[2]) == "3");
  }
  if (const std::string path = shared("beauty-bert4rec.txt.gz"); !path.empty()) {
    InteractionsConfig config;
    config.path = path;
    config.format = "spaces";
    config.columns = "user item";
    const Interactions data = load_interactions(config, 1);
    check_counts(data, 40'226, 54'542, 353'962);
    BOOST_TEST(says(data, "of those of test, 4,018 are of items that training never sees"));
  }
  if (const std::string path = shared("beauty-5core/Beauty.txt"); !path.empty()) {
    InteractionsConfig config;
    config.path = path;
    config.format = "sequences";
    const Interactions data = load_interactions(config, 1);
    check_counts(data, 22'363, 12'101, 198'502);
    config.min_user_events = config.min_item_events = 5;  // it is a 5-core already
    BOOST_TEST(load_interactions(config, 1).checksum == data.checksum);
  }
  if (const std::string path = shared("ml-100k/ml-100k.inter.gz"); !path.empty()) {
    InteractionsConfig config;
    config.path = path;
    config.user_key = "user_id";
    config.item_key = "item_id";
    config.time_key = "timestamp:float";
    config.split = "ratio";
    const Interactions data = load_interactions(config, 1);
    check_counts(data, 943, 1682, 100'000);
    std::int64_t held_out = 0;
    for (std::size_t u = 0; u < 943; ++u) held_out += (data.offsets[u + 1] - data.offsets[u]) / 10;
    BOOST_TEST((parts_of(data) == std::array<std::int64_t, 3>{100'000 - 2 * held_out, held_out, held_out}));
    BOOST_TEST(says(data, "1997-09-20 03:05:10 to 1998-04-22 23:10:38"));
  }
}
