// The page of a run: what is on it, what it does with half-written, endless and hostile runs, and what it refuses.
#include <sys/stat.h>
#include <cmath>
#include <fstream>
#include <limits>
#include <regex>

#include "launcher/report/chart.h"
#include "launcher/report/html.h"
#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const TinyRun& shop() {
  static const TinyRun kOne(TRADEWIND_BINARY);
  kOne.again();
  return kOne;
}

/// The page of `report` with these arguments, which name no --to.
std::string page(const TinyRun& s, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "report");
  arguments.insert(arguments.end(), {"--to", "page.html"});
  fs::remove(s.scratch().path() / "page.html");
  const Outcome outcome = s.tradewind(arguments);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  return text_of(s.scratch().path() / "page.html");
}

void refused(const TinyRun& s, const std::vector<std::string>& arguments, int code, const std::string& says) {
  const Outcome outcome = s.tradewind(arguments);
  BOOST_CHECK_MESSAGE(outcome.code == code && outcome.errors.starts_with("error: ") && holds(outcome.errors, says),
                      outcome << "is not " << code << " or does not say " << says);
}

void require_parts(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) BOOST_CHECK_MESSAGE(holds(text, part), "the page does not hold " << part);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t out = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++out;
  return out;
}

void write_metrics(const TinyRun& s, const std::string& lines) { std::ofstream(s.run() / "metrics.jsonl") << lines; }

std::string line(int step, const std::string& loss, const std::string& more = "") {
  return "{\"step\":" + std::to_string(step) + ",\"loss\":" + loss +
         ",\"tokens_per_second\":1000,\"learning_rate\":0.001,\"gradient_norm\":1.5,\"seconds\":" + std::to_string(step) +
         more + "}\n";
}

launcher::Chart chart_of(std::vector<launcher::ChartPoint> points) {
  launcher::Chart chart{.id = "x", .title = "X", .what = "y"};
  chart.curves.push_back({.name = "one", .points = std::move(points)});
  return chart;
}

/// The number of "move to" in the drawn line.
std::size_t strokes(const std::string& html) {
  std::smatch found;
  BOOST_REQUIRE(std::regex_search(html, found, std::regex("class=\"line s0 d0\" d=\"([^\"]*)\"")));
  return count(found[1].str(), "M");
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_page_has_all_of_a_run_and_nothing_from_outside) {
  const TinyRun& s = shop();
  const Outcome outcome = s.tradewind({"report", "run/"});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  BOOST_CHECK_MESSAGE(holds(outcome.output, "run/report.html: ") && holds(outcome.output, "Finished at step 12"), outcome);
  const std::string text = text_of(s.run() / "report.html");
  require_parts(text, {"<!DOCTYPE html>",
                       "<title>run - Tradewind report</title>",
                       "Finished at step 12",
                       "Best validation loss",
                       ">Loss<",
                       ">Learning rate<",
                       ">Gradient norm<",
                       ">Throughput<",
                       ">Memory<",
                       ">Results<",
                       ">Samples<",
                       ">Config<",
                       "<dt>train.steps</dt><dd>12</dd>",
                       ">Checkpoints<",
                       "complete; the best",
                       ">Environment<",
                       "libraries.onednn",
                       "prefers-color-scheme:dark",
                       "@media print",
                       "name=\"viewport\""});
  BOOST_CHECK_EQUAL(count(text, "<pre>"), 3);
  BOOST_CHECK_EQUAL(count(text, "role=\"img\""), 5);
  for (const char* outside : {"<script", "src=", "href=", "url(", "@import", "http:", "https:"})
    BOOST_CHECK_MESSAGE(!holds(text, outside), outside);
  BOOST_CHECK_LT(text.size(), 60'000);
  BOOST_CHECK(!fs::exists(s.run() / "report.html.tmp"));
}

// Of a recommender the metric that it is chosen by tells the best, not the loss, and what `evaluate` kept is shown.
BOOST_AUTO_TEST_CASE(a_ranking_is_charted_and_tabled_beside_popularity) {
  const TinyRun& s = shop();
  const auto evaluation = [](int step, const std::string& loss, const std::string& ndcg, const std::string& more = "") {
    return "{\"step\":" + std::to_string(step) + ",\"validation_loss\":" + loss + ",\"ndcg@10\":" + ndcg +
           ",\"hr@10\":0.5,\"mrr\":0.25,\"recall@10\":0.5,\"best_by\":\"ndcg@10\"" + more + ",\"seconds\":1}\n";
  };
  const std::string full = line(1, "3.0") + evaluation(1, "3.1", "0.31") + line(2, "2.0") + evaluation(2, "2.1", "0.2");
  write_metrics(s, full);
  std::ofstream(s.run() / "evaluation-test.json")
      << R"({"step":1,"part":"test","ranked_among":"all","seen_items":"leave_out","ndcg@10":0.3217,"hr@10":0.5,"novelty@10":4.25,
"popularity":{"loss":3.0,"ndcg@10":0.0213,"hr@10":0.05,"novelty@10":1.5},
"slices":{"item:items.csv:category":[{"value":"<shoes>","users":7,"targets":8,"ndcg@10":0.4,"hr@10":0.6,
"popularity":{"ndcg@10":0.1}}]},"targets":60})";
  std::ofstream(s.run() / "evaluation-validation.json") << "[1, {\"popularity\": ";  // cut short
  const std::string one = page(s, {"run", "--no-samples"});
  require_parts(
      one, {"Best ndcg@10 0.3100 at step 1 (validation loss 3.1000)", ">Ranking<", "of the validation part, mean over users",
            "60 events of the test part, at step 1, each ranked among all items but those",
            "<th scope=\"row\">ndcg@10</th><td>0.3217</td><td>0.0213</td>",
            "<th scope=\"row\">novelty@10</th><td>4.2500</td><td>1.5000</td>", "by item:items.csv:category",
            "<th scope=\"row\">&lt;shoes&gt;</th><td>7</td><td>8</td><td>0.4000</td><td>0.6000</td><td>0.1000</td>"});
  BOOST_CHECK_EQUAL(count(one, ">mrr<"), 1);      // in the chart's legend
  BOOST_CHECK_EQUAL(count(one, "recall@10"), 0);  // three curves are enough

  fs::copy(s.run(), s.scratch().path() / "other", fs::copy_options::recursive);
  const fs::path other = s.scratch().path() / "other";
  std::ofstream(other / "metrics.jsonl") << line(1, "3.0") << evaluation(1, "3.1", "0.4");
  require_parts(page(s, {"run", "other", "--no-samples"}),
                {"B has the highest ndcg@10, 0.4000; next is A with 0.3100", "ndcg@10 0.4000, the highest"});
  std::ofstream(other / "metrics.jsonl") << line(1, "3.0") << evaluation(1, "3.1", "0.9", ",\"sampled_candidates\":100");
  const std::string mixed = page(s, {"run", "other", "--no-samples"});
  require_parts(mixed, {"not evaluated by one rule", "do not compare"});
  BOOST_CHECK(!holds(mixed, "the highest"));
  fs::remove_all(other);
}

BOOST_AUTO_TEST_CASE(the_same_seed_draws_the_same_samples) {
  const TinyRun& s = shop();
  const auto samples = [](const std::string& text) {
    return text.substr(text.find("<pre>"), text.rfind("</pre>") - text.find("<pre>"));
  };
  const std::string first = samples(page(s, {"run"}));
  BOOST_CHECK_EQUAL(samples(page(s, {"run"})), first);
  BOOST_CHECK(samples(page(s, {"run", "--seed", "2"})) != first);
  const std::string prompted = page(s, {"run", "--prompt", "A soft", "--samples", "1", "--tokens", "5"});
  BOOST_CHECK_EQUAL(count(prompted, "<pre>"), 1);
  BOOST_CHECK(holds(prompted, "<pre>A soft"));
  BOOST_CHECK(!holds(page(s, {"run", "--no-samples"}), "<pre>"));
}

BOOST_AUTO_TEST_CASE(runs_over_each_other_have_their_own_colour_and_dashes) {
  const TinyRun& s = shop();
  for (const std::string rate : {"0.01", "0.02"}) {
    const Outcome other = s.tradewind({"train", "tiny.toml", "--set", "run.directory=rate-" + rate, "--set", "train.steps=8",
                                       "--set", "optimizer.learning_rate=" + rate, "--fresh"});
    BOOST_REQUIRE_MESSAGE(other.code == 0, other);
  }
  const std::string text = page(s, {"run", "rate-0.01", "rate-0.02", "--no-samples"});
  for (const char* style : {"line s0 d0", "line s1 d1", "line s2 d2"}) BOOST_CHECK_MESSAGE(count(text, style) >= 10, style);
  require_parts(text, {"<title>3 runs", "the lowest validation loss", "A, training", "C, validation", "Config: what differs",
                       "optimizer.learning_rate", "<td>0.01</td>", "<td>0.02</td>"});
  BOOST_CHECK(!holds(text.substr(0, text.find("<details>")), "optimizer.beta1"));  // the same in all
}

BOOST_AUTO_TEST_CASE(runs_of_other_tokenizers_are_compared_by_bits_per_byte) {
  const TinyRun& s = shop();
  const Outcome other =
      s.tradewind({"train", "tiny.toml", "--set", "run.directory=bytes", "--set", "data.tokenizer=byte", "--fresh"});
  BOOST_REQUIRE_MESSAGE(other.code == 0, other);
  const std::string text = page(s, {"run", "bytes", "--no-samples"});
  require_parts(text, {"has the fewest bits per byte", "Their tokenizers differ"});
  BOOST_CHECK(!holds(text, "the lowest validation loss"));
}

BOOST_AUTO_TEST_CASE(markup_in_paths_and_prompts_stays_text) {
  const TinyRun& s = shop();
  const std::string name = "<script>alert('1')</script>&\"";  // a slash: a folder in a folder
  const Outcome other = s.tradewind({"train", "tiny.toml", "--set", "run.directory='''" + name + "'''", "--set",
                                     "data.tokenizer=byte", "--set", "train.steps=3", "--fresh"});
  BOOST_REQUIRE_MESSAGE(other.code == 0, other);
  const std::string text = page(s, {name, "--prompt", "<script>alert(2)</script>"});
  BOOST_CHECK(!holds(text, "<script"));
  require_parts(text, {"<pre>&lt;script&gt;alert(2)&lt;/script&gt;", "&lt;script&gt;alert(&#39;1&#39;)"});
  BOOST_CHECK_EQUAL(launcher::escape_html("a<b>&\"'\n\x01\xC3\x28\xE2\x82\xAC"),
                    "a&lt;b&gt;&amp;&quot;&#39;\n\uFFFD\uFFFD(\u20AC");
}

BOOST_AUTO_TEST_CASE(where_a_file_goes_back_the_later_lines_count) {
  const TinyRun& s = shop();
  write_metrics(s, line(1, "4.0") + line(2, "3.9") + line(3, "9.5") + line(2, "3.5") + line(3, "3.25") + line(4, "3.0"));
  const std::string text = page(s, {"run", "--no-samples"});
  require_parts(text, {"goes back from step 3 to step 2", "training: from 4 at step 1 to 3 at step 4"});
  BOOST_CHECK(!holds(text, "9.5"));
}

BOOST_AUTO_TEST_CASE(steps_without_a_number_and_skipped_steps_are_gaps) {
  const TinyRun& s = shop();
  write_metrics(s, line(1, "4.0") + line(2, "null") + line(3, "3.0") + line(4, "8.5", ",\"skipped\":true") + line(5, "2.0") +
                       line(6, "1.5"));
  const std::string text = page(s, {"run", "--no-samples"});
  require_parts(text, {"2 of 6 steps had no finite loss or gradient", "steps without a finite value (2)"});
  BOOST_CHECK_EQUAL(strokes(text), 3);
  BOOST_CHECK(!holds(text, "8.5"));
}

BOOST_AUTO_TEST_CASE(a_run_that_is_killed_within_a_line_is_shown_up_to_it) {
  const TinyRun& s = shop();
  write_metrics(s, line(1, "4.0") + line(2, "3.0") + "{\"step\":3,\"lo");
  const std::string text = page(s, {"run", "--no-samples"});
  require_parts(text, {"<td>2</td>"});
  BOOST_CHECK(!holds(text, "class=\"problem\">metrics"));
  write_metrics(s, line(1, "4.0") + "rubbish\n" + line(2, "3.0"));
  require_parts(page(s, {"run", "--no-samples"}), {"class=\"problem\">metrics.jsonl, line 2"});
}

BOOST_AUTO_TEST_CASE(a_damaged_checkpoint_is_named_and_the_rest_is_shown) {
  const TinyRun& s = shop();
  for (const auto& entry : fs::directory_iterator(s.checkpoint("12")))
    if (entry.path().extension() == ".safetensors") fs::resize_file(entry.path(), 100);
  const std::string text = page(s, {"run"});  // the samples are of the one before
  require_parts(text, {"class=\"problem\">", "drawn from the checkpoint of step 10"});
  fs::remove_all(s.run() / "checkpoints");
  const Outcome none = s.tradewind({"report", "run"});
  BOOST_CHECK_MESSAGE(none.code == 0 && holds(none.errors, "warning: no samples of run"), none);
  fs::remove(s.run() / "environment.json");
  require_parts(page(s, {"run"}), {"there is none", "no samples: ", "No environment.json"});
}

BOOST_AUTO_TEST_CASE(what_is_no_run_is_refused) {
  const TinyRun& s = shop();
  refused(s, {"report"}, 2, "RUN is missing");
  refused(s, {"report", "nowhere"}, 2, "nowhere is no run directory");
  refused(s, {"report", "."}, 2, "no run directory");
  refused(s, {"report", "text.txt"}, 2, "no run directory");
  refused(s, {"report", "run", "nowhere"}, 2, "nowhere is no run directory");
  refused(s, {"report", "run", "--to", "run"}, 2, "is a directory");
  refused(s, {"report", "run", "--to", "text.txt/page.html"}, 2, "cannot create text.txt");
  refused(s, {"report", "run", "--tokens", "0"}, 2, "--tokens");
  write_metrics(s, "");
  refused(s, {"report", "run"}, 3, "has recorded no step yet");
  fs::remove(s.run() / "metrics.jsonl");
  refused(s, {"report", "run"}, 3, "there is no metrics.jsonl");
  BOOST_CHECK(!fs::exists(s.run() / "report.html"));
  std::ofstream(s.run() / "status.json") << R"({"format": 99})";
  refused(s, {"report", "run"}, 2, "newer version");
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_report_that_was_there) {
  const TinyRun& s = shop();
  std::ofstream(s.run() / "report.html") << "before";
  const Outcome outcome =
      Command({TRADEWIND_BINARY, "report", "run", "--no-samples"}, s.scratch().path(), "C.UTF-8", 4096).wait();
  BOOST_CHECK_MESSAGE(outcome.code == 4 && holds(outcome.errors, "free some space"), outcome);
  BOOST_CHECK_EQUAL(text_of(s.run() / "report.html"), "before");
  BOOST_CHECK(!fs::exists(s.run() / "report.html.tmp"));
}

BOOST_AUTO_TEST_CASE(somebody_elses_run_is_refused_by_name) {
  const TinyRun& s = shop();
  std::vector<std::string> command = {TRADEWIND_BINARY, "report", "run", "--no-samples"};
  // Root may read everything: as nobody then, who must reach program and scratch folder.
  if (geteuid() == 0) {
    fs::permissions(s.scratch().path(), fs::perms{0777});
    command.insert(command.begin(), {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    std::vector<std::string> version(command.begin(), command.begin() + 5);
    version.push_back("--version");
    if (Command(version, s.scratch().path()).wait().code != 0) {
      std::puts("SKIPPED launcher/report_test: as root, and nobody may not run the program");
      return;
    }
  }
  fs::permissions(s.run(), fs::perms{0555});
  Outcome outcome = Command(command, s.scratch().path()).wait();
  BOOST_CHECK_MESSAGE(outcome.code == 4 && holds(outcome.errors, "Permission denied; --to FILE"), outcome);
  fs::permissions(s.run() / "metrics.jsonl", fs::perms{0});
  outcome = Command(command, s.scratch().path()).wait();
  BOOST_CHECK_MESSAGE(outcome.code == 3 && holds(outcome.errors, "metrics.jsonl: Permission denied"), outcome);
  fs::permissions(s.run(), fs::perms{0});
  outcome = Command(command, s.scratch().path()).wait();
  BOOST_CHECK_MESSAGE(outcome.code == 2 && holds(outcome.errors, "config.toml: Permission denied"), outcome);
  fs::permissions(s.run(), fs::perms{0755});
}

BOOST_AUTO_TEST_CASE(a_long_curve_is_small_and_keeps_its_spike_and_its_gap) {
  std::vector<launcher::ChartPoint> points;
  for (std::int64_t i = 1; i <= 300'000; ++i) points.push_back({i, 2 + std::sin(static_cast<double>(i))});
  const std::string smooth = launcher::chart_html(chart_of(points));
  points[123'456].value = 50;
  points[200'000].value = kNan;
  const std::string html = launcher::chart_html(chart_of(points));
  BOOST_CHECK_LT(html.size(), 12'000);
  BOOST_CHECK(holds(html, "highest 50 at step 123457"));
  BOOST_CHECK_EQUAL(strokes(smooth), 1);
  BOOST_CHECK_EQUAL(strokes(html), 2);
  // The band reaches the top of the axis, which is scaled to the spike.
  std::smatch band;
  BOOST_REQUIRE(std::regex_search(html, band, std::regex("class=\"band f0\" d=\"([^\"]*)\"")));
  int y = 0, highest = 1000;
  const std::string path = band[1];
  const std::regex moves("M(\\d+) (\\d+)|l(-?\\d+) ?(-?\\d+)");
  for (std::sregex_iterator at(path.begin(), path.end(), moves), end; at != end; ++at) {
    y = (*at)[2].matched ? std::stoi((*at)[2]) : y + std::stoi((*at)[4]);
    highest = std::min(highest, y);
  }
  BOOST_CHECK_LT(highest, 50);
}

BOOST_AUTO_TEST_CASE(axes_have_round_ticks_and_short_labels) {
  using launcher::axis_ticks;
  using launcher::ChartUnit;
  using launcher::number_label;
  for (const auto& [low, high] :
       std::vector<std::pair<double, double>>{{0, 300}, {1.87, 4.31}, {0, 2e-3}, {-3, 7}, {1e6, 1.4e6}}) {
    const auto ticks = axis_ticks(low, high, 5);
    BOOST_CHECK(ticks.size() >= 3 && ticks.size() <= 8);
    for (const double tick : ticks) BOOST_CHECK(tick >= low - 1e-9 && tick <= high + 1e-9);
  }
  BOOST_CHECK_EQUAL(number_label(0.0005, 0.0005), "0.0005");
  BOOST_CHECK_EQUAL(number_label(20'000, 20'000, ChartUnit::kPlain, 80'000), "20k");
  BOOST_CHECK_EQUAL(number_label(5'000, 5'000, ChartUnit::kPlain, 20'000), "5k");
  BOOST_CHECK_EQUAL(number_label(0, 20'000, ChartUnit::kPlain, 80'000), "0");
  BOOST_CHECK_EQUAL(number_label(2.5, 0.5), "2.5");
  BOOST_CHECK_EQUAL(number_label(3e-5, 1e-5), "3e-05");
  BOOST_CHECK_EQUAL(number_label(250e6, 50e6, ChartUnit::kBytes), "250 MB");
  BOOST_CHECK_EQUAL(number_label(1'234'567, 0), "1.235M");
}

BOOST_AUTO_TEST_CASE(charts_of_one_point_of_equal_values_of_none_and_over_many_powers_of_ten) {
  BOOST_CHECK_EQUAL(launcher::chart_html(chart_of({{1, kNan}, {2, kNan}})), "");
  BOOST_CHECK_EQUAL(launcher::chart_html(chart_of({})), "");
  for (const auto& points : std::vector<std::vector<launcher::ChartPoint>>{{{1, 2.5}},
                                                                           {{1, 2.5}, {2, 2.5}},
                                                                           {{1, 0}, {9, 0}},
                                                                           {{1, -1}, {2, INFINITY}},
                                                                           {{7, 1e-9}, {8, 1e9}},
                                                                           {{1'000'000, 1}, {1'000'001, 2}}}) {
    const std::string html = launcher::chart_html(chart_of(points));
    BOOST_CHECK_MESSAGE(holds(html, "<svg") && !holds(html, "nan") && !holds(html, "inf"), html);
  }
  BOOST_CHECK(holds(launcher::chart_html(chart_of({{1, 1e-3}, {2, 1e3}})), "(logarithmic)"));
}

}  // namespace tradewind::tests
