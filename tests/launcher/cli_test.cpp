// The binary from outside: what a person types, sees, and gets as an exit code.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

using tradewind::tests::Command;
using tradewind::tests::Outcome;
using tradewind::tests::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

// A model that trains in a second.
const char* const kRecipe = R"(device = "cpu"
[data]
path = "text.txt"
[model]
name = "gpt"
context = 16
layers = 1
heads = 2
channels = 16
[train]
steps = 6
batch = 4
[evaluate]
every = 3
[checkpoint]
every = 2
[runtime]
threads = 1
)";

class Shop {
 public:
  Shop() {
    folder_.write("tiny.toml", kRecipe);
    std::string text;
    for (int i = 0; i < 200; ++i) text += "Soft linen towel number " + std::to_string(i) + ".\n";
    folder_.write("text.txt", text);
  }
  const fs::path& path() const { return folder_.path(); }
  const TemporaryFolder& folder() const { return folder_; }
  Outcome run(std::vector<std::string> arguments, const std::string& locale = "C.UTF-8") const {
    arguments.insert(arguments.begin(), TRADEWIND_BINARY);
    return Command(arguments, folder_.path(), locale).wait();
  }
  Outcome train(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"train", "tiny.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  std::string text_of(const std::string& name) const {
    std::ostringstream all;
    all << std::ifstream(folder_.path() / name, std::ios::binary).rdbuf();
    return all.str();
  }

 private:
  TemporaryFolder folder_;
};

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void check_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  BOOST_CHECK_MESSAGE(outcome.code == code, "exit code " << outcome.code << " is not " << code << ": " << outcome.errors);
  BOOST_CHECK_MESSAGE(outcome.errors.starts_with("error: "), outcome.errors);
  for (const std::string& part : parts)
    BOOST_CHECK_MESSAGE(holds(outcome.errors, part), "\"" << outcome.errors << "\" does not say \"" << part << "\"");
}

void check_columns(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) BOOST_CHECK_MESSAGE(line.size() <= 80, line);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_verb_has_help_with_examples_in_80_columns) {
  const Shop shop;
  const Outcome program = shop.run({"--help"});
  BOOST_CHECK_EQUAL(program.code, 0);
  check_columns(program.output);
  BOOST_CHECK_EQUAL(shop.run({"-h"}).output, program.output);
  for (const std::string verb : {"check", "train", "evaluate", "generate", "export", "verify", "inspect", "compare", "report",
                                 "config", "demo-shop", "demo-text", "env", "completion", "help"}) {
    BOOST_CHECK(holds(program.output, "\n  " + verb + " "));
    const Outcome help = shop.run({verb, "--help"});
    BOOST_CHECK_EQUAL(help.code, 0);
    BOOST_CHECK(holds(help.output, "usage: tradewind " + verb));
    BOOST_CHECK(holds(help.output, "example"));
    BOOST_CHECK_EQUAL(help.errors, "");
    check_columns(help.output);
    BOOST_CHECK_EQUAL(shop.run({verb, "-h"}).output, help.output);
    BOOST_CHECK_EQUAL(shop.run({"help", verb}).output, help.output);
  }
  const Outcome nothing = shop.run({});
  BOOST_CHECK_EQUAL(nothing.code, 2);
  BOOST_CHECK_EQUAL(nothing.errors, program.output);
  const Outcome version = shop.run({"--version"});
  BOOST_CHECK_EQUAL(version.code, 0);
  BOOST_CHECK(version.output.starts_with("tradewind "));
}

BOOST_AUTO_TEST_CASE(a_command_line_that_makes_no_sense) {
  const Shop shop;
  check_refused(shop.run({"trian"}), 2, {"no verb \"trian\"", "did you mean \"train\"?", "tradewind --help"});
  check_refused(shop.run({"--verison"}), 2, {"did you mean \"--version\"?"});
  check_refused(shop.run({"train"}), 2, {"train: CONFIG is missing", "tradewind train --help"});
  check_refused(shop.run({"evaluate"}), 2, {"RUN is missing"});
  check_refused(shop.run({"export", "runs/x"}), 2, {"--to is missing"});
  check_refused(shop.run({"train", "tiny.toml", "--dry-rnu"}), 2, {"unknown option --dry-rnu", "did you mean \"--dry-run\"?"});
  check_refused(shop.run({"train", "tiny.toml", "other.toml"}), 2, {"no place for \"other.toml\""});
  check_refused(shop.run({"train", "tiny.toml", "--set"}), 2, {"--set"});
  check_refused(shop.run({"generate", "runs/x", "--tokens", "many"}), 2, {"--tokens", "many"});
  check_refused(shop.run({"generate", "runs/x", "--seed", "-1"}), 2, {"--seed"});
  check_refused(shop.run({"config", "shcema"}), 2, {"did you mean \"schema\"?"});
  check_refused(shop.run({"demo-text", "--documents", "0"}), 2, {"--documents"});
  check_refused(shop.run({"help", "trian"}), 2, {"no verb \"trian\"", "did you mean \"train\"?"});
  check_refused(shop.run({"completion", "tcsh"}), 2, {"bash, zsh and fish"});
}

BOOST_AUTO_TEST_CASE(a_config_that_is_wrong) {
  const Shop shop;
  check_refused(shop.run({"train", "tinny.toml"}), 2, {"tinny.toml", "No such file", "did you mean \"tiny.toml\"?"});
  shop.folder().write("typo.toml", "[train]\nstpes = 5\n");
  check_refused(shop.run({"train", "typo.toml"}), 2,
                {"typo.toml:2:1: unknown key \"train.stpes\"; did you mean \"train.steps\"?"});
  shop.folder().write("type.toml", "[train]\nsteps = \"5\"\n");
  check_refused(shop.run({"train", "type.toml"}), 2, {"type.toml:2:9: train.steps must be an integer"});
  shop.folder().write("syntax.toml", "[train\n");
  check_refused(shop.run({"train", "syntax.toml"}), 2, {"syntax.toml:1:"});
  check_refused(shop.train({"--set", "model.dropuot=0.1"}), 2,
                {"--set model.dropuot=0.1: unknown key \"model.dropuot\"; did you mean \"model.dropout\"?"});
  check_refused(shop.train({"--set", "model.name=gtp"}), 2, {"gtp", "did you mean \"gpt\"?"});
  check_refused(shop.train({"--set", "train.steps=0"}), 2, {"train.steps must be at least 1"});
  check_refused(shop.train({"--set", "schedule.warmup=100"}), 2, {"warmup"});
  check_refused(shop.train({"--set", "device=cuda"}), 5, {"without CUDA", "device = \"cpu\""});
  check_refused(shop.train({"--set", "precision=bfloat16"}), 5, {"bfloat16", "precision = \"float32\""});
  BOOST_CHECK(!fs::exists(shop.path() / "runs"));
}

BOOST_AUTO_TEST_CASE(data_that_is_wrong) {
  const Shop shop;
  check_refused(shop.train({"--set", "data.path=none.txt"}), 3, {"none.txt", "No such file"});
  shop.folder().write("empty.txt", "");
  check_refused(shop.train({"--set", "data.path=empty.txt"}), 3, {"empty.txt"});
  shop.folder().write("latin.txt", "caf\xE9 cr\xE8me\n");
  check_refused(shop.train({"--set", "data.path=latin.txt"}), 3, {"latin.txt", "UTF-8"});
  shop.folder().write("short.txt", "abc");
  check_refused(shop.train({"--set", "data.path=short.txt"}), 3, {"short.txt"});
  const auto status = nlohmann::json::parse(shop.text_of("runs/tiny/status.json"));
  BOOST_CHECK_EQUAL(status["state"], "failed");
  BOOST_CHECK_EQUAL(status["exit_code"], 3);
  BOOST_CHECK(holds(shop.text_of("runs/tiny/log.txt"), "error: "));
}

BOOST_AUTO_TEST_CASE(the_schema_explains_every_key) {
  const Shop shop;
  const Outcome all = shop.run({"config", "schema"});
  BOOST_CHECK_EQUAL(all.code, 0);
  check_columns(all.output);
  for (const std::string key : {"run.directory", "run.seed", "data.path", "train.steps", "train.batch", "train.micro_batch",
                                "model.dropout", "device", "precision"})
    BOOST_CHECK_MESSAGE(holds("\n" + all.output, "\n" + key + " = "), key);
  BOOST_CHECK(holds(all.output, "gpt: "));
  const Outcome one = shop.run({"config", "schema", "train.micro_batch"});
  BOOST_CHECK(one.output.starts_with("train.micro_batch = 0\n"));
  check_refused(shop.run({"config", "schema", "train.stpes"}), 2, {"did you mean \"train.steps\"?"});
  const auto json = nlohmann::json::parse(shop.run({"config", "schema", "--json"}).output);
  BOOST_CHECK_GT(json.at("keys").size(), 40);
  for (const auto& key : json.at("keys")) {
    std::string line = key.at("key").get<std::string>() + " = ";
    line += key.at("default").get<std::string>();
    BOOST_CHECK_MESSAGE(holds(all.output, line), line);
  }
  const auto device = nlohmann::json::parse(shop.run({"config", "schema", "device", "--json"}).output).at("keys").at(0);
  BOOST_CHECK_EQUAL(device.at("choices").size(), 3);
  check_refused(shop.run({"config", "schema", "train.stpes", "--json"}), 2, {"did you mean \"train.steps\"?"});
}

BOOST_AUTO_TEST_CASE(a_dry_run_tries_every_check) {
  const Shop shop;
  const Outcome good = shop.train({"--dry-run"});
  BOOST_CHECK_EQUAL(good.code, 0);
  for (int i = 1; i <= 7; ++i) BOOST_CHECK_MESSAGE(holds(good.output, std::to_string(i) + ". \u2713 "), good.output);
  BOOST_CHECK(holds(shop.run({"train", "tiny.toml", "--dry-run"}, "C").output, "1. ok "));
  const Outcome bad = shop.train({"--dry-run", "--set", "data.path=none.txt", "--set", "device=cuda"});
  BOOST_CHECK_EQUAL(bad.code, 3);
  BOOST_CHECK(holds(bad.output, "1. \u2713 config") && holds(bad.output, "2. \u2717 data") &&
              holds(bad.output, "7. \u2717 threads"));
  BOOST_CHECK_EQUAL(shop.train({"--dry-run", "--set", "train.stpes=1"}).code, 2);
  for (const Outcome& outcome : {good, bad}) {
    std::istringstream lines(outcome.output);  // a tick has three bytes and one column
    for (std::string line; std::getline(lines, line);) BOOST_CHECK_MESSAGE(line.size() <= 82, line);
  }
  const Outcome json = shop.train({"--dry-run", "--json", "--set", "data.path=none.txt"});
  BOOST_CHECK_EQUAL(json.code, 3);
  const auto object = nlohmann::json::parse(json.output);
  BOOST_CHECK_EQUAL(object.at("exit_code"), 3);
  BOOST_CHECK_EQUAL(object.at("checks").at(0).at("state"), "good");
  BOOST_CHECK_EQUAL(object.at("checks").at(1).at("name"), "data");
  BOOST_CHECK_EQUAL(object.at("checks").at(1).at("state"), "failed");
  BOOST_CHECK_EQUAL(object.at("checks").at(2).at("state"), "failed");
  BOOST_CHECK_EQUAL(nlohmann::json::parse(shop.train({"--dry-run", "--json"}).output).at("good"), true);
  check_refused(shop.train({"--json"}), 2, {"--json goes with --dry-run"});
  BOOST_CHECK(!fs::exists(shop.path() / "runs"));
}

BOOST_AUTO_TEST_CASE(a_run_from_training_to_export) {
  const Shop shop;
  const Outcome trained = shop.train();
  BOOST_REQUIRE_MESSAGE(trained.code == 0, trained.errors);
  BOOST_CHECK(holds(trained.output, "runs/tiny"));
  BOOST_CHECK(!holds(trained.output, "\r") && !holds(trained.output, "\x1b"));
  const auto status = nlohmann::json::parse(shop.text_of("runs/tiny/status.json"));
  BOOST_CHECK_EQUAL(status["state"], "finished");
  BOOST_CHECK_EQUAL(status["step"], 6);

  check_refused(shop.train(), 2, {"finished run of 6 steps", "--fresh"});
  const Outcome evaluated = shop.run({"evaluate", "runs/tiny", "--json"});
  BOOST_REQUIRE_MESSAGE(evaluated.code == 0, evaluated.errors);
  BOOST_CHECK(nlohmann::json::parse(evaluated.output).at("loss").get<double>() > 0);
  BOOST_CHECK_EQUAL(shop.run({"evaluate", "runs/tiny", "--checkpoint", "best"}).code, 0);
  check_refused(shop.run({"evaluate", "runs/tiny", "--checkpoint", "77"}), 4, {"77"});
  check_refused(shop.run({"evaluate", "runs/none"}), 2, {"runs/none"});

  const std::vector<std::string> asked = {"generate", "runs/tiny", "--prompt", "Soft", "--tokens", "20", "--seed", "3"};
  const Outcome generated = shop.run(asked);
  BOOST_REQUIRE_MESSAGE(generated.code == 0, generated.errors);
  std::vector<std::string> as_json = asked;
  as_json.emplace_back("--json");
  const auto texts = nlohmann::json::parse(shop.run(as_json).output);
  BOOST_CHECK_EQUAL(texts.at("step"), 6);
  BOOST_CHECK_EQUAL(texts.at("texts").at(0).get<std::string>() + "\n", generated.output);
  as_json.emplace_back("--stream");
  check_refused(shop.run(as_json), 2, {"--stream and --json"});
  const Outcome exported = shop.run({"export", "runs/tiny", "--to", "as-json.h5", "--json"});
  BOOST_CHECK_EQUAL(nlohmann::json::parse(exported.output).at("path"), "as-json.h5");
  BOOST_CHECK_EQUAL(shop.run({"export", "runs/tiny", "--to", "directory", "--format", "huggingface"}).code, 0);
  const auto imported = nlohmann::json::parse(shop.run({"import", "directory", "--to", "runs/imported", "--json"}).output);
  BOOST_CHECK_EQUAL(imported.at("path"), "runs/imported");
  BOOST_CHECK_EQUAL(imported.at("model"), "gpt");
  BOOST_CHECK_EQUAL(imported.at("parameters"), nlohmann::json::parse(exported.output).at("parameters"));
  BOOST_CHECK(generated.output.starts_with("Soft"));
  auto streamed = asked;
  streamed.push_back("--stream");
  BOOST_CHECK_EQUAL(shop.run(streamed).output, generated.output);
  check_refused(shop.run({"generate", "runs/tiny", "--prompt", "Soft \u20AC"}), 3, {"U+20AC"});
  check_refused(shop.run({"generate", "runs/tiny", "--prompt", "S", "--top-p", "0"}), 2, {"--top-p"});

  BOOST_CHECK_EQUAL(shop.run({"export", "runs/tiny", "--to", "m.h5"}).code, 0);
  BOOST_CHECK(fs::file_size(shop.path() / "m.h5") > 1000);
  const Outcome again = shop.run({"export", "runs/tiny", "--to", "m.h5"});
  BOOST_CHECK(again.code != 0 && holds(again.errors, "--overwrite"));
  BOOST_CHECK_EQUAL(shop.run({"export", "runs/tiny", "--to", "m.h5", "--overwrite"}).code, 0);

  BOOST_CHECK_EQUAL(shop.train({"--fresh", "--set", "train.steps=2"}).code, 0);
  BOOST_CHECK(fs::exists(shop.path() / "runs/tiny/old/status.json"));
}

BOOST_AUTO_TEST_CASE(a_script_is_told_what_was_written) {
  const Shop shop;
  const auto copy = nlohmann::json::parse(shop.run({"demo-text", "--to", "copy.txt", "--documents", "7", "--json"}).output);
  BOOST_CHECK_EQUAL(copy.at("documents"), 7);
  BOOST_CHECK_EQUAL(copy.at("bytes"), fs::file_size(shop.path() / "copy.txt"));
  check_refused(shop.run({"demo-text", "--json"}), 2, {"--json goes with --to"});

  const std::vector<std::string> prepare = {"prepare", "tiny.toml", "--to", "tiny.h5", "--json"};
  const Outcome prepared = shop.run(prepare);
  BOOST_REQUIRE_MESSAGE(prepared.code == 0, prepared.errors);
  const auto told = nlohmann::json::parse(prepared.output);  // nothing else is on stdout
  BOOST_CHECK_EQUAL(told.at("state"), "prepared");
  BOOST_CHECK_GT(told.at("sources").at(0).at("tokens").get<int>(), 0);
  auto before = nlohmann::json::parse(shop.run(prepare).output);
  BOOST_CHECK_EQUAL(before.at("state"), "prepared before");
  before["state"] = "prepared";
  BOOST_CHECK_EQUAL(before, told);
}

BOOST_AUTO_TEST_CASE(a_run_that_is_stopped_goes_on_with_the_same_command) {
  const Shop shop;
  const std::vector<std::string> arguments = {TRADEWIND_BINARY, "train", "tiny.toml", "--set", "train.steps=1000000"};
  for (const int signal : {SIGTERM, SIGINT}) {
    Command command(arguments, shop.path());
    const auto metrics = shop.path() / "runs/tiny/metrics.jsonl";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto before = fs::exists(metrics) ? fs::file_size(metrics) : 0;
    while (command.running() && std::chrono::steady_clock::now() < deadline &&
           (!fs::exists(metrics) || fs::file_size(metrics) < before + 1000))
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (signal == SIGTERM) {
      const fs::path elsewhere = shop.path() / "second";  // so that its output does not go over the first one's
      fs::create_directories(elsewhere);
      Command second({TRADEWIND_BINARY, "train", "../tiny.toml", "--set", "run.directory=../runs/tiny"}, elsewhere);
      check_refused(second.wait(), 2, {"is in use by process ", "run.directory"});
    }
    command.signal(signal);
    const Outcome stopped = command.wait();
    BOOST_CHECK_MESSAGE(stopped.code == 75, stopped.code << ": " << stopped.errors);
    BOOST_CHECK(holds(stopped.output, "run the same command again to go on"));
    const auto status = nlohmann::json::parse(shop.text_of("runs/tiny/status.json"));
    BOOST_CHECK_EQUAL(status["state"], "stopped");
    BOOST_CHECK_EQUAL(status["exit_code"], 75);
    if (signal == SIGINT) BOOST_CHECK(holds(stopped.output, "going on from step "));
  }
  check_refused(shop.train({"--set", "train.steps=1000000", "--set", "run.seed=5"}), 2,
                {"another config", "run.seed: 1 in the run, 5 now", "--fresh"});
  // One line a step, in order, none twice.
  std::istringstream lines(shop.text_of("runs/tiny/metrics.jsonl"));
  std::int64_t expected = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line);
    if (object.contains("loss")) BOOST_REQUIRE_EQUAL(object["step"].get<std::int64_t>(), ++expected);
  }
  BOOST_CHECK_GT(expected, 0);
}

BOOST_AUTO_TEST_CASE(demo_text_is_written_or_printed) {
  const Shop shop;
  const Outcome printed = shop.run({"demo-text", "--documents", "3"});
  BOOST_CHECK_EQUAL(printed.code, 0);
  BOOST_CHECK(holds(printed.output, "\n\n"));
  BOOST_CHECK_EQUAL(shop.run({"demo-text", "--documents", "3", "--to", "a/b.txt"}).code, 0);
  BOOST_CHECK_EQUAL(shop.text_of("a/b.txt"), printed.output);
  BOOST_CHECK(shop.run({"demo-text", "--documents", "3", "--seed", "2"}).output != printed.output);
}
