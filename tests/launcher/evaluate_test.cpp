// What `evaluate` says of a recommender beside its ranking: lists, slices, labelled pairs; and what it refuses.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launcher/evaluate_pairs.h"
#include "launcher/ranking_slices.h"
#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRecipe = R"([run]
directory = "run"
[data]
path = "events.csv"
time_key = "time"
event_key = "kind"
events = "view"
[model]
name = "sasrec"
channels = 8
context = 8
[train]
steps = 8
batch = 16
[evaluate]
every = 4
cutoff = 5
cold_items = 8
short_history = 4
[runtime]
threads = 1
)";

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, ',');) out.push_back(field);
  return out;
}

constexpr int kUsers = 40, kItems = 24;

/// Customer u views items one after the other; a purchase at the same time is no event of the recipe's kinds.
struct Shop {
  Shop() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    std::string text = "user,item,time,kind,device\n";
    for (int u = 0; u < kUsers; ++u)
      for (int e = 0; e < 4 + u % 4; ++e) {
        const std::string row = fmt::format("u{},i{},{}", u, (u * u + e * (1 + u % 3)) % kItems, 1700000000 + e * 100 + u);
        text += fmt::format("{0},buy,till\n{0},view,{1}\n", row, (u / 4 + e) % 2 == 0 ? "phone" : "desk");
      }
    folder.write("events.csv", text);
    text = "item,category,price,\"long, name\"\n";
    for (int i = 1; i < kItems; ++i)  // not i0
      text += fmt::format("i{},{},{},x\n", i, i % 5 == 0 ? "" : i % 2 == 0 ? "shoes" : "hats", i * 1.5);
    folder.write("items.csv", text);
    text = "user,country\n";
    for (int u = 0; u < kUsers; ++u) text += fmt::format("u{},{}\n", u, u % 3 == 0 ? "NL" : "BE");
    folder.write("users.csv", text);
    folder.write("shop.toml", kRecipe);
    good({"train", "shop.toml"});
  }
  Outcome tradewind(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), TRADEWIND_BINARY);
    return Command(arguments, folder.path()).wait();
  }
  Outcome good(const std::vector<std::string>& arguments) const {
    Outcome o = tradewind(arguments);
    BOOST_REQUIRE_MESSAGE(o.code == 0, arguments[0] << ": " << o);
    return o;
  }
  json evaluated(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"evaluate", "run", "--json"});
    return json::parse(good(arguments).output);
  }
  void refused(std::vector<std::string> arguments, int code, const std::vector<std::string>& parts) const {
    arguments.insert(arguments.begin(), {"evaluate", "run"});
    const Outcome o = tradewind(arguments);
    for (const auto& part : parts)
      BOOST_CHECK_MESSAGE(o.code == code && holds(o.errors, part), "want " << code << " and \"" << part << "\": " << o);
  }
  TemporaryFolder folder;
};

const Shop& shop() {
  static const Shop kOne;
  return kOne;
}

std::string text(const json& value) { return value.get<std::string>(); }

void near(const std::string& what, double value, double wanted, double tolerance) {
  BOOST_CHECK_MESSAGE(std::abs(value - wanted) <= tolerance, what << " is " << value << ", not " << wanted);
}

}  // namespace

BOOST_AUTO_TEST_CASE(lists_are_measured_beside_the_ranking) {
  const Shop& s = shop();
  const json e = s.evaluated({"--category", "items.csv:category"});
  for (const char* name : {"ndcg@5", "hr@5", "mrr", "coverage@5", "gini@5", "entropy@5", "novelty@5", "intra_list_diversity@5",
                           "category_diversity@5"})
    for (const json& of : {e, e.at("popularity")})
      BOOST_CHECK_MESSAGE(of.contains(name) && std::isfinite(of.at(name).get<double>()), name << " in " << e);
  BOOST_CHECK(e.at("coverage@5").get<double>() > e.at("popularity").at("coverage@5").get<double>());
  BOOST_CHECK(e.at("novelty@5").get<double>() > e.at("popularity").at("novelty@5").get<double>());
  BOOST_CHECK(!s.evaluated({}).contains("category_diversity@5"));
  const std::string printed = s.good({"evaluate", "run"}).output;
  BOOST_CHECK_MESSAGE(holds(printed, "intra_list_diversity@5") && holds(printed, "40 events of the test part"), printed);
}

BOOST_AUTO_TEST_CASE(both_rules_of_seen_items_stand_side_by_side) {
  const Shop& s = shop();
  const json both = s.evaluated({"--seen-items", "both"}), out = s.evaluated({}), keep = s.evaluated({"--seen-items", "keep"});
  BOOST_CHECK(keep.at("seen_items") == "keep" && both.at("seen_items") == "leave_out" && !out.contains("by_seen_items"));
  const auto ranking_of = [](const json& of) {
    json ranking = json::object();
    for (const char* name : {"ndcg@5", "hr@5", "mrr", "recall@5", "precision@5", "map@5", "mrr@5", "coverage@5", "gini@5",
                             "entropy@5", "novelty@5", "intra_list_diversity@5"})
      ranking[name] = of.at(name);
    return ranking;
  };
  for (const auto& [rule, alone] : {std::pair{"leave_out", out}, {"keep", keep}}) {
    json expected = ranking_of(alone);
    expected["popularity"] = ranking_of(alone.at("popularity"));
    BOOST_TEST(both.at("by_seen_items").at(rule) == expected);
  }
  BOOST_TEST(ranking_of(keep) != ranking_of(out));
  for (const auto& [name, value] : out.items())
    if (name != "seconds") BOOST_TEST(both.at(name) == value, name);
  const std::string printed = s.good({"evaluate", "run", "--seen-items", "both"}).output;
  const auto shown = lines(printed);
  const auto line_of = [&](const std::string& begin) {
    const auto found = std::ranges::find_if(shown, [&](const std::string& line) { return line.starts_with(begin); });
    BOOST_REQUIRE_MESSAGE(found != shown.end(), begin << " begins no line of " << printed);
    return *found;
  };
  BOOST_CHECK_MESSAGE(holds(printed, "seen items left out    seen items kept\n"), printed);
  BOOST_CHECK_MESSAGE(holds(printed, "items less those that the user had before\nand, on the right, among 22 items"), printed);
  for (const char* name : {"ndcg@5", "coverage@5"}) {
    std::istringstream row(line_of(name));
    std::string metric, field;
    row >> metric;
    for (const json& of : {out, out.at("popularity"), keep, keep.at("popularity")}) {
      row >> field;
      BOOST_CHECK_EQUAL(field, fmt::format("{:.4f}", of.at(name).get<double>()));
    }
  }
  // The report has both from the run.
  s.good({"report", "run", "--to", "both.html"});
  const std::string page = text_of(s.folder.path() / "both.html");
  BOOST_CHECK(holds(page, "popularity, seen items kept"));
  BOOST_CHECK(holds(page, fmt::format("<td>{:.4f}</td></tr>", keep.at("popularity").at("ndcg@5").get<double>())));
  s.refused({"--seen-items", "some"}, 2, {"leave_out, keep or both"});
  s.refused({"--seen-items", "both", "--pairs", "users.csv", "--label", "country"}, 2, {"does not go with --pairs"});
}

BOOST_AUTO_TEST_CASE(a_file_of_users_that_cannot_be_written_leaves_nothing) {
  const Shop& s = shop();
  fs::create_directory(s.folder.path() / "each");
  s.refused({"--per-user", "each"}, 2, {"--per-user each is a directory; give the name of a file"});
  s.refused({"--per-user", "nowhere/each.csv"}, 2, {"--per-user nowhere/each.csv: there is no directory nowhere"});
  for (const auto& entry : fs::directory_iterator(s.folder.path()))
    BOOST_CHECK_MESSAGE(!entry.path().filename().string().starts_with(".unfinished"), entry.path());
}

// Every slice against the users' own metrics.
BOOST_AUTO_TEST_CASE(slices_are_means_of_their_users) {
  const Shop& s = shop();
  const std::vector<std::string> names = {
      "cold-items", "history", "item:items.csv:category", "item:items.csv:price", "user:users.csv:country", "event:device"};
  std::vector<std::string> arguments = {"--per-user", "each.csv"};
  for (const auto& name : names) arguments.insert(arguments.end(), {"--slice", name});
  const json e = s.evaluated(arguments);
  const auto rows = lines(text_of(s.folder.path() / "each.csv"));
  BOOST_REQUIRE_EQUAL(rows.size(), std::size_t{kUsers} + 1);
  const auto head = fields(rows[0]);
  for (const auto& name : names) {
    const auto column = std::ranges::find(head, "slice " + name) - head.begin();
    BOOST_REQUIRE_LT(column, std::ssize(head));
    std::map<std::string, std::pair<double, int>> ndcg;
    for (std::size_t r = 1; r < rows.size(); ++r) {
      const auto row = fields(rows[r]);
      auto& [sum, n] = ndcg[row[static_cast<std::size_t>(column)]];
      sum += std::stod(row[1]);
      ++n;
    }
    const json& values = e.at("slices").at(name);
    BOOST_REQUIRE_MESSAGE(values.size() == ndcg.size() && values.size() > 1, name << ": " << values);
    for (const json& value : values) {
      const auto& [sum, n] = ndcg.at(text(value.at("value")));
      BOOST_TEST(value.at("users") == n);
      BOOST_TEST(value.at("targets") == n);
      near(name, value.at("ndcg@5").get<double>(), sum / n, 1e-8);
      BOOST_CHECK(value.at("popularity").contains("ndcg@5"));
    }
  }
  // By what the files say: u3 is from NL; its last view, the seventh, was on the phone or not; its item is in a category.
  const auto of = [&](const std::string& user, const std::string& name) {
    for (const auto& row : rows)
      if (row.starts_with(user + ","))
        return fields(row)[static_cast<std::size_t>(std::ranges::find(head, "slice " + name) - head.begin())];
    return std::string("?");
  };
  for (int u = 0; u < kUsers; ++u) {
    const std::string user = fmt::format("u{}", u);
    const int last = 3 + u % 4, item = (u * u + last * (1 + u % 3)) % kItems;
    BOOST_TEST(of(user, "user:users.csv:country") == (u % 3 == 0 ? "NL" : "BE"));
    BOOST_TEST(of(user, "event:device") == ((u / 4 + last) % 2 == 0 ? "phone" : "desk"));
    BOOST_TEST(of(user, "item:items.csv:category") == (item % 5 == 0 ? "(none)" : item % 2 == 0 ? "shoes" : "hats"));
    BOOST_TEST(of(user, "history") == (last < 4 ? "1 to 3 events before" : "4 or more events before"));
  }
  BOOST_CHECK(holds(rows[0], ",slice item:items.csv:price"));
  // The table of users can be compared, the slices are passed over.
  s.good({"compare", "each.csv", "each.csv"});
  const std::string printed = s.good({"evaluate", "run", "--slice", "user:users.csv:country", "--part", "validation"}).output;
  BOOST_CHECK_MESSAGE(holds(printed, "by user:users.csv:country") && holds(printed, "popularity ndcg@5"), printed);
}

BOOST_AUTO_TEST_CASE(slices_that_are_none_are_refused_with_what_may_be_meant) {
  const Shop& s = shop();
  s.refused({"--slice", "item:items.csv:categroy"}, 3, {"items.csv:1", "did you mean \"category\"", "item, category, price"});
  s.refused({"--slice", "user:users.csv:land"}, 3, {"no column \"land\"", "country"});
  s.refused({"--slice", "event:devise"}, 3, {"did you mean \"device\""});
  s.refused({"--slice", "user:items.csv:category"}, 3, {"no column \"user\""});
  s.refused({"--slice", "history", "--slice", "history"}, 2, {"--slice history is given twice"});
  s.refused({"--slice", "cold-item"}, 2, {"did you mean \"cold-items\""});
  s.refused({"--slice", "items:items.csv:category"}, 2, {"did you mean \"item:\""});
  s.refused({"--slice", "item:items.csv"}, 2, {"the table and its column are missing"});
  s.refused({"--slice", "item:nowhere.csv:category"}, 3, {"nowhere.csv"});
  s.refused({"--category", "category"}, 2, {"items.csv:category"});
  s.refused({"--category", "items.dat:category"}, 2, {"--category items.dat: the name does not tell", ".csv, .tsv, .jsonl"});
  s.folder.write("twice.csv", "item,category\ni1,hats\ni2,shoes\ni1,shoes\n");
  s.refused({"--slice", "item:twice.csv:category"}, 3, {"twice.csv:4:4", "\"i1\" had \"hats\""});
}

BOOST_AUTO_TEST_CASE(columns_of_many_values_become_few) {
  using Rows = std::vector<std::optional<std::string>>;
  const auto few = launcher::grouped(Rows{"b", "a", "b", "", std::nullopt});
  BOOST_TEST((few.values == std::vector<std::string>{"b", "a", "(other)", "(none)"}));
  BOOST_TEST((few.of == std::vector<std::int32_t>{0, 1, 0, 3, 3}));
  Rows numbers, texts;
  for (int i = 0; i < 40; ++i) {
    numbers.emplace_back(fmt::format("{}", i));
    for (int n = 0; n <= i % 30; ++n) texts.emplace_back(fmt::format("t{}", i % 30));
  }
  numbers.emplace_back();
  const auto parts = launcher::grouped(numbers);
  BOOST_TEST((parts.values == std::vector<std::string>{"up to 9", "above 9 to 19", "above 19 to 29", "above 29", "(none)"}));
  for (std::int32_t g = 0; g < 4; ++g) BOOST_TEST(std::ranges::count(parts.of, g) == 10);
  const auto top = launcher::grouped(texts);
  BOOST_TEST(top.values.size() == 21U);
  BOOST_TEST(top.values[0] == "t29");
  BOOST_TEST(std::ranges::count(top.of, 19) > 0);  // (other)
}

BOOST_AUTO_TEST_CASE(labels_are_nought_and_one) {
  for (const char* one : {"1", "true", "TRUE", "1.0"}) BOOST_TEST(launcher::label_of(one).value() == 1);
  for (const char* nought : {"0", "False", "0.0"}) BOOST_TEST(launcher::label_of(nought).value() == 0);
  for (const char* none : {"", "nan", "NaN", "2", "yes", "0x", "-1", "0.5"}) BOOST_CHECK(!launcher::label_of(none));
}

// AUC and GAUC by every pair, from the scores that `predict` gives of whole histories.
BOOST_AUTO_TEST_CASE(pairs_are_told_apart_as_their_scores_say) {
  const Shop& s = shop();
  std::string table = "user,item,clicked,when\n";
  for (int u = 0; u < 20; ++u)
    for (int i = 0; i < 7; ++i)
      table += fmt::format("u{},i{},{},2030-01-01\n", u, (3 * u + 2 * i) % kItems, (u * i + i) % 3 == 0 ? 1 : 0);
  table += "nobody,i1,1,2030-01-01\nu1,nothing,0,2030-01-01\n";
  s.folder.write("impressions.csv", table);
  const json e = s.evaluated({"--pairs", "impressions.csv", "--label", "clicked", "--time", "when"});
  const auto scored = lines(s.good({"predict", "run", "--pairs", "impressions.csv"}).output), rows = lines(table);
  struct Row {
    std::string user;
    bool clicked;
    double score;
  };
  std::vector<Row> known;
  for (std::size_t i = 1; i < rows.size(); ++i)
    if (!scored[i].ends_with(","))
      known.push_back({fields(rows[i])[0], fields(rows[i])[2] == "1", std::stod(fields(scored[i])[2])});
  const auto auc_of = [](const std::vector<Row>& some) {
    double wins = 0, pairs = 0;
    for (const Row& a : some)
      for (const Row& b : some)
        if (a.clicked && !b.clicked) wins += a.score > b.score ? 1 : a.score == b.score ? 0.5 : 0, pairs += 1;
    return pairs > 0 ? wins / pairs : NAN;
  };
  std::map<std::string, std::vector<Row>> by_user;
  double loss = 0, weighted = 0, weights = 0;
  for (const Row& row : known) {
    by_user[row.user].push_back(row);
    loss += std::log1p(std::exp(row.clicked ? -row.score : row.score)) / static_cast<double>(known.size());
  }
  for (const auto& [user, some] : by_user) {
    if (!std::isfinite(auc_of(some))) continue;
    weighted += auc_of(some) * static_cast<double>(some.size());
    weights += static_cast<double>(some.size());
  }
  near("auc", e.at("auc").get<double>(), auc_of(known), 1e-3);
  near("gauc", e.at("gauc").get<double>(), weighted / weights, 1e-3);
  near("log loss", e.at("log_loss").get<double>(), loss, 1e-4);
  BOOST_TEST(known.size() > 100U);
  BOOST_TEST(e.at("rows") == known.size());
  BOOST_TEST(e.at("left_out") == 142 - known.size());
  BOOST_TEST(e.at("users") == 20);
  BOOST_CHECK(e.at("popularity").at("auc").is_number() && e.at("history") == "before when");
  const std::string printed = s.good({"evaluate", "run", "--pairs", "impressions.csv", "--label", "clicked"}).output;
  for (const char* part : {" pairs of 20 users", " of 142 pairs are left out", "gauc", "before the test part"})
    BOOST_CHECK_MESSAGE(holds(printed, part), printed);
}

// Before its first event a user has no history; what came later is not looked at.
BOOST_AUTO_TEST_CASE(a_pairs_history_ends_before_its_time) {
  const Shop& s = shop();
  const auto at = [&](const std::string& time) {
    s.folder.write("timed.csv",
                   fmt::format("user,item,label,t\nu4,i1,1,{0}\nu4,i2,0,{0}\nu9,i1,1,1800000000\nu9,i2,0,1800000000\n", time));
    return s.evaluated({"--pairs", "timed.csv", "--label", "label", "--time", "t"});
  };
  BOOST_TEST(at("1700000004").at("rows") == 2);  // u4's first view is at that moment
  BOOST_TEST(at("1700000005").at("rows") == 4);
  BOOST_CHECK(at("1700000005").at("log_loss") != at("1700000400").at("log_loss"));
}

// A model that reads when it is asked is asked at the pair's time, or at the newest event's as `predict` does.
BOOST_AUTO_TEST_CASE(pairs_have_their_times) {
  const Shop& s = shop();
  s.good({"train", "shop.toml", "--set", "run.directory=timed", "--set", "model.name=hstu", "--set", "model.times=true",
          "--set", "model.request_time=true", "--set", "train.steps=30", "--set", "model.init_deviation=0.5"});
  const auto loss_at = [&](const std::string& file, const std::string& time, const std::vector<std::string>& more) {
    s.folder.write(file, fmt::format("user,item,label,t\nu4,i1,1,{0}\nu4,i2,0,{0}\nu9,i1,0,{0}\n", time));
    std::vector<std::string> arguments = {"evaluate", "timed", "--json", "--pairs", file, "--label", "label"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return json::parse(s.good(arguments).output).at("log_loss").get<double>();
  };
  const std::vector<std::string> timed = {"--time", "t"};
  const double soon = loss_at("asked.csv", "1700001000", timed), late = loss_at("asked.csv", "1900000000", timed);
  BOOST_CHECK_MESSAGE(std::abs(soon - late) > 1e-4, soon << " and " << late);
  BOOST_CHECK(std::isfinite(loss_at("asked.csv", "0", {})));
  // The newest event of all is u39's seventh, at that second: what `predict` gives then is what is measured then.
  const double now = loss_at("asked.csv", fmt::format("{}", 1700000000 + 600 + 39), timed);
  double expected = 0;
  const auto rows = lines(s.good({"predict", "timed", "--pairs", "asked.csv"}).output);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const double score = std::stod(fields(rows[i])[2]);
    expected += std::log1p(std::exp(i == 1 ? -score : score)) / 3;
  }
  near("log loss", now, expected, 1e-4);
}

BOOST_AUTO_TEST_CASE(pairs_that_say_nothing_are_refused) {
  const Shop& s = shop();
  const auto refused = [&](const std::string& table, int code, const std::vector<std::string>& parts,
                           std::vector<std::string> more = {}) {
    s.folder.write("bad.csv", table);
    more.insert(more.begin(), {"--pairs", "bad.csv", "--label", "clicked"});
    s.refused(more, code, parts);
  };
  refused("user,item,clicked\nu1,i1,1\nu1,i2,nan\n", 3, {"bad.csv:3:7", "\"nan\" is neither 0 nor 1", "leave out rows"});
  refused("user,item,clicked\nu1,i1,1\nu1,i2,\n", 3, {"bad.csv:3", "\"\" is neither 0 nor 1"});
  refused("user,item,clicked\nu1,,1\n", 3, {"bad.csv:2:4", "the id is empty"});
  refused("user,item,click\nu1,i1,1\n", 3, {"no column \"clicked\"", "did you mean \"click\""});
  refused("user,item,clicked\nu1,nothing,1\n", 3, {"none of its 1 pairs"});
  refused("user,item,clicked,t\nu1,i1,1,soon\n", 3, {"bad.csv:2:9", "soon"}, {"--time", "t"});
  refused("user,item,clicked\nu1,i1,1\n", 2, {"do not go with --pairs"}, {"--slice", "cold-items"});
  s.refused({"--pairs", "bad.csv"}, 2, {"--label is missing"});
  s.refused({"--label", "clicked"}, 2, {"go with --pairs"});
}

BOOST_AUTO_TEST_CASE(the_report_shows_what_was_evaluated) {
  const Shop& s = shop();
  s.good({"evaluate", "run", "--slice", "item:items.csv:category"});
  s.good({"report", "run", "--to", "page.html"});
  const std::string page = text_of(s.folder.path() / "page.html");
  for (const char* part : {">Ranking<", "popularity", "intra_list_diversity@5", "by item:items.csv:category", "Best ndcg@5"})
    BOOST_CHECK_MESSAGE(holds(page, part), part);
  BOOST_CHECK(holds(s.good({"compare", "run", "run"}).output, "ndcg@5 0."));
  BOOST_CHECK(holds(s.good({"inspect", "run"}).output, "best ndcg@5"));
}

}  // namespace tradewind::tests
