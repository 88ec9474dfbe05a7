// Ranks of one run on this machine that are stopped, killed, starved or misled: the run ends by itself, says which rank it was
// and where, with the right exit code, leaves no process behind, and its last checkpoint is good.
#include <dirent.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/command.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

using namespace tradewind::tests;
namespace fs = std::filesystem;

namespace {

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
steps = 1000000
batch = 12
micro_batch = 3
[checkpoint]
every = 20
[runtime]
threads = 1
[cluster]
heartbeat_seconds = 2
)";

// Every process of a rank passes through here; "$1" is for rank 1 alone.
constexpr const char* kAsRank = "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then eval \"$1\"; fi; shift; exec \"$@\"";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class Job {
 public:
  Job() {
    folder_.write("run.toml", kRecipe);
    std::string text;
    for (int i = 0; i < 400; ++i)
      text += "Soft linen towel number " + std::to_string(i) + ", in " + std::to_string(i % 7) + " colours.\n";
    folder_.write("text.txt", text);
    fs::create_directory(folder_.path() / "elsewhere");
  }

  const fs::path& path() const { return folder_.path(); }

  /// `for_rank_1`: shell commands that rank 1 alone runs before it starts. False, and says so, where there is no mpirun.
  bool start(int ranks, const std::vector<std::string>& more = {}, const std::string& for_rank_1 = "true") {
    std::vector<std::string> program = {"/bin/sh",  "-c",
                                        kAsRank,    "rank",
                                        for_rank_1, TRADEWIND_BINARY,
                                        "train",    (path() / "run.toml").string(),
                                        "--set",    "run.directory=" + (path() / "run").string()};
    program.insert(program.end(), more.begin(), more.end());
    const auto command = under_mpirun(ranks, program);
    if (command.empty()) {
      std::cout << "SKIPPED cluster/fault_test: there is no mpirun; install openmpi-bin\n";
      return false;
    }
    ranks_ = ranks;
    command_ = std::make_unique<Command>(command, path());
    return true;
  }

  /// The same through cluster/mpirun/one-host.
  bool start_by_script(int ranks) {
    if (under_mpirun(1, {}).empty()) return start(ranks);
    command_ = std::make_unique<Command>(
        std::vector<std::string>{"/usr/bin/env", std::string("TRADEWIND=") + TRADEWIND_BINARY, "bash",
                                 std::string(TRADEWIND_SOURCE_DIR) + "/cluster/mpirun/one-host", "-n", std::to_string(ranks),
                                 "-t", "1", "train", (path() / "run.toml").string(), "--set",
                                 "run.directory=" + (path() / "run").string()},
        path());
    return true;
  }

  /// What a person's Ctrl-C or a scheduler's SIGTERM reaches.
  void signal_launcher(int number) { command_->signal(number); }

  /// Until it has saved a checkpoint behind those that are there.
  void await_checkpoint() {
    const std::string before = newest_checkpoint();
    for (int i = 0; i < 60000; ++i) {
      if (newest_checkpoint() != before) return;
      if (!command_->running()) BOOST_FAIL("it ended early: " << command_->wait());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    BOOST_FAIL("no checkpoint came");
  }

  void signal_rank(int rank, int number) {
    const std::string wanted = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank);
    for (const pid_t process : processes()) {
      const std::string environment = text_of("/proc/" + std::to_string(process) + "/environ");
      if (has('\0' + environment, '\0' + wanted + '\0')) {
        ::kill(process, number);
        return;
      }
    }
    BOOST_FAIL("rank " << rank << " does not run");
  }

  Outcome end() {
    if (!command_->ends_within(60)) {
      for (const pid_t process : processes()) ::kill(process, SIGKILL);
      BOOST_ERROR("it did not end by itself");
    }
    Outcome out = command_->wait();
    bool left = true;  // nothing of it may be there 5 seconds later
    for (int i = 0; i < 500 && left; ++i) {
      left = !processes().empty();
      if (left) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    BOOST_TEST(!left, "processes were left behind");
    for (const pid_t process : processes()) ::kill(process, SIGKILL);
    return out;
  }

  /// What is left can be loaded.
  void check_loads() {
    const Outcome verified = Command({TRADEWIND_BINARY, "verify", (path() / "run").string()}, path()).wait();
    BOOST_TEST(verified.code == 0, verified);
    const Outcome evaluated = Command({TRADEWIND_BINARY, "evaluate", (path() / "run").string(), "--json"}, path()).wait();
    BOOST_TEST(evaluated.code == 0, evaluated);
  }

  nlohmann::json status() const { return nlohmann::json::parse(text_of(path() / "run/status.json")); }
  std::string report(int rank) const {
    return text_of(path() / "run/logs" / ("failure-rank-" + std::to_string(rank) + ".txt"));
  }

 private:
  std::string newest_checkpoint() const {
    std::string newest;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(path() / "run/checkpoints", none))
      if (const std::string name = entry.path().filename(); name.starts_with("step-")) newest = std::max(newest, name);
    return newest;
  }

  /// Of this job: those that run the program for this folder's run.
  std::vector<pid_t> processes() const {
    std::vector<pid_t> out;
    const std::string program = fs::canonical(TRADEWIND_BINARY);
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::error_code gone;
      if (fs::read_symlink(entry.path() / "exe", gone) == program && has(text_of(entry.path() / "cmdline"), path().string()))
        out.push_back(std::stoi(name));  // a process that has ended and waits to be collected has no exe
    }
    return out;
  }

  TemporaryFolder folder_;
  int ranks_ = 0;
  std::unique_ptr<Command> command_;
};

#define CHECK_HAS(text, part) BOOST_TEST(has(text, part), "\"" << (part) << "\" is missing in: " << (text))

std::string host() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_stopped_rank_is_named_and_the_run_ends) {
  Job job;
  if (!job.start(3)) return;
  job.await_checkpoint();
  job.signal_rank(1, SIGSTOP);
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 5, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "was lost: nothing was heard for 2.");
  CHECK_HAS(outcome.errors, "The others wait for it in ");
  BOOST_TEST(job.status().at("state") == "failed");
  BOOST_TEST(job.status().at("exit_code") == 5);
  CHECK_HAS(job.report(0), "still in it");
  CHECK_HAS(job.report(2), "error: rank 1 (");
  job.check_loads();
}

BOOST_AUTO_TEST_CASE(a_stopped_rank_0_is_named_by_the_others) {
  Job job;
  if (!job.start(2)) return;
  job.await_checkpoint();
  job.signal_rank(0, SIGSTOP);
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 5, outcome);
  CHECK_HAS(outcome.errors, "error: rank 0 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "was lost: nothing was heard for 2.");
  CHECK_HAS(job.report(1), "error: rank 0 (");
  job.check_loads();
}

BOOST_AUTO_TEST_CASE(a_killed_rank_is_named_and_the_run_goes_on_afterwards) {
  for (const int victim : {1, 0}) {
    Job job;
    if (!job.start(2)) return;
    job.await_checkpoint();
    job.signal_rank(victim, SIGKILL);
    const Outcome outcome = job.end();
    // mpirun's: of the rank that it saw end first. The script below gives what the ranks agreed on.
    BOOST_TEST((outcome.code == 128 + SIGKILL || outcome.code == 5), outcome);
    CHECK_HAS(outcome.errors, "error: rank " + std::to_string(victim) + " (" + host() + ", pid ");
    CHECK_HAS(outcome.errors, "was lost: its connection");
    job.check_loads();
    BOOST_REQUIRE(job.start(2));
    job.await_checkpoint();
    job.signal_rank(1, SIGUSR1);
    const Outcome again = job.end();
    BOOST_TEST(again.code == 75, again);
    CHECK_HAS(again.output, "going on from step ");
  }
}

BOOST_AUTO_TEST_CASE(the_script_for_one_host_gives_the_code_that_the_ranks_agreed_on) {
  Job job;
  if (!job.start_by_script(3)) return;
  job.await_checkpoint();
  job.signal_rank(1, SIGKILL);
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 5, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (");
}

BOOST_AUTO_TEST_CASE(the_script_for_one_host_lets_a_run_save_when_it_is_stopped) {
  Job job;
  if (!job.start_by_script(2)) return;
  job.await_checkpoint();
  job.signal_launcher(SIGTERM);
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 75, outcome);
  BOOST_TEST(job.status().at("state") == "stopped");
  job.check_loads();
}

BOOST_AUTO_TEST_CASE(a_signal_to_one_rank_stops_all_at_one_step) {
  for (const int number : {SIGTERM, SIGUSR1}) {
    Job job;
    if (!job.start(3)) return;
    job.await_checkpoint();
    job.signal_rank(2, number);
    const Outcome outcome = job.end();
    BOOST_TEST(outcome.code == 75, outcome);
    BOOST_TEST(job.status().at("state") == "stopped");
    BOOST_TEST(!has(outcome.errors, "error: "));
    job.check_loads();
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_on_one_rank_ends_the_run_with_4) {
  Job job;
  if (!job.start(2)) return;
  job.await_checkpoint();
  job.signal_rank(0, SIGUSR1);
  BOOST_TEST(job.end().code == 75);
  // No file of rank 1 may grow beyond 8 KiB from here on, and it is told so by an error in place of a signal.
  BOOST_REQUIRE(job.start(2, {}, "ulimit -f 16; trap '' XFSZ"));
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 4, outcome);
  CHECK_HAS(outcome.errors, "rank 1");
  CHECK_HAS(outcome.errors, host());
  BOOST_TEST(job.status().at("exit_code") == 4);
  job.check_loads();
}

BOOST_AUTO_TEST_CASE(a_rank_without_the_config_ends_the_run_with_2) {
  Job job;
  if (!job.start(3, {}, "set -- rank \"$2\" train missing.toml")) return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 2, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "missing.toml");
}

BOOST_AUTO_TEST_CASE(a_missing_file_on_one_rank_ends_the_run_with_3) {
  Job job;
  if (!job.start(3, {}, "cd elsewhere")) return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 3, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "text.txt");
  BOOST_TEST(job.status().at("exit_code") == 3);
}

BOOST_AUTO_TEST_CASE(a_rank_without_memory_ends_the_run_with_5) {
  Job job;
  // Room for the program and its libraries, not for this model's first step.
  if (!job.start(2, {"--set", "model.channels=1024", "--set", "model.context=512"}, "ulimit -v 700000")) return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 5, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "memory");
}

BOOST_AUTO_TEST_CASE(a_rank_with_another_config_is_refused_with_2) {
  Job job;
  if (!job.start(3, {}, "shift; set -- rank \"$@\" --set optimizer.learning_rate=0.5")) return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 2, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "learning_rate = 0.5");
}

BOOST_AUTO_TEST_CASE(a_rank_that_skips_one_all_reduce_cannot_go_on) {
  for (const char* which : {"21", "22", "23"}) {  // of step 7: counts, gradients, loss
    Job job;
    if (!job.start(2, {"--set", "cluster.hang_seconds=3", "--set", "train.steps=60"},
                   std::string("export LD_PRELOAD=" MPI_FAULT_LIBRARY " SKIP_ALL_REDUCE=") + which))
      return;
    const Outcome outcome = job.end();
    // Open MPI reports a truncated message, hangs, or crashes over sizes that do not fit; whichever it is, the run is over.
    BOOST_TEST((outcome.code != 0 && outcome.code != 75), which << ": " << outcome);
    CHECK_HAS(outcome.errors, "error: ");
  }
}

BOOST_AUTO_TEST_CASE(a_rank_with_other_parameters_is_refused_at_the_start) {
  Job job;
  if (!job.start(3, {}, "export LD_PRELOAD=" MPI_FAULT_LIBRARY " CORRUPT_BROADCAST=20000")) return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 5, outcome);
  CHECK_HAS(outcome.errors, "step 0: the parameters of rank 1 (" + host() + ") are not those of the others");
}

BOOST_AUTO_TEST_CASE(a_rank_whose_parameters_drift_is_found_where_that_was_asked_for) {
  Job job;  // of the gradients of step 7
  if (!job.start(3, {"--set", "train.check_parameters_every=10"},
                 "export LD_PRELOAD=" MPI_FAULT_LIBRARY " CORRUPT_ALL_REDUCE=7"))
    return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 5, outcome);
  CHECK_HAS(outcome.errors, "step 10: the parameters of rank 1 (" + host() + ") are not those of the others");
}

BOOST_AUTO_TEST_CASE(a_rank_with_other_data_is_refused) {
  Job job;
  std::ofstream(job.path() / "elsewhere/text.txt") << text_of(job.path() / "text.txt") << "One more towel.\n";
  if (!job.start(3, {}, "cd elsewhere")) return;
  const Outcome outcome = job.end();
  BOOST_TEST(outcome.code == 2, outcome);
  CHECK_HAS(outcome.errors, "error: rank 1 (" + host() + ", pid ");
  CHECK_HAS(outcome.errors, "checksum");
}
