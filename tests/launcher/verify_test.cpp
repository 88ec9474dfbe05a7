// `tradewind verify` from outside, and what --checkpoint best says where the best is gone.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/manifest.h"
#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

class Shop : public TinyRun {
 public:
  Shop() : TinyRun(TRADEWIND_BINARY) {}
  nlohmann::json json(const std::string& path, int code) const {
    const Outcome outcome = tradewind({"verify", path, "--json"});
    BOOST_REQUIRE_MESSAGE(outcome.code == code, outcome);
    return nlohmann::json::parse(outcome.output);
  }
};

const Shop& shop() {
  static const Shop kShop;
  kShop.again();
  return kShop;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_good_run_is_good) {
  const Shop& s = shop();
  const Outcome outcome = s.tradewind({"verify", "run"});
  BOOST_CHECK_MESSAGE(outcome.code == 0 && outcome.errors.empty(), outcome);
  for (const char* part :
       {"step-00000010  good     2 files, ", "tensors, of 1 rank\n", "newest good checkpoint: run/checkpoints/step-00000012"})
    BOOST_CHECK_MESSAGE(holds(outcome.output, part), outcome << "does not say " << part);
  const auto report = s.json("run/", 0);
  BOOST_CHECK_EQUAL(report.at("good"), true);
  BOOST_CHECK_EQUAL(report.at("newest_good"), "run/checkpoints/step-00000012");
  BOOST_CHECK_EQUAL(report.at("metrics_step"), 12);
  const auto steps = runtime::list_checkpoints(s.run() / "checkpoints");
  BOOST_REQUIRE_EQUAL(report.at("checkpoints").size(), steps.size());
  const auto& last = report.at("checkpoints").back();
  const auto opened = runtime::Checkpoint::open(steps.back());
  BOOST_CHECK_EQUAL(last.at("tensors"), opened.names().size());
  BOOST_CHECK_EQUAL(last.at("step"), 12);
  BOOST_CHECK_EQUAL(last.at("world_size"), 1);
  BOOST_CHECK(last.at("problems").empty());
  const auto one = s.json("run/checkpoints/step-00000010", 0);
  BOOST_CHECK_EQUAL(one.at("newest_good"), "run/checkpoints/step-00000010");
  BOOST_CHECK_EQUAL(one.at("checkpoints").size(), 1U);
}

BOOST_AUTO_TEST_CASE(what_is_damaged_is_named_and_the_newest_good_one) {
  const Shop& s = shop();
  const std::string chunk = "chunk-00000-of-00001.safetensors";
  const auto check = [&](const std::function<void(const fs::path&)>& damage, const std::vector<std::string>& says) {
    s.again();
    damage(s.checkpoint("12"));
    const Outcome outcome = s.tradewind({"verify", "run"});
    BOOST_CHECK_MESSAGE(outcome.code == 4, outcome);
    for (const std::string& part : says) BOOST_CHECK_MESSAGE(holds(outcome.output, part), outcome << "does not say " << part);
    BOOST_CHECK_MESSAGE(holds(outcome.output, "newest good checkpoint: run/checkpoints/step-00000010"), outcome);
    BOOST_CHECK_MESSAGE(outcome.errors.starts_with("error: run is not as it was written") && holds(outcome.errors, "restore"),
                        outcome);
    const auto report = s.json("run", 4);
    BOOST_CHECK_EQUAL(report.at("newest_good"), "run/checkpoints/step-00000010");
    BOOST_CHECK_EQUAL(report.at("good"), false);
    const Outcome one = s.tradewind({"verify", "run/checkpoints/step-00000012"});
    BOOST_CHECK_MESSAGE(one.code == 4, one);
  };
  check([&](const fs::path& c) { flip(c / chunk), flip(c / "state.json"); },
        {"step-00000012  DAMAGED  " + chunk + " is damaged", "step-00000012  DAMAGED  state.json is damaged"});
  check([&](const fs::path& c) { fs::resize_file(c / chunk, 1000); }, {chunk + " has 1000 bytes, the manifest says "});
  check([&](const fs::path& c) { fs::remove(c / "state.json"); }, {"state.json: No such file"});
  check([&](const fs::path& c) { fs::remove(c / "manifest.json"); }, {"no manifest.json, so it was never finished"});
  check([&](const fs::path& c) { flip(c / "manifest.json"); }, {"its checksum does not match its contents"});
  check([&](const fs::path& c) { std::ofstream(c / "notes.txt") << "x"; }, {"notes.txt is no file of this checkpoint"});
  check(
      [&](const fs::path& c) {  // a manifest that vouches for a chunk with a tensor less than it lists
        auto manifest = runtime::detail::parse_manifest(text_of(c / "manifest.json"));
        manifest.tensors.pop_back();
        std::ofstream(c / "manifest.json") << runtime::detail::manifest_text(manifest);
      },
      {"the manifest lists ", " tensors, its files hold "});
}

BOOST_AUTO_TEST_CASE(the_rest_of_the_run_is_looked_at) {
  const Shop& s = shop();
  const auto check = [&](const std::function<void()>& damage, const std::string& says) {
    s.again();
    damage();
    const Outcome outcome = s.tradewind({"verify", "run"});
    BOOST_CHECK_MESSAGE(outcome.code == 4 && holds(outcome.output, says), outcome << "does not say " << says);
    BOOST_CHECK_MESSAGE(holds(outcome.output, "newest good checkpoint: run/checkpoints/step-00000012"), outcome);
  };
  const auto put = [&](const char* file, const std::string& text) { std::ofstream(s.run() / file) << text; };
  check([&] { put("status.json", "{"); }, "status.json is missing or no JSON");
  check([&] { put("metrics.jsonl", "{\"step\":1}\n{\"loss\":2}\n"); },
        "metrics.jsonl, line 2: it is no JSON object with a step");
  check([&] { put("metrics.jsonl", "{\"step\":5}\n{\"step\":4}\n"); }, "line 2: step 4 comes after step 5");
  check([&] { put("config.toml", "[model]\nlayerz = 1\n"); }, "config.toml:2:1");
  check([&] { fs::remove(s.run() / "config.toml"); }, "config.toml");
  check(
      [&] {
        std::string config = text_of(s.run() / "config.toml");
        config.replace(config.find("channels = 16"), 13, "channels = 32");
        put("config.toml", config);
      },
      "the config's model wants");
  // What a killed run may leave is no damage.
  s.again();
  std::ofstream(s.run() / "metrics.jsonl", std::ios::app) << "{\"step\":13,\"lo";
  fs::create_directory(s.run() / "checkpoints" / ".unfinished-00000001");
  const Outcome killed = s.tradewind({"verify", "run"});
  BOOST_CHECK_MESSAGE(
      killed.code == 0 && holds(killed.output, "ends within a line") && holds(killed.output, "something unfinished"), killed);
}

BOOST_AUTO_TEST_CASE(what_is_no_run_is_refused) {
  const Shop& s = shop();
  for (const char* path : {"absent", "text.txt", "run/checkpoints", "."}) {
    const Outcome outcome = s.tradewind({"verify", path});
    BOOST_CHECK_MESSAGE(outcome.code == 2 && holds(outcome.errors, "neither a run directory"), outcome);
  }
  const Outcome missing = s.tradewind({"verify"});
  BOOST_CHECK_MESSAGE(missing.code == 2 && holds(missing.errors, "RUN is missing"), missing);
  const Outcome help = s.tradewind({"verify", "--help"});
  BOOST_CHECK_MESSAGE(help.code == 0 && holds(help.output, "examples:"), help);
}

BOOST_AUTO_TEST_CASE(the_best_that_is_gone_is_said_to_be) {
  const Shop& s = shop();
  const auto best = [&] { return s.tradewind({"evaluate", "run", "--checkpoint", "best", "--json"}); };
  const Outcome good = best();
  BOOST_REQUIRE_MESSAGE(good.code == 0, good);
  // This small model gains at every evaluation: 12 is the best, and 10, the one before it, knows 9, as if that were pruned.
  BOOST_REQUIRE_EQUAL(nlohmann::json::parse(good.output).at("step"), 12);
  flip(s.checkpoint("12") / "state.json");
  fs::remove_all(s.checkpoint("09"));
  const Outcome gone = best();
  BOOST_CHECK_MESSAGE(gone.code == 4 && holds(gone.errors, "step 9, and it is not there any more") &&
                          holds(gone.errors, "--checkpoint last") && holds(gone.errors, "tradewind verify run"),
                      gone);
  s.again();
  flip(s.checkpoint("12") / "state.json");
  flip(s.checkpoint("09") / "state.json");
  const Outcome damaged = best();
  BOOST_CHECK_MESSAGE(damaged.code == 4 && holds(damaged.errors, "step 9, and it cannot be read"), damaged);
  const Outcome last = s.tradewind({"evaluate", "run", "--json"});
  BOOST_CHECK_MESSAGE(last.code == 0 && nlohmann::json::parse(last.output).at("step") == 10, last);
}

}  // namespace tradewind::tests
