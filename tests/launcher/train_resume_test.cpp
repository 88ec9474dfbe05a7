// A run that is stopped anywhere, in whatever way, ends with the bits of one that was not.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/data/product_copy.h"
#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

// 12 is no multiple of 5, nor 20 and 200 of 7: a kill lands between micro-batches, and steps that are evaluated are others
// than those that are saved. 1,093 blocks an epoch: the run ends in its third.
constexpr const char* kConfig = R"([run]
directory = "run"
[data]
path = "../copy.txt"
documents = "line"
[model]
name = "gpt"
layers = 2
heads = 2
channels = 32
context = 32
dropout = 0.1
[train]
steps = 200
batch = 12
micro_batch = 5
[schedule]
name = "cosine"
warmup = 10
[evaluate]
every = 20
batches = 4
[checkpoint]
every = 7
[runtime]
threads = 2
)";
constexpr std::int64_t kSteps = 200;
const std::vector<std::string> kTrain = {"train", "tiny.toml"};

std::vector<nlohmann::json> lines_of(const fs::path& metrics) {
  std::vector<nlohmann::json> out;
  std::istringstream in(text_of(metrics));
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

/// The last step that metrics.jsonl of a run knows, which may be in the making; 0 where there is none.
std::int64_t last_step(const fs::path& run) {
  const std::string text = text_of(run / "metrics.jsonl");
  const std::size_t found = text.rfind("{\"step\":");
  return found == std::string::npos ? 0 : std::atoll(text.c_str() + found + 8);
}

nlohmann::json status_of(const fs::path& run) { return nlohmann::json::parse(text_of(run / "status.json")); }

bool says(const Outcome& outcome, const std::string& text) { return outcome.errors.find(text) != std::string::npos; }

std::vector<std::string> with_binary(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), TRADEWIND_BINARY);
  return arguments;
}

Outcome tradewind(const fs::path& folder, const std::vector<std::string>& arguments) {
  return Command(with_binary(arguments), folder).wait();
}

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

bool finished(const fs::path& run) {
  return fs::exists(run / "status.json") && status_of(run).at("state").get<std::string>() == "finished";
}

/// What a run has come to: everything that may not depend on interruptions.
struct Result {
  std::string chunk;                    // the last checkpoint's tensors, byte for byte
  nlohmann::json state;                 // without seconds
  std::vector<nlohmann::json> metrics;  // without timings
};

Result result_of(const fs::path& run) {
  Result out;
  const auto checkpoints = runtime::list_checkpoints(run / "checkpoints");
  BOOST_REQUIRE(!checkpoints.empty());
  const auto checkpoint = runtime::Checkpoint::open(checkpoints.back());
  BOOST_REQUIRE_EQUAL(checkpoint.step(), kSteps);
  out.chunk = text_of(checkpoints.back() / "chunk-00000-of-00001.safetensors");
  out.state = checkpoint.state();
  out.state.erase("seconds");
  out.metrics = lines_of(run / "metrics.jsonl");
  for (auto& line : out.metrics)
    for (const char* timing : {"seconds", "tokens_per_second", "mfu", "memory_bytes"}) line.erase(timing);
  return out;
}

void check_equal(const std::string& what, const Result& result, const Result& expected) {
  BOOST_CHECK_MESSAGE(result.chunk == expected.chunk, what << ": the last checkpoint's tensors differ");
  BOOST_CHECK_MESSAGE(result.state == expected.state, what << ": the last checkpoint's state differs");
  BOOST_CHECK_MESSAGE(result.metrics.size() == expected.metrics.size(),
                      what << ": metrics.jsonl has " << result.metrics.size() << " lines, not " << expected.metrics.size());
  for (std::size_t i = 0; i < std::min(result.metrics.size(), expected.metrics.size()); ++i)
    if (result.metrics[i] != expected.metrics[i]) {
      BOOST_CHECK_MESSAGE(
          false, what << ": line " << i + 1 << " of metrics.jsonl is " << result.metrics[i] << ", not " << expected.metrics[i]);
      break;
    }
}

/// The text, and a run from beginning to end; made once.
class Place {
 public:
  static const Place& get() {
    static const Place kPlace;
    return kPlace;
  }
  /// A new folder with the config in it.
  fs::path folder(const std::string& name) const {
    fs::path out = scratch_.path() / name;
    fs::create_directory(out);
    std::ofstream(out / "tiny.toml") << kConfig;
    return out;
  }
  /// A folder with a run that SIGTERM stopped somewhere behind step 60.
  fs::path stopped(const std::string& name) const {
    fs::path out = scratch_.path() / name;
    fs::copy(stopped_, out, fs::copy_options::recursive);
    return out;
  }
  const fs::path& unbroken() const { return unbroken_; }
  const Result& reference() const { return reference_; }
  double seconds() const { return seconds_; }

 private:
  Place() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);  // threads that spin long starve the tests beside this one
    scratch_.write("copy.txt", runtime::product_copy(1, 120));
    unbroken_ = folder("unbroken");
    const auto begin = Clock::now();
    const Outcome outcome = tradewind(unbroken_, kTrain);
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
    seconds_ = seconds_since(begin);
    reference_ = result_of(unbroken_ / "run");
    stopped_ = folder("stopped");
    Command child(with_binary(kTrain), stopped_);
    while (last_step(stopped_ / "run") < 60 && !child.ends_within(0.002)) {
    }
    child.signal(SIGTERM);
    const Outcome stopped = child.wait();
    BOOST_REQUIRE_MESSAGE(stopped.code == 75, stopped);
  }

  TemporaryFolder scratch_;
  fs::path unbroken_, stopped_;
  Result reference_;
  double seconds_ = 0;
};

void flip_a_byte(const fs::path& file) {
  std::string bytes = text_of(file);
  BOOST_REQUIRE(!bytes.empty());
  bytes[bytes.size() / 2] ^= 0x10;
  std::ofstream(file, std::ios::binary) << bytes;
}

std::vector<fs::path> checkpoints_of(const fs::path& folder) {
  return runtime::list_checkpoints(folder / "run" / "checkpoints");
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_run_is_its_steps_and_holds_all_states) {
  const Result& reference = Place::get().reference();
  std::int64_t steps = 0, evaluations = 0;
  for (const auto& line : reference.metrics) {
    if (line.contains("loss")) BOOST_CHECK_EQUAL(line.at("step").get<std::int64_t>(), ++steps);
    if (line.contains("validation_loss")) ++evaluations;
  }
  BOOST_CHECK_EQUAL(steps, kSteps);
  BOOST_CHECK_EQUAL(evaluations, 10);
  const auto checkpoint = runtime::Checkpoint::open(checkpoints_of(Place::get().unbroken()).back());
  std::int64_t parameters = 0, states = 0;
  for (const std::string& name : checkpoint.names()) ++(name.starts_with("optimizer.") ? states : parameters);
  BOOST_CHECK(parameters > 20);
  BOOST_CHECK_EQUAL(states, 2 * parameters);  // AdamW's two moments
}

BOOST_AUTO_TEST_CASE(another_seed_gives_other_bits) {  // else the comparisons below would say nothing
  const fs::path folder = Place::get().folder("seed");
  const Outcome outcome = tradewind(folder, {"train", "tiny.toml", "--set", "run.seed=2"});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  const Result result = result_of(folder / "run");
  BOOST_CHECK(result.chunk != Place::get().reference().chunk);
  BOOST_CHECK(result.metrics != Place::get().reference().metrics);
}

BOOST_AUTO_TEST_CASE(resume_is_bit_exact_after_kill) {
  const Place& place = Place::get();
  std::mt19937 random(20);
  const auto uniform = [&] { return static_cast<double>(random()) / 4294967296.0; };
  double whole = place.seconds();  // of an unbroken run; measured anew where one ends early, as this machine may be shared
  int runs = 0, hits = 0, second_hits = 0;
  std::int64_t first = kSteps, last = 0;
  for (; runs < 20 || (hits < 12 && runs < 60); ++runs) {
    const std::string name = "killed-" + std::to_string(runs);
    const fs::path folder = place.folder(name), run = folder / "run";
    double took = 0;
    const auto killed = [&](double within) {
      const auto begin = Clock::now();
      Command child(with_binary(kTrain), folder);
      if (child.ends_within(within * uniform())) took = seconds_since(begin);
      child.signal(SIGKILL);
      return child.wait();
    };
    const Outcome outcome = killed(1.1 * whole);
    if (outcome.code == 128 + SIGKILL && last_step(run) > 0) {
      ++hits;
      first = std::min(first, last_step(run));
      last = std::max(last, last_step(run));
      if (runs % 2 == 1 && killed(0.5 * whole).code == 128 + SIGKILL) ++second_hits;
    } else if (took > 0) {
      whole = took;
    }
    if (!finished(run)) {
      const Outcome end = tradewind(folder, kTrain);
      BOOST_REQUIRE_MESSAGE(end.code == 0, name << ": " << end);
    }
    BOOST_REQUIRE(finished(run));
    check_equal(name, result_of(run), place.reference());
    fs::remove_all(folder);
  }
  std::cout << hits << " of " << runs << " runs were killed after their first step (steps " << first << " to " << last << "), "
            << second_hits << " of them a second time\n";
  BOOST_CHECK_GE(hits, 12);
}

BOOST_AUTO_TEST_CASE(sigterm_stops_at_a_checkpoint_and_the_same_command_goes_on) {
  const fs::path folder = Place::get().stopped("sigterm"), run = folder / "run";
  const auto status = status_of(run);
  BOOST_CHECK_EQUAL(status.at("state").get<std::string>(), "stopped");
  BOOST_CHECK_EQUAL(status.at("exit_code").get<int>(), 75);
  const auto step = status.at("step").get<std::int64_t>();
  BOOST_CHECK(step >= 60 && step < kSteps);
  BOOST_CHECK_EQUAL(step, last_step(run));
  BOOST_CHECK_EQUAL(runtime::Checkpoint::open(checkpoints_of(folder).back()).step(), step);
  const Outcome outcome = tradewind(folder, kTrain);
  BOOST_CHECK_MESSAGE(outcome.code == 0, outcome);
  BOOST_CHECK_MESSAGE(outcome.output.find("going on from step " + std::to_string(step)) != std::string::npos, outcome);
  check_equal("stopped", result_of(run), Place::get().reference());
  BOOST_CHECK_EQUAL(status_of(run).at("state").get<std::string>(), "finished");
}

BOOST_AUTO_TEST_CASE(sigterm_ends_an_evaluation_and_the_same_command_makes_it_up) {
  // A window at a time, so that an evaluation takes far longer than a step.
  const std::vector<std::string> train = {"train", "tiny.toml", "--set", "evaluate.batch=1", "--set", "evaluate.batches=0"};
  const fs::path unbroken = Place::get().folder("evaluations");
  BOOST_REQUIRE_EQUAL(tradewind(unbroken, train).code, 0);
  const Result expected = result_of(unbroken / "run");
  for (const std::int64_t step : {std::int64_t{20}, kSteps}) {
    bool cut = false;
    for (int tries = 0; tries < 20 && !cut; ++tries) {  // a signal can come behind the evaluation's end
      const fs::path folder = Place::get().folder("evaluation-" + std::to_string(step) + "-" + std::to_string(tries)),
                     run = folder / "run";
      Command child(with_binary(train), folder);
      while (last_step(run) < step && !child.ends_within(0.001)) {
      }
      child.signal(SIGTERM);
      const Outcome outcome = child.wait();
      cut = outcome.code == 75 && last_step(run) == step && !lines_of(run / "metrics.jsonl").back().contains("validation_loss");
      if (cut) BOOST_CHECK_EQUAL(runtime::Checkpoint::open(checkpoints_of(folder).back()).step(), step);
      if (!finished(run)) {
        const Outcome end = tradewind(folder, train);
        BOOST_REQUIRE_MESSAGE(end.code == 0, end);
      }
      check_equal(folder.filename().string(), result_of(run), expected);
    }
    BOOST_CHECK_MESSAGE(cut, "in 20 runs no evaluation of step " << step << " was cut short");
  }
}

BOOST_AUTO_TEST_CASE(a_finished_run_is_refused_and_fresh_starts_anew) {
  const fs::path folder = Place::get().folder("finished"), run = folder / "run";
  const std::vector<std::string> first = {"train", "tiny.toml", "--set", "train.steps=12", "--set", "run.seed=7"};
  std::vector<std::string> fresh = {"train", "tiny.toml", "--set", "train.steps=20", "--fresh"};
  BOOST_REQUIRE_EQUAL(tradewind(folder, first).code, 0);
  const std::string metrics = text_of(run / "metrics.jsonl");
  const Outcome refused = tradewind(folder, first);
  BOOST_CHECK_MESSAGE(refused.code == 2 && says(refused, "finished") && says(refused, "--fresh"), refused);
  BOOST_CHECK(text_of(run / "metrics.jsonl") == metrics);
  const Outcome outcome = tradewind(folder, fresh);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  BOOST_CHECK_EQUAL(status_of(run).at("step").get<int>(), 20);
  const auto lines = lines_of(run / "metrics.jsonl");
  BOOST_CHECK_EQUAL(lines.front().at("step").get<int>(), 1);
  BOOST_CHECK_EQUAL(lines.back().at("step").get<int>(), 20);
  BOOST_CHECK(text_of(run / "old" / "metrics.jsonl") == metrics);
  BOOST_CHECK_EQUAL(runtime::list_checkpoints(run / "old" / "checkpoints").size(), 2U);  // steps 7 and 12
  for (const auto& directory : checkpoints_of(folder)) runtime::Checkpoint::open(directory);
}

BOOST_AUTO_TEST_CASE(another_config_is_refused_by_the_key) {
  const fs::path folder = Place::get().stopped("config"), run = folder / "run";
  const std::string before = text_of(run / "config.toml");
  const Outcome outcome = tradewind(folder, {"train", "tiny.toml", "--set", "model.dropout=0.25"});
  BOOST_CHECK_MESSAGE(outcome.code == 2 && says(outcome, "model.dropout: 0.1 in the run, 0.25 now"), outcome);
  BOOST_CHECK_MESSAGE(says(outcome, "--fresh") && says(outcome, "run.directory"), outcome);
  BOOST_CHECK(text_of(run / "config.toml") == before);
  BOOST_CHECK_EQUAL(status_of(run).at("state").get<std::string>(), "stopped");
}

BOOST_AUTO_TEST_CASE(a_run_in_use_is_refused_by_process) {
  const fs::path folder = Place::get().folder("in-use"), other = Place::get().folder("in-use-other");
  Command child(with_binary({"train", "tiny.toml", "--set", "train.steps=1000000"}), folder);
  while (last_step(folder / "run") == 0) BOOST_REQUIRE(!child.ends_within(0.002));
  for (const char* fresh : {"", "--fresh"}) {
    std::vector<std::string> arguments = {"train", "tiny.toml", "--set", "run.directory=" + (folder / "run").string()};
    if (*fresh != '\0') arguments.emplace_back(fresh);
    const Outcome outcome = tradewind(other, arguments);
    BOOST_CHECK_MESSAGE(outcome.code == 2 && says(outcome, "in use by process " + std::to_string(child.process())), outcome);
  }
  child.signal(SIGTERM);
  const Outcome stopped = child.wait();
  BOOST_CHECK_MESSAGE(stopped.code == 75, stopped);
}

BOOST_AUTO_TEST_CASE(a_damaged_checkpoint_is_passed_over) {
  for (const char* file : {"chunk-00000-of-00001.safetensors", "state.json", "manifest.json"}) {
    const fs::path folder = Place::get().stopped(std::string("damaged-") + file);
    const auto checkpoints = checkpoints_of(folder);
    BOOST_REQUIRE_GE(checkpoints.size(), 2U);
    flip_a_byte(checkpoints.back() / file);
    const auto before = runtime::Checkpoint::open(checkpoints[checkpoints.size() - 2]).step();
    const Outcome outcome = tradewind(folder, kTrain);
    BOOST_CHECK_MESSAGE(outcome.code == 0, outcome);
    BOOST_CHECK_MESSAGE(
        says(outcome, "warning: ") && says(outcome, checkpoints.back().filename().string()) && says(outcome, file), outcome);
    BOOST_CHECK_MESSAGE(outcome.output.find("going on from step " + std::to_string(before)) != std::string::npos, outcome);
    check_equal(std::string("damaged ") + file, result_of(folder / "run"), Place::get().reference());
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_trained_where_no_checkpoint_verifies) {
  const fs::path folder = Place::get().stopped("all-damaged"), run = folder / "run";
  const std::string metrics = text_of(run / "metrics.jsonl");
  for (const fs::path& directory : checkpoints_of(folder)) flip_a_byte(directory / "chunk-00000-of-00001.safetensors");
  const auto checkpoints = checkpoints_of(folder);
  for (const std::vector<std::string>& command :
       {kTrain, {"evaluate", "run"}, {"generate", "run"}, {"export", "run", "--to", "model.h5"}}) {
    const Outcome outcome = tradewind(folder, command);
    BOOST_CHECK_MESSAGE(outcome.code == 4 && says(outcome, "error: none of the ") && says(outcome, "restore"), outcome);
  }
  BOOST_CHECK(checkpoints_of(folder) == checkpoints);
  BOOST_CHECK(text_of(run / "metrics.jsonl") == metrics);
  const Outcome fresh = tradewind(folder, {"train", "tiny.toml", "--fresh", "--set", "train.steps=15"});
  BOOST_CHECK_MESSAGE(fresh.code == 0, fresh);
}

}  // namespace tradewind::tests
