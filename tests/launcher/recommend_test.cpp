// A recommender from a shop's log to recommendations, as a person runs it: train, evaluate, recommend, similar, export.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "tests/support/event_shop.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

using Shop = EventShop;

}  // namespace

// C-1 ends with an item that nobody else has, and three customers begin with an item of their own.
BOOST_FIXTURE_TEST_CASE(items_without_a_row_of_their_own_are_read_and_never_recommended, Shop) {
  std::string text = text_of(folder.path() / "events.csv") + "C-1,NEW,1800000000\n";
  for (const int c : {2, 3, 4}) text += "C-" + std::to_string(c) + ",RARE-" + std::to_string(c) + ",1600000000\n";
  folder.write("events.csv", text);
  const Outcome trained = good({"train", "shop.toml", "--set", "data.unknown_buckets=2", "--set", "data.min_item_events=2"});
  for (const char* part :
       {"40 items have a row of their own; 4 others share 2 rows", "3 events of training, 0 of validation, 1 of"})
    BOOST_CHECK_MESSAGE(holds(trained.output, part), part << " is not in " << trained);
  BOOST_TEST(evaluated("run").at("targets").get<int>() == 60);

  const auto rows = lines(good({"recommend", "run", "--user", "C-2", "--top", "100", "--keep-seen"}).output);
  BOOST_TEST(rows.size() == 41U);
  const auto popular = lines(good({"recommend", "run", "--user", "C-777", "--top", "100"}).output);
  BOOST_TEST(popular.size() == 41U);
  for (const auto& row : rows) BOOST_CHECK_MESSAGE(!holds(row, "unknown"), row);
  for (const auto& row : popular) BOOST_CHECK_MESSAGE(!holds(row, "unknown"), row);
  const auto like = nlohmann::json::parse(good({"similar", "run", "--item", "SKU-8", "--top", "100", "--json"}).output);
  BOOST_TEST(like.at("similar").size() == 39U);

  // Histories of items first met now, and scores of such.
  folder.write("later.csv", "customer,sku,when\nC-900,BRAND-NEW,1\nC-900,SKU-9,2\nC-901,SKU-9,2\nC-901,SKU-8,1\n");
  const Outcome later = good({"recommend", "run", "--user", "C-900", "--top", "3", "--set", "data.path=later.csv"});
  BOOST_TEST(lines(later.output).size() == 4U);
  BOOST_CHECK_MESSAGE(!holds(later.errors, "no history"), later);
  folder.write("pairs.csv", "customer,sku\nC-1,SKU-8\nC-1,BRAND-NEW\n");
  const Outcome scored = good({"predict", "run", "--pairs", "pairs.csv"});
  BOOST_CHECK_MESSAGE(!lines(scored.output)[2].ends_with(","), scored);
  refused({"recommend", "run", "--user", "C-1", "--set", "data.unknown_buckets=0"}, 2, "data.unknown_buckets");
}

BOOST_FIXTURE_TEST_CASE(a_log_becomes_recommendations_in_the_shops_own_ids, Shop) {
  const Outcome trained = good({"train", "shop.toml", "--set", "train.steps=200"});
  for (const char* part :
       {"60 users with 40 items", "users' histories of up to 10 items", "samples/s", "ndcg@10", "tradewind recommend run"})
    BOOST_CHECK_MESSAGE(holds(trained.output, part), part << " is not in " << trained);
  BOOST_CHECK(holds(text_of(folder.path() / "run" / "metrics.jsonl"), "samples_per_second"));

  const auto e = evaluated("run");
  BOOST_CHECK_MESSAGE(
      e.at("hr@10").get<double>() > 0.95 && e.at("ndcg@10").get<double>() > 0.8 && e.at("mrr").get<double>() > 0.7, e);
  BOOST_TEST(e.at("targets").get<int>() == 60);
  good({"evaluate", "run", "--part", "validation", "--per-user", "each.csv"});
  const auto each = lines(text_of(folder.path() / "each.csv"));
  BOOST_REQUIRE_EQUAL(each.size(), 61U);
  BOOST_CHECK_EQUAL(each[0], "user,ndcg@10,hr@10,mrr,recall@10,precision@10,map@10,mrr@10");

  // Among a few sampled items it is another measure, and says so.
  BOOST_TEST(e.at("ranked_among") == "all");
  const std::vector<std::string> sampled = {"evaluate", "run", "--part", "validation", "--set", "evaluate.candidates=20"};
  const auto with = [](std::vector<std::string> arguments, const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const auto few = nlohmann::json::parse(good(with(sampled, {"--json", "--per-user", "sampled.csv"})).output);
  BOOST_CHECK(few.at("ranked_among") == "sampled" && few.at("sampled_candidates") == 20 &&
              few.at("popularity").contains("hr@10"));
  BOOST_CHECK(holds(good(sampled).output, "20 SAMPLED items"));
  refused({"compare", "each.csv", "sampled.csv"}, 3, "other metrics");

  // The same model twice is no difference; one of fewer steps is compared user by user.
  good({"evaluate", "run", "--part", "validation", "--checkpoint", "140", "--per-user", "early.csv"});
  const auto same =
      nlohmann::json::parse(good({"compare", "each.csv", "each.csv", "--json"}).output).at("metrics").at("ndcg@10");
  BOOST_CHECK(same.at("difference") == 0.0 && same.at("p") == 1.0);
  const auto gain = nlohmann::json::parse(good({"compare", "early.csv", "each.csv", "--json"}).output);
  BOOST_CHECK(gain.at("users") == 60 &&
              gain["metrics"]["mrr"]["low"].get<double>() <= gain["metrics"]["mrr"]["difference"].get<double>());
  BOOST_CHECK(holds(good({"compare", "early.csv", "each.csv"}).output, "B - A"));
  folder.write("fewer.csv", each[0] + "\n" + each[1] + "\n");
  refused({"compare", "each.csv", "fewer.csv"}, 3, "other users (60 and 1");
  refused({"compare", "each.csv", "events.csv"}, 3, "--per-user");

  // C-9 has seen SKU-23 to SKU-32; what follows is 33.
  const auto rows = lines(good({"recommend", "run", "--user", "C-9", "--top", "3"}).output);
  BOOST_REQUIRE_EQUAL(rows.size(), 4U);
  BOOST_CHECK_EQUAL(rows[0], "user,rank,item,score");
  BOOST_CHECK_MESSAGE(rows[1].starts_with("C-9,1,SKU-33,"), rows[1]);

  folder.write("names.csv", "sku,title\nSKU-33,\"Tea towel, linen\"\nSKU-32,Cup\n");
  const auto shown =
      good({"recommend", "run", "--user", "C-9", "--top", "1", "--format", "text", "--titles", "names.csv"}).output;
  BOOST_CHECK_EQUAL(shown,
                    "C-9\n  had 5 items, then\n      SKU-28\n      SKU-29\n      SKU-30\n      SKU-31\n      SKU-32  Cup\n   "
                    "1. SKU-33  Tea towel, linen\n");

  folder.write("users.csv", "name,customer\nsomebody,C-1\nnobody,C-777\n");
  folder.write("stock.csv", "sku\nSKU-8\n\"SKU \"\"3\"\", blue\"\nSKU-999\n");
  const Outcome some =
      good({"recommend", "run", "--users", "users.csv", "--allow", "stock.csv", "--format", "jsonl", "--keep-seen"});
  const auto answers = lines(some.output);
  BOOST_REQUIRE_EQUAL(answers.size(), 2U);
  for (const auto& answer : answers) {
    std::vector<std::string> items;
    const auto parsed = nlohmann::json::parse(answer);
    for (const auto& i : parsed.at("items")) items.push_back(i.at("item"));
    std::ranges::sort(items);
    BOOST_TEST(items == (std::vector<std::string>{"SKU \"3\", blue", "SKU-8"}));
  }
  BOOST_TEST(nlohmann::json::parse(answers[1]).at("known") == false);
  for (const char* part : {"1 of 2 users have no history", "most popular", "1 items of stock.csv are not known"})
    BOOST_CHECK_MESSAGE(holds(some.errors, part), some);
  BOOST_TEST(lines(good({"recommend", "run", "--user", "C-777", "--unknown", "skip"}).output).size() == 1U);
  refused({"recommend", "run", "--user", "C-777", "--unknown", "error"}, 3, "C-777");

  // The same scores as recommend's, whoever else is asked for.
  folder.write("pairs.csv", "customer,sku\nC-1,SKU-8\nC-9,SKU-33\nC-777,SKU-1\nC-9,\"SKU \"\"3\"\", blue\"\n");
  const Outcome predicted = good({"predict", "run", "--pairs", "pairs.csv"});
  const auto scores = lines(predicted.output);
  BOOST_REQUIRE_EQUAL(scores.size(), 5U);
  BOOST_CHECK_CLOSE(std::stod(scores[2].substr(scores[2].rfind(',') + 1)), std::stod(rows[1].substr(rows[1].rfind(',') + 1)),
                    1e-2);
  BOOST_CHECK_EQUAL(scores[3], "C-777,SKU-1,");
  BOOST_CHECK(scores[4].starts_with("C-9,\"SKU \"\"3\"\", blue\","));
  BOOST_CHECK_MESSAGE(holds(predicted.errors, "1 of 4 pairs have no score"), predicted);

  const auto like = nlohmann::json::parse(good({"similar", "run", "--item", "SKU \"3\", blue", "--top", "5", "--json"}).output);
  BOOST_REQUIRE_EQUAL(like.at("similar").size(), 5U);
  for (const auto& s : like.at("similar"))
    BOOST_CHECK(s.at("item") != "SKU \"3\", blue" && std::abs(s.at("cosine").get<double>()) <= 1.0001);
  BOOST_CHECK(like.at("likeness") == "cosine" && like.at("meaning") == "of the items' vectors");
  BOOST_CHECK_EQUAL(lines(good({"similar", "run", "--item", "SKU-8"}).output)[0], "rank,item,cosine");
  refused({"similar", "run", "--item", "SKU-44"}, 3, "did you mean");
  refused({"generate", "run", "--prompt", "A"}, 2, "generates no text");
  refused({"export", "run", "--to", "hf", "--format", "huggingface"}, 2, "generates no text");
  good({"export", "run", "--to", "model.h5"});
  const auto exported = nlohmann::json::parse(good({"inspect", "model.h5", "--json"}).output).at("attributes");
  const auto metrics = nlohmann::json::parse(exported.at("metrics").get<std::string>());
  double best = 0;
  for (const auto& line : lines(text_of(folder.path() / "run" / "metrics.jsonl")))
    best = std::max(best, nlohmann::json::parse(line).value("ndcg@10", 0.0));
  BOOST_CHECK_MESSAGE(metrics.at("best_validation_ndcg@10") == best && !metrics.contains("best_validation_loss"), metrics);
  good({"export", "run", "--to", "vectors", "--format", "vectors"});
  BOOST_TEST(lines(text_of(folder.path() / "vectors" / "items.csv")).size() == 41U);
  const std::string npy = text_of(folder.path() / "vectors" / "item_vectors.npy");
  BOOST_CHECK(npy.substr(1, 5) == "NUMPY" && holds(npy, "(40, 16)") && (npy.size() - 40 * 16 * 4) % 64 == 0);
  good({"verify", "run"});
  good({"report", "run", "--to", "report.html"});
  good({"inspect", "run"});
}

BOOST_FIXTURE_TEST_CASE(tables_that_a_person_gives_need_not_be_tidy, Shop) {
  good({"train", "shop.toml", "--set", "train.steps=5"});
  // A log as the table of users: each is answered once, in the order of the first time.
  folder.write("users.csv", "customer\nC-9\nC-1\nC-9\nC-9\nC-2\n");
  const Outcome some = good({"recommend", "run", "--users", "users.csv", "--user", "C-1", "--top", "1"});
  const auto rows = lines(some.output);
  BOOST_REQUIRE_EQUAL(rows.size(), 4U);
  BOOST_CHECK(rows[1].starts_with("C-1,") && rows[2].starts_with("C-9,") && rows[3].starts_with("C-2,"));
  BOOST_CHECK_MESSAGE(holds(some.errors, "3 users are given 6 times in all; each is answered once"), some);
  // An item without a title is shown by its id.
  folder.write("names.csv", "sku,title\nSKU-28,\nSKU-32,Cup\n");
  const auto shown =
      good({"recommend", "run", "--user", "C-9", "--top", "1", "--format", "text", "--titles", "names.csv"}).output;
  BOOST_CHECK_MESSAGE(holds(shown, "      SKU-28\n") && holds(shown, "      SKU-32  Cup\n"), shown);
  folder.write("names.csv", "sku,title\n,Cup\n");
  refused({"recommend", "run", "--user", "C-9", "--format", "text", "--titles", "names.csv"}, 3,
          "names.csv:2:1: the id is empty");
  refused({"recommend", "run", "--user", "", "--user", "C-9"}, 2, "--user is given an empty id");
  refused({"recommend", "run", "--users", "users.dat"}, 2,
          "--users users.dat: the name does not tell what is in it. Name it .csv");
  refused({"recommend", "run", "--users", "none.csv"}, 3, "Give the name of a file that is there");
  refused({"recommend", "run", "--users", "names.csv"}, 3, "no column \"customer\". Rename one of sku, title, or give --users");
  // A list of another shop's items, or of none; one that the customer has had is not offered again.
  folder.write("stock.csv", "sku\nA-1\nA-2\n");
  refused({"recommend", "run", "--user", "C-9", "--allow", "stock.csv"}, 3, "the run knows none of its 2 items");
  folder.write("stock.csv", "sku\n");
  refused({"recommend", "run", "--user", "C-9", "--allow", "stock.csv"}, 3, "it names no item");
  folder.write("stock.csv", "sku\nSKU-32\n");
  const Outcome left = good({"recommend", "run", "--user", "C-9", "--allow", "stock.csv", "--format", "text"});
  BOOST_CHECK_MESSAGE(holds(left.output, "  nothing is left that may be recommended\n"), left);
  BOOST_CHECK_MESSAGE(holds(left.errors, "1 of 1 users have had all that may be recommended"), left);
}

BOOST_FIXTURE_TEST_CASE(a_model_of_hidden_items_answers_as_the_others_do, Shop) {
  // Of histories of 4 to 8 items: the last place of a longer context would not be learnt.
  good({"train", "shop.toml", "--set", "model.name=bert4rec", "--set", "model.context=6", "--set", "train.steps=600"});
  const auto e = evaluated("run");
  BOOST_CHECK_MESSAGE(e.at("hr@10").get<double>() > 0.9 && e.at("ndcg@10").get<double>() > 0.6, e);
  const auto rows = lines(good({"recommend", "run", "--user", "C-9", "--top", "40", "--keep-seen"}).output);
  BOOST_REQUIRE_EQUAL(rows.size(), 41U);  // the mask is no item
  folder.write("pairs.csv", "customer,sku\nC-9,SKU-33\n");
  const auto scores = lines(good({"predict", "run", "--pairs", "pairs.csv"}).output);
  BOOST_REQUIRE_EQUAL(scores.size(), 2U);
  const auto score = [](const std::string& row) { return std::stod(row.substr(row.rfind(',') + 1)); };
  const auto recommended = std::ranges::find_if(rows, [](const std::string& row) { return holds(row, ",SKU-33,"); });
  BOOST_REQUIRE(recommended != rows.end());
  BOOST_CHECK_CLOSE(score(scores[1]), score(*recommended), 1e-2);
  good({"export", "run", "--to", "vectors", "--format", "vectors"});
  BOOST_CHECK(holds(text_of(folder.path() / "vectors" / "item_vectors.npy"), "(40, 16)"));
}

BOOST_FIXTURE_TEST_CASE(what_has_no_sparse_form_is_refused, Shop) {
  const auto with = [](const std::string& setting) {
    auto settings = kSparse;
    settings.push_back(setting);
    return train_into("refused", settings);
  };
  refused(with("model.loss=softmax"), 2, "model.sparse_embeddings = true: model.loss");
  refused(with("optimizer.weight_decay=0.01"), 2, "optimizer.weight_decay = 0.01 changes every row");
  refused(with("optimizer.name=sgd"), 2, "optimizer.momentum = 0.9 moves every row");
  refused(train_into("refused", {"optimizer.name=adagrad", "optimizer.rowwise=true"}), 2, "the model has none");
}

// Counted in one pass: no steps, one checkpoint, and every verb that a trained run has.
BOOST_FIXTURE_TEST_CASE(a_model_that_is_counted_is_a_run_like_any_other, Shop) {
  const std::string data = text_of(folder.path() / "shop.toml").substr(0, std::string(kShopRecipe).find("[model]"));
  const std::string threads = "[runtime]\nthreads = 1\n";
  folder.write("knn.toml", data + "[model]\nname = \"item_knn\"\nneighbours = 8\ncontext = 10\n" + threads);
  folder.write("popularity.toml", data + "[model]\nname = \"popularity\"\n" + threads);
  const auto dry = good({"train", "knn.toml", "--dry-run"});
  BOOST_CHECK_MESSAGE(holds(dry.output, "learned in one pass") && !holds(dry.output, "FLOP"), dry);
  const Outcome trained = good({"train", "knn.toml"});
  for (const char* part : {"60 users with 40 items", "one pass over the events", "ndcg@10", "done: one pass in"})
    BOOST_CHECK_MESSAGE(holds(trained.output, part), part << " is not in " << trained);
  BOOST_CHECK(holds(text_of(folder.path() / "run" / "metrics.jsonl"), "validation_loss"));
  refused({"train", "knn.toml"}, 2, "holds a finished run");
  BOOST_CHECK(nlohmann::json::parse(good({"inspect", "run", "--json"}).output).at("state") == "finished");

  // Customers walk through the items, so an item's nearest are those beside it.
  const auto e = evaluated("run");
  BOOST_CHECK_MESSAGE(e.at("hr@10").get<double>() > 0.95 && e.at("hr@10") > e.at("popularity").at("hr@10"), e);
  BOOST_TEST(e.at("step").get<int>() == 1);
  const auto like = nlohmann::json::parse(good({"similar", "run", "--item", "SKU-20", "--top", "2", "--json"}).output);
  for (const auto& s : like.at("similar"))
    BOOST_CHECK((s.at("item") == "SKU-19" || s.at("item") == "SKU-21") && s.at("similarity").get<double>() > 0);
  BOOST_CHECK(like.at("likeness") == "similarity" && holds(like.at("meaning").get<std::string>(), "model.shrink"));
  // Of each item eight neighbours are kept; the others are not like it at all.
  const auto neighbours = lines(good({"similar", "run", "--item", "SKU-20", "--top", "40"}).output);
  BOOST_CHECK_EQUAL(neighbours[0], "rank,item,similarity");
  BOOST_CHECK_EQUAL(neighbours.size(), 9U);
  const auto rows = lines(good({"recommend", "run", "--user", "C-9", "--top", "2"}).output);
  BOOST_REQUIRE_EQUAL(rows.size(), 3U);
  BOOST_CHECK_MESSAGE(rows[1].starts_with("C-9,1,SKU-33,") || rows[1].starts_with("C-9,1,SKU-22,"), rows[1]);
  folder.write("pairs.csv", "customer,sku\n" + rows[1].substr(0, 4) + rows[1].substr(6, 6) + "\n");
  const auto scores = lines(good({"predict", "run", "--pairs", "pairs.csv"}).output);
  BOOST_CHECK_EQUAL(scores[1], rows[1].substr(0, 4) + rows[1].substr(6));
  good({"verify", "run"});
  good({"export", "run", "--to", "knn.h5"});
  const auto exported = nlohmann::json::parse(good({"inspect", "knn.h5", "--json"}).output);
  std::vector<std::string> names;
  for (const auto& d : exported.at("datasets")) names.push_back(d.at("name"));
  BOOST_TEST(names.size() == 3U);
  refused({"export", "run", "--to", "vectors", "--format", "vectors"}, 2, "no vectors of items");
  refused({"train", "knn.toml", "--set", "train.steps=5"}, 2, "train");
  refused({"train", "knn.toml", "--fresh", "--set", "run.from=run"}, 2, "leave run.from out");
  BOOST_CHECK(!fs::exists(folder.path() / "run" / "old"));  // what was there stays in its place

  good({"train", "popularity.toml", "--set", "run.directory=popular"});
  const auto popular = evaluated("popular");
  for (const char* metric : {"ndcg@10", "hr@10", "mrr", "loss"})
    BOOST_CHECK_EQUAL(popular.at(metric), popular.at("popularity").at(metric));
  refused({"similar", "popular", "--item", "SKU-20"}, 2, "item_knn");
  // No curve of steps where there are none, and no speed.
  good({"report", "run", "popular", "--to", "report.html"});
  const std::string page = text_of(folder.path() / "report.html");
  BOOST_CHECK(holds(page, "throughput, median</th><td>-</td><td>-</td>"));
  BOOST_CHECK(holds(page, "A, validation") && !holds(page, "A, training"));

  good({"train", "knn.toml", "--fresh"});
}

// A model that learns a vector a user keeps the users' numbers, whatever comes into the log later.
BOOST_FIXTURE_TEST_CASE(users_that_a_model_knows_keep_their_vectors, Shop) {
  folder.write("bpr.toml", text_of(folder.path() / "shop.toml").substr(0, std::string(kShopRecipe).find("[model]")) +
                               R"([model]
name = "bpr"
channels = 8
[train]
steps = 100
batch = 64
[optimizer]
name = "adam"
learning_rate = 1e-2
weight_decay = 0.0
[runtime]
threads = 1
)");
  const Outcome trained = good({"train", "bpr.toml"});
  BOOST_CHECK_MESSAGE(holds(trained.output, "360 events of users with items"), trained);
  const auto before = lines(good({"recommend", "run", "--user", "C-9", "--top", "3"}).output);
  good({"verify", "run"});
  good({"export", "run", "--to", "vectors", "--format", "vectors"});
  folder.write("pairs.csv", "customer,sku\nC-9,SKU-1\nC-999,SKU-1\nC-888,SKU-1\n");
  const std::string scored = lines(good({"predict", "run", "--pairs", "pairs.csv"}).output)[1];

  // A new customer, whose name would sort and count before all others.
  std::string more = text_of(folder.path() / "events.csv");
  for (int e = 0; e < 30; ++e) more += "C-999,SKU-" + std::to_string(e + 4) + "," + std::to_string(1690000000 + e) + "\n";
  folder.write("events.csv", more);
  BOOST_TEST(lines(good({"recommend", "run", "--user", "C-9", "--top", "3"}).output) == before,
             boost::test_tools::per_element());
  const Outcome predicted = good({"predict", "run", "--pairs", "pairs.csv"});
  BOOST_CHECK_EQUAL(lines(predicted.output)[1], scored);
  BOOST_CHECK_EQUAL(lines(predicted.output)[2], "C-999,SKU-1,");
  BOOST_CHECK(holds(predicted.errors, "2 of 3 pairs have no score"));
  // It gets what is popular, but for what it had.
  const Outcome popular = good({"recommend", "run", "--user", "C-999", "--top", "40", "--format", "jsonl"});
  BOOST_CHECK(holds(popular.errors, "1 of 1 users"));
  const auto answer = nlohmann::json::parse(lines(popular.output).at(0));
  BOOST_CHECK(answer.at("known") == false && answer.at("items").size() == 10U);
  for (const auto& i : answer.at("items")) BOOST_CHECK(i.at("item") != "SKU-4" && i.at("item") != "SKU-33");
  refused({"recommend", "run", "--user", "C-999", "--unknown", "error"}, 3, "came after the run");
}

BOOST_FIXTURE_TEST_CASE(another_log_is_not_gone_on_with, Shop) {
  const std::vector<std::string> forever = {"train", "shop.toml", "--set", "train.steps=1000000"};
  auto command = forever;
  command.insert(command.begin(), TRADEWIND_BINARY);
  Command run(command, folder.path());
  while (run.running() && !fs::exists(folder.path() / "run" / "checkpoints" / "step-00000007" / "manifest.json")) {
  }
  run.signal(SIGTERM);
  BOOST_REQUIRE_EQUAL(run.wait().code, 75);
  folder.write("events.csv", text_of(folder.path() / "events.csv") + "C-1,SKU-5,1800000000\n");
  refused(forever, 3, "is not what this run began with");
}

BOOST_FIXTURE_TEST_CASE(a_model_that_reads_times_gets_those_of_the_log, Shop) {
  const std::vector<std::string> hstu = {"--set", "model.name=hstu", "--set", "model.times=true"};
  const auto with = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), hstu.begin(), hstu.end());
    return arguments;
  };
  refused(with({"train", "shop.toml", "--set", "data.time_key=''"}), 2, "Set data.time_key");
  refused({"train", "shop.toml", "--set", "model.name=hstu", "--set", "model.request_time=true"}, 2, "model.times = false");
  good(with({"train", "shop.toml", "--set", "model.request_time=true", "--set", "train.steps=150"}));
  const auto e = evaluated("run");
  BOOST_CHECK_MESSAGE(e.at("hr@10").get<double>() > 0.9, e);
  const auto best = lines(good({"recommend", "run", "--user", "C-9", "--top", "3"}).output);
  BOOST_REQUIRE_EQUAL(best.size(), 4U);
  folder.write("pairs.csv", "customer,sku\nC-9," + best[1].substr(6, best[1].rfind(',') - 6) + "\n");
  const auto scores = lines(good({"predict", "run", "--pairs", "pairs.csv"}).output);
  BOOST_REQUIRE_EQUAL(scores.size(), 2U);
  BOOST_CHECK_EQUAL(scores[1].substr(scores[1].rfind(',')), best[1].substr(best[1].rfind(',')));
}

// The first step reads the same weights, in another order.
BOOST_FIXTURE_TEST_CASE(training_counts_positions_from_the_end_that_the_recipe_names, Shop) {
  const auto first_loss = [this](const std::string& from) {
    good(train_into("from-" + from, {"model.positions=" + from, "train.steps=1", "evaluate.every=1"}));
    const auto all = lines(text_of(folder.path() / ("from-" + from) / "metrics.jsonl"));
    const auto training = nlohmann::json::parse(all.at(0)), validation = nlohmann::json::parse(all.at(1));
    return std::pair(training.at("loss").get<double>(), validation.at("validation_loss").get<double>());
  };
  const auto oldest = first_loss("oldest"), newest = first_loss("newest");
  BOOST_TEST(oldest.first != newest.first);
  BOOST_TEST(oldest.second != newest.second);
  refused(train_into("from-both", {"model.positions=both"}), 2, "newest");
}

BOOST_FIXTURE_TEST_CASE(a_dry_run_says_what_a_shop_is, Shop) {
  const auto dry = good({"train", "shop.toml", "--dry-run"});
  BOOST_CHECK_MESSAGE(holds(dry.output, "60 users, 40 items, 480 events"), dry);
  refused({"evaluate", "nowhere", "--json"}, 2, "nowhere");
}

}  // namespace tradewind::tests
