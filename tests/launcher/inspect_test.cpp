// inspect, compare and env from outside: what they say of good things, of half-written ones, of damaged ones and of none.
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

const TinyRun& shop() {
  static const TinyRun kOne(TRADEWIND_BINARY);
  kOne.again();
  return kOne;
}

nlohmann::json json(const TinyRun& s, std::vector<std::string> arguments, int code = 0) {
  arguments.push_back("--json");
  const Outcome outcome = s.tradewind(std::move(arguments));
  BOOST_REQUIRE_MESSAGE(outcome.code == code, outcome);
  return nlohmann::json::parse(outcome.output);
}

void refused(const TinyRun& s, const std::vector<std::string>& arguments, int code, const std::string& says) {
  const Outcome outcome = s.tradewind(arguments);
  BOOST_CHECK_MESSAGE(outcome.code == code && holds(outcome.errors, says), outcome << "does not say " << says);
}

}  // namespace

BOOST_AUTO_TEST_CASE(inspect_shows_a_run_and_its_checkpoints) {
  const TinyRun& s = shop();
  const auto run = json(s, {"inspect", "run/"});
  BOOST_CHECK_EQUAL(run.at("kind"), "run");
  BOOST_CHECK_EQUAL(run.at("state"), "finished");
  BOOST_CHECK_EQUAL(run.at("step"), 12);
  BOOST_CHECK_EQUAL(run.at("checkpoints").back().at("step"), 12);
  BOOST_CHECK_EQUAL(run.at("good"), true);
  const auto checkpoint = json(s, {"inspect", "run/checkpoints/step-00000012"});
  std::int64_t parameters = 0;
  bool token_table = false;
  for (const auto& t : checkpoint.at("tensors")) {
    std::int64_t elements = 1;
    for (const auto& n : t.at("shape")) elements *= n.get<std::int64_t>();
    BOOST_CHECK_EQUAL(t.at("bytes"), elements * 4);
    if (t.at("name").get<std::string>().starts_with("optimizer.")) continue;
    parameters += elements;
    token_table = token_table || t.at("name") == "token.weight" || t.at("shape").size() == 2;
  }
  BOOST_CHECK(token_table);
  BOOST_CHECK_EQUAL(checkpoint.at("parameters"), parameters);
  const Outcome text = s.tradewind({"inspect", "run"});
  BOOST_CHECK_MESSAGE(text.code == 0 && holds(text.output, "finished at step 12"), text);
}

BOOST_AUTO_TEST_CASE(inspect_shows_an_export_and_a_config) {
  const TinyRun& s = shop();
  const Outcome exported = s.tradewind({"export", "run", "--to", "model.h5", "--overwrite"});
  BOOST_REQUIRE_MESSAGE(exported.code == 0, exported);
  const auto file = json(s, {"inspect", "model.h5"});
  BOOST_CHECK_EQUAL(file.at("kind"), "hdf5");
  BOOST_CHECK_EQUAL(file.at("attributes").at("format"), "tradewind");
  const auto checkpoint = json(s, {"inspect", "run/checkpoints/step-00000012"});
  std::size_t parameters = 0;
  for (const auto& t : checkpoint.at("tensors"))
    parameters += t.at("name").get<std::string>().starts_with("optimizer.") ? 0 : 1;
  BOOST_CHECK_EQUAL(file.at("datasets").size(), parameters);
  BOOST_CHECK_EQUAL(json(s, {"inspect", "tiny.toml"}).at("model"), "gpt");
  std::ofstream(s.scratch().path() / "cut.h5", std::ios::binary) << text_of(s.scratch().path() / "model.h5").substr(0, 500);
  refused(s, {"inspect", "cut.h5"}, 3, "cut.h5");
}

BOOST_AUTO_TEST_CASE(inspect_says_what_is_damaged_and_what_is_nothing) {
  const TinyRun& s = shop();
  for (const auto& entry : fs::directory_iterator(s.checkpoint("12")))
    if (entry.path().extension() == ".safetensors") flip(entry.path());
  refused(s, {"inspect", "run/checkpoints/step-00000012"}, 4, "damaged");
  refused(s, {"inspect", "run"}, 4, "damaged");
  refused(s, {"inspect", "nowhere"}, 2, "does not exist");
  refused(s, {"inspect", "."}, 2, "neither a run directory");
  refused(s, {"inspect", "text.txt"}, 3, "text.txt");
  refused(s, {"inspect"}, 2, "PATH is missing");
}

BOOST_AUTO_TEST_CASE(a_run_at_work_an_empty_one_and_a_newer_one) {
  const TinyRun& s = shop();
  std::ofstream(s.run() / "metrics.jsonl", std::ios::app) << R"({"step":13,"lo)";
  BOOST_CHECK(json(s, {"inspect", "run"}).at("problems").empty());
  std::ofstream(s.run() / "metrics.jsonl", std::ios::app) << "\n";
  BOOST_CHECK_EQUAL(json(s, {"inspect", "run"}).at("problems").size(), 1);
  fs::remove_all(s.run() / "checkpoints");
  fs::remove(s.run() / "metrics.jsonl");
  const auto empty = json(s, {"inspect", "run"});
  BOOST_CHECK(empty.at("checkpoints").empty());
  BOOST_CHECK(empty.at("training_loss").is_null());
  std::ofstream(s.run() / "status.json") << R"({"format": 99})";
  refused(s, {"inspect", "run"}, 2, "newer version");
}

BOOST_AUTO_TEST_CASE(compare_finds_what_differs) {
  const TinyRun& s = shop();
  const Outcome other = s.tradewind({"train", "tiny.toml", "--set", "run.directory=other", "--set", "train.steps=8", "--set",
                                     "optimizer.learning_rate=0.01", "--fresh"});
  BOOST_REQUIRE_MESSAGE(other.code == 0, other);
  const auto out = json(s, {"compare", "run", "other"});
  std::vector<std::string> keys;
  for (const auto& d : out.at("config_differences")) keys.push_back(d.at("key"));
  BOOST_CHECK_EQUAL(keys.size(), 2);
  BOOST_CHECK(std::find(keys.begin(), keys.end(), "train.steps") != keys.end());
  BOOST_CHECK(std::find(keys.begin(), keys.end(), "optimizer.learning_rate") != keys.end());
  BOOST_CHECK_EQUAL(out.at("runs").at(0).at("steps"), 12);
  BOOST_CHECK_EQUAL(out.at("runs").at(1).at("steps"), 8);
  const Outcome text = s.tradewind({"compare", "run", "other"});
  BOOST_CHECK_MESSAGE(text.code == 0 && holds(text.output, "validation loss") && holds(text.output, "A: 12, B: 8"), text);
  std::istringstream lines(text.output);
  for (std::string line; std::getline(lines, line);) BOOST_CHECK_MESSAGE(line.size() <= 80, line);
  refused(s, {"compare", "run"}, 2, "second RUN");
  refused(s, {"compare", "run", "nowhere"}, 2, "nowhere is no run directory");
}

BOOST_AUTO_TEST_CASE(env_names_build_and_machine) {
  const auto out = json(shop(), {"env"});
  for (const char* key : {"version", "build", "compiler", "libraries", "isa", "cpu", "cores", "memory_bytes", "system"})
    BOOST_CHECK_MESSAGE(out.contains(key), key);
}

}  // namespace tradewind::tests
