// One run on any number of ranks is the same run: losses, ZeRO, checkpoints that go on elsewhere, kills at any moment. And what
// the ranks exchange is what they must.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/support/command.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

// 3 does not divide the shares of 12 samples over 1, 2, 3 and 4 ranks alike: 4, 2, 2 and 1 micro-batches.
constexpr const char* kRecipe = R"(device = "cpu"
[data]
path = "text.txt"
[model]
name = "gpt"
context = 32
layers = 2
heads = 2
channels = 32
dropout = 0.1
[train]
steps = 200
batch = 12
micro_batch = 3
check_parameters_every = 50
[evaluate]
every = 50
[checkpoint]
every = 20
keep_last = 100
[runtime]
threads = 1
[cluster]
heartbeat_seconds = 5
)";
constexpr int kSteps = 200;
constexpr double kTolerance = 1e-5;  // relative

using Arguments = std::vector<std::string>;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool mpirun_is_here() {
  if (!under_mpirun(1, {}).empty()) return true;
  std::cout << "SKIPPED cluster/ranks_test: there is no mpirun; install openmpi-bin\n";
  return false;
}

class Runs {
 public:
  Runs() {
    folder_.write("run.toml", kRecipe);
    std::string text;
    for (int i = 0; i < 400; ++i)
      text += "Soft linen towel number " + std::to_string(i) + ", in " + std::to_string(i % 7) + " colours.\n";
    folder_.write("text.txt", text);
  }

  fs::path path(const std::string& run) const { return folder_.path() / run; }

  /// One rank: without mpirun. `front` comes before the program, as a wrapper.
  Arguments command(int ranks, const std::string& run, const Arguments& settings, const Arguments& front = {}) const {
    Arguments out = front;
    out.insert(out.end(), {TRADEWIND_BINARY, "train", "run.toml", "--set", "run.directory=" + run});
    for (const auto& setting : settings) out.insert(out.end(), {"--set", setting});
    return ranks == 1 ? out : under_mpirun(ranks, out);
  }
  Outcome train(int ranks, const std::string& run, const Arguments& settings = {}, const Arguments& front = {}) const {
    Command program(command(ranks, run, settings, front), folder_.path());
    BOOST_REQUIRE_MESSAGE(program.ends_within(120), "it did not end: " << program.wait());
    return program.wait();
  }
  void train_well(int ranks, const std::string& run, const Arguments& settings = {}) const {
    const Outcome outcome = train(ranks, run, settings);
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  }
  std::unique_ptr<Command> start(int ranks, const std::string& run) const {
    return std::make_unique<Command>(command(ranks, run, {}), folder_.path());
  }

  /// Training losses by step, and evaluations by minus the step.
  std::map<int, double> losses(const std::string& run) const {
    std::map<int, double> out;
    std::istringstream in(text_of(path(run) / "metrics.jsonl"));
    for (std::string line; std::getline(in, line);) {
      const auto entry = nlohmann::json::parse(line);
      const int step = entry.at("step").get<int>();
      if (entry.contains("loss")) out[step] = entry.at("loss").get<double>();
      if (entry.contains("validation_loss")) out[-step] = entry.at("validation_loss").get<double>();
    }
    return out;
  }

  void check_losses(const std::string& run, const std::string& as) const {
    const auto a = losses(run), b = losses(as);
    BOOST_TEST(b.size() == static_cast<std::size_t>(kSteps) + 4);
    BOOST_TEST(a.size() == b.size());
    double worst = 0;
    for (const auto& [step, loss] : b) {
      const double error = a.contains(step) ? std::abs(a.at(step) - loss) / loss : HUGE_VAL;
      if (!(error <= worst)) worst = error;
    }
    std::cout << run << " against " << as << ": losses differ by " << worst << '\n';
    BOOST_TEST((worst <= kTolerance), run << " differs from " << as << " by " << worst);
  }

  /// Every byte of every tensor of the last checkpoint, parameters and optimiser.
  std::map<std::string, std::vector<float>> tensors(const std::string& run) const {
    const auto checkpoint = runtime::Checkpoint::open(path(run) / "checkpoints/step-00000200");
    std::map<std::string, std::vector<float>> out;
    for (const auto& name : checkpoint.names()) {
      auto& values = out[name];
      values.resize(static_cast<std::size_t>(checkpoint.shape(name).elements()));
      checkpoint.read(name, 0, checkpoint.shape(name).elements(), runtime::DType::kFloat32, values.data());
    }
    return out;
  }
  bool same_bits(const std::string& run, const std::string& other) const {
    const auto a = tensors(run), b = tensors(other);
    if (a.size() != b.size() || a.empty()) return false;
    for (const auto& [name, values] : a)
      if (!b.contains(name) || b.at(name).size() != values.size() ||
          std::memcmp(b.at(name).data(), values.data(), values.size() * sizeof(float)) != 0)
        return false;
    return true;
  }

  /// Leaves the checkpoints up to `step`, as after a stop there.
  void cut_to(const std::string& run, int step) const {
    for (const auto& entry : fs::directory_iterator(path(run) / "checkpoints"))
      if (const std::string name = entry.path().filename(); name.starts_with("step-") && std::stoi(name.substr(5)) > step)
        fs::remove_all(entry.path());
    auto status = nlohmann::json::parse(text_of(path(run) / "status.json"));
    status["state"] = "stopped";
    status["step"] = step;
    std::ofstream(path(run) / "status.json") << status.dump();
  }

  pid_t process_of(int rank) const {
    const std::string wanted = std::string(1, '\0') + "OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + std::string(1, '\0');
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::error_code gone;
      if (fs::read_symlink(entry.path() / "exe", gone) == fs::canonical(TRADEWIND_BINARY) &&
          fs::read_symlink(entry.path() / "cwd", gone) == folder_.path() && has(text_of(entry.path() / "environ"), wanted))
        return std::stoi(entry.path().filename());
    }
    return 0;
  }

 private:
  TemporaryFolder folder_;
};

BOOST_AUTO_TEST_CASE(losses_do_not_depend_on_the_number_of_ranks) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  runs.train_well(1, "one");
  for (const int ranks : {2, 3, 4})
    for (const bool zero : {false, true}) {
      const std::string run = std::to_string(ranks) + (zero ? "-zero" : "-plain");
      runs.train_well(ranks, run, {zero ? "train.zero=1" : "train.zero=0"});
      runs.check_losses(run, "one");
    }
  // On more ranks reduce-scatter and all-reduce may add in another order.
  BOOST_TEST(runs.same_bits("2-zero", "2-plain"), "ZeRO on 2 ranks gives other bits");
}

BOOST_AUTO_TEST_CASE(a_run_goes_on_with_any_number_of_ranks) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  runs.train_well(2, "whole");
  for (const bool zero : {false, true}) {
    const std::string begun = zero ? "begun-zero" : "begun";
    runs.train_well(2, begun, {zero ? "train.zero=1" : "train.zero=0"});
    runs.cut_to(begun, 100);
    for (const int ranks : {1, 2, 3}) {
      const std::string run = begun + std::to_string(ranks);
      fs::copy(runs.path(begun), runs.path(run), fs::copy_options::recursive);
      const Outcome outcome = runs.train(ranks, run, {zero != (ranks == 3) ? "train.zero=1" : "train.zero=0"});
      BOOST_TEST(outcome.code == 0, outcome);
      BOOST_TEST(has(outcome.output, "going on from step 100"), outcome);
      runs.check_losses(run, "whole");
      if (ranks == 2) BOOST_TEST(runs.same_bits(run, "whole"), "going on with as many ranks gives other bits");
    }
  }
}

BOOST_AUTO_TEST_CASE(killed_at_any_moment_it_ends_with_the_same_bits) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  const auto start = std::chrono::steady_clock::now();
  runs.train_well(2, "whole");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::mt19937 random(4);
  int kills = 0;
  for (int round = 0; kills < 20 && round < 60; ++round) {
    const std::string run = "killed" + std::to_string(round);
    for (bool ended = false; !ended;) {
      auto program = runs.start(2, run);
      // Each attempt is killed somewhere in its first half, so that the run gets on.
      const double after = kills < 20 ? seconds * 0.5 * std::generate_canonical<double, 32>(random) : 1e9;
      if (program->ends_within(std::min(after, 100.0))) {
        const Outcome outcome = program->wait();
        BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
        ended = true;
      } else {
        const pid_t victim = runs.process_of(static_cast<int>(random() % 2));
        if (victim == 0) BOOST_REQUIRE_MESSAGE(kills < 20, "it does not end");
        if (victim != 0) {
          ::kill(victim, SIGKILL);
          ++kills;
        }
        if (!program->ends_within(60)) {
          // mpirun of Open MPI 4.1 can lock itself out (PMIx_server_finalize) where a rank dies while it connects to it.
          const bool ranks_ended = runs.process_of(0) == 0 && runs.process_of(1) == 0;
          BOOST_REQUIRE_MESSAGE(ranks_ended, "a rank did not end by itself");
          std::cout << "the ranks ended, and mpirun did not: it was killed\n";
          program->signal(SIGKILL);
        }
        // A rank that is killed on its way out leaves a run that is finished.
        ended = has(text_of(runs.path(run) / "status.json"), "\"finished\"");
      }
    }
    BOOST_TEST(runs.same_bits(run, "whole"), run << " ended with other bits");
  }
  std::cout << "killed " << kills << " times\n";
  BOOST_TEST(kills == 20);
}

BOOST_AUTO_TEST_CASE(a_run_can_be_begun_anew_again_and_again) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  for (int i = 0; i < 3; ++i) {
    auto command = runs.command(2, "anew", {"train.steps=2"});
    command.emplace_back("--fresh");
    const Outcome outcome = Command(command, runs.path(".")).wait();
    BOOST_TEST(outcome.code == 0, outcome);
  }
}

BOOST_AUTO_TEST_CASE(the_ranks_exchange_their_gradients_in_every_step) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  for (const bool zero : {false, true}) {
    const std::string run = zero ? "counted-zero" : "counted";
    auto command = runs.command(2, run, {zero ? "train.zero=1" : "train.zero=0"});
    command.insert(command.begin() + 1, {"--mca", "pml_monitoring_enable", "2", "--mca", "pml_monitoring_enable_output", "1"});
    const Outcome outcome = Command(command, runs.path(".")).wait();
    BOOST_TEST(outcome.code == 0, outcome);
    // Lines of what a rank sent: E (from the program) or I (inside of collectives), from, to, bytes.
    double sent = 0;
    std::istringstream in(outcome.output + outcome.errors);
    for (std::string line; std::getline(in, line);) {
      std::istringstream fields(line);
      std::string kind;
      int from = -1, to = -1;
      double bytes = 0;
      if (fields >> kind >> from >> to >> bytes && kind == "I" && from == 0) sent += bytes;
    }
    double gradient = 0;
    for (const auto& [name, values] : runs.tensors(run))
      if (!name.starts_with("optimizer.")) gradient += static_cast<double>(values.size() * sizeof(float));
    std::cout << run << ": rank 0 sent " << sent << " bytes, gradients are " << gradient * kSteps << '\n';
    BOOST_TEST(sent >= gradient * kSteps);
  }
}

// Another build of the same program: a byte more at its end.
BOOST_AUTO_TEST_CASE(a_rank_with_another_build_is_refused) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  const fs::path other = runs.path("other-build");
  fs::copy_file(TRADEWIND_BINARY, other);
  std::ofstream(other, std::ios::app | std::ios::binary) << 'x';
  for (const int odd : {1, 0}) {  // of three: the odd one is named, be it rank 0
    const std::string choose = "[ \"$OMPI_COMM_WORLD_RANK\" = " + std::to_string(odd) + " ] && shift && set -- '" +
                               other.string() + "' \"$@\"; exec \"$@\"";
    const Outcome outcome = runs.train(3, "refused" + std::to_string(odd), {}, {"/bin/sh", "-c", choose, "rank"});
    BOOST_TEST(outcome.code == 2, outcome);
    BOOST_TEST(has(outcome.errors, "error: rank " + std::to_string(odd) + " ("), outcome);
    BOOST_TEST(has(outcome.errors, "build is not that of rank " + std::to_string(odd == 0 ? 1 : 0)), outcome);
  }
}

BOOST_AUTO_TEST_CASE(ranks_that_share_cores_are_told_what_to_say) {
  if (!mpirun_is_here()) return;
  const Runs runs;
  const std::string threads = std::to_string(std::thread::hardware_concurrency() + 1);
  const Outcome outcome = runs.train(2, "crowded", {"train.steps=1", "runtime.threads=" + threads});
  BOOST_TEST(has(outcome.output + outcome.errors, "--map-by slot:PE=" + threads), outcome);
}

}  // namespace
}  // namespace tradewind::tests
