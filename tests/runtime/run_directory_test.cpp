// The run directory and what is written into it: lock, states, refusals, metrics, log, progress, signals.
#include "runtime/train/run_directory.h"

#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <fstream>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/core/environment.h"
#include "runtime/train/metrics_file.h"
#include "runtime/train/progress.h"
#include "runtime/train/signals.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tradewind::tests::check_throws;
using tradewind::tests::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

const std::string kConfig = "[run]\nseed = 1\n[runtime]\nthreads = 2\n[train]\nsteps = 100\n";

std::string text_of(const fs::path& file) {
  std::ostringstream out;
  out << std::ifstream(file, std::ios::binary).rdbuf();
  return out.str();
}
void put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

/// Opens and closes the directory as a run does that made a checkpoint.
void run_once(const fs::path& path, RunState state, std::int64_t step, bool fresh = false) {
  Log log;
  const RunDirectory run(path, kConfig, fresh, log);
  put(run.checkpoints() / ("step-" + std::to_string(step)) / "manifest.json", "{}");
  put(run.metrics(), "{\"step\":1}\n");
  run.write_status(state, step, 0, 1.5);
}

void open(const fs::path& path, const std::string& config = kConfig, bool fresh = false) {
  Log log;
  const RunDirectory run(path, config, fresh, log);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_new_run_is_written_down) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "runs" / "a";
  {
    Log log;
    const RunDirectory run(path, kConfig, false, log);
    BOOST_CHECK(!run.resumable());
    const Context context({}, 1, 1);
    run.write_environment(describe_environment(context));
    log.note("two\nlines");
    const auto status = nlohmann::json::parse(text_of(path / "status.json"));
    BOOST_CHECK_EQUAL(status["state"], "running");
    BOOST_CHECK_EQUAL(status["step"], 0);
    run.write_status(RunState::kFailed, 7, 3, 2.5);
  }
  BOOST_CHECK_EQUAL(text_of(path / "config.toml"), kConfig);
  const auto status = nlohmann::json::parse(text_of(path / "status.json"));
  BOOST_CHECK_EQUAL(status["state"], "failed");
  BOOST_CHECK_EQUAL(status["step"], 7);
  BOOST_CHECK_EQUAL(status["exit_code"], 3);
  BOOST_CHECK_EQUAL(status["seconds"], 2.5);
  const auto environment = nlohmann::json::parse(text_of(path / "environment.json"));
  for (const char* key : {"version", "build", "compiler", "libraries", "isa", "threads", "cpu", "host", "memory_bytes"})
    BOOST_CHECK_MESSAGE(environment.contains(key), key);
  const std::string log = text_of(path / "log.txt");
  BOOST_CHECK(log.find("Z info    two\n") != std::string::npos);
  BOOST_CHECK(log.find("Z info    lines\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_unfinished_run_goes_on_and_a_finished_one_is_refused) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  for (const RunState state : {RunState::kRunning, RunState::kStopped, RunState::kFailed}) {
    run_once(path, state, 20);
    Log log;
    const RunDirectory run(path, kConfig, false, log);
    BOOST_CHECK(run.resumable());
    const auto status = nlohmann::json::parse(text_of(path / "status.json"));
    BOOST_CHECK_EQUAL(status["state"], "running");
    BOOST_CHECK_EQUAL(status["step"], 20);
    BOOST_CHECK_EQUAL(status["seconds"], 1.5);
  }
  run_once(path, RunState::kFinished, 100);
  check_throws<ConfigError>([&] { open(path); }, {"finished run of 100 steps", "--fresh", "run.directory"});
}

BOOST_AUTO_TEST_CASE(fresh_puts_the_run_aside_and_touches_nothing_else) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  run_once(path, RunState::kFinished, 100);
  put(path / "notes.txt", "mine");
  {
    Log log;
    const RunDirectory run(path, replaced(kConfig, "100", "200"), true, log);
    BOOST_CHECK(!run.resumable());
    BOOST_CHECK(!fs::exists(run.metrics()));
    for (const auto& entry : fs::directory_iterator(run.checkpoints()))
      BOOST_CHECK_EQUAL(entry.path(), run.checkpoint_folder().staging);
    BOOST_CHECK(text_of(path / "config.toml").find("200") != std::string::npos);
    put(run.checkpoints() / "step-200" / "manifest.json", "{}");
    run.write_status(RunState::kFinished, 200, 0, 1);
  }
  BOOST_CHECK_EQUAL(text_of(path / "old" / "config.toml"), kConfig);
  BOOST_CHECK(fs::exists(path / "old" / "checkpoints" / "step-100" / "manifest.json"));
  put(path / "old" / "notes.txt", "mine too");
  run_once(path, RunState::kFinished, 300, true);  // the older one goes
  BOOST_CHECK(!fs::exists(path / "old" / "checkpoints" / "step-100"));
  BOOST_CHECK(text_of(path / "old" / "status.json").find("200") != std::string::npos);
  BOOST_CHECK_EQUAL(text_of(path / "notes.txt"), "mine");
  BOOST_CHECK_EQUAL(text_of(path / "old" / "notes.txt"), "mine too");
  open(path, kConfig, true);  // has no checkpoint yet, as where its data is not found,
  open(path, kConfig, true);  // and so the one put aside before it stays
  BOOST_CHECK(fs::exists(path / "old" / "checkpoints" / "step-300" / "manifest.json"));
}

BOOST_AUTO_TEST_CASE(what_is_no_run_directory_is_left_alone) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "photos";
  put(path / "holiday.jpg", "x");
  for (const bool fresh : {false, true})
    check_throws<ConfigError>([&] { open(path, kConfig, fresh); }, {"no run directory", "holiday.jpg", "run.directory"});
  BOOST_CHECK_EQUAL(text_of(path / "holiday.jpg"), "x");
  BOOST_CHECK(!fs::exists(path / "lock"));
  check_throws<ConfigError>([&] { open(path / "holiday.jpg"); }, {"cannot create run directory", "holiday.jpg"});
  put(path / "status.json", "{\"format\": \"?\"");
  for (const bool fresh : {false, true})
    check_throws<ConfigError>([&] { open(path, kConfig, fresh); }, {"status.json is damaged"});
  // Dying between the lock and the first status leaves nothing that keeps the next one out.
  put(folder.path() / "b" / "lock", "1 h\n");
  put(folder.path() / "b" / "status.json.tmp", "{");
  BOOST_CHECK_NO_THROW(open(folder.path() / "b"));
}

BOOST_AUTO_TEST_CASE(another_config_is_refused_key_by_key) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  run_once(path, RunState::kStopped, 20);
  const std::string other = replaced(replaced(kConfig, "100", "200"), "seed = 1", "seed = 9");
  check_throws<ConfigError>([&] { open(path, other); }, {"another config", "run.seed: 1 in the run, 9 now",
                                                         "train.steps: 100 in the run, 200 now", "--fresh"});
  BOOST_CHECK_EQUAL(text_of(path / "config.toml"), kConfig);
  BOOST_CHECK(text_of(path / "status.json").find("stopped") != std::string::npos);
  // Threads may change, and a key that the run did not have yet.
  BOOST_CHECK_NO_THROW(open(path, replaced(kConfig, "threads = 2", "threads = 4") + "[data]\nshuffle = true\n"));
  BOOST_CHECK(text_of(path / "config.toml").find("threads = 4") != std::string::npos);
  BOOST_CHECK_NO_THROW(open(path, other, true));
}

BOOST_AUTO_TEST_CASE(without_a_checkpoint_any_config_begins_anew) {
  const TemporaryFolder folder;
  open(folder.path() / "a");
  BOOST_CHECK_NO_THROW(open(folder.path() / "a", replaced(kConfig, "100", "200")));
}

BOOST_AUTO_TEST_CASE(a_newer_version_is_refused) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  run_once(path, RunState::kStopped, 20);
  put(path / "status.json", R"({"format": 999, "version": "9.0.0", "state": "stopped"})");
  for (const bool fresh : {false, true})
    check_throws<ConfigError>([&] { open(path, kConfig, fresh); }, {"newer version", "9.0.0", "run.directory"});
}

BOOST_AUTO_TEST_CASE(one_process_at_a_time) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a";
  int ready[2], end[2];
  BOOST_REQUIRE(pipe(ready) == 0 && pipe(end) == 0);
  const pid_t child = fork();
  if (child == 0) {
    Log log;
    const RunDirectory run(path, kConfig, false, log);
    char byte = 1;
    if (write(ready[1], &byte, 1) != 1 || read(end[0], &byte, 1) != 1) _exit(1);
    _exit(0);
  }
  char byte = 0;
  BOOST_REQUIRE(read(ready[0], &byte, 1) == 1);
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  for (const bool fresh : {false, true})
    check_throws<ConfigError>([&] { open(path, kConfig, fresh); },
                              {"in use by process " + std::to_string(child) + " on " + host, "run.directory"});
  BOOST_REQUIRE(write(end[1], &byte, 1) == 1);
  int status = 0;
  waitpid(child, &status, 0);
  BOOST_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  BOOST_CHECK_NO_THROW(open(path));  // a process that died holds nothing
}

BOOST_AUTO_TEST_CASE(metrics_of_a_resumed_run_are_those_of_an_unbroken_one) {
  const TemporaryFolder folder;
  const auto write = [&](const fs::path& file, std::int64_t from, std::int64_t to) {
    MetricsFile metrics(file, from);
    for (std::int64_t step = from + 1; step <= to; ++step) {
      metrics.write({.step = step,
                     .steps = 10,
                     .loss = 0.1 * static_cast<double>(step),
                     .learning_rate = 1e-3,
                     .gradient_norm = 2,
                     .seconds = 0.5,
                     .total_seconds = 1,
                     .tokens = 100,
                     .samples = 4});
      if (step % 2 == 0)
        metrics.write(step, {.loss = 1, .perplexity = 2.5, .bits_per_byte = 1.4, .targets = 9, .seconds = 0.1});
    }
  };
  const fs::path whole = folder.path() / "whole.jsonl", broken = folder.path() / "broken.jsonl";
  write(whole, 0, 10);
  write(broken, 0, 7);
  std::ofstream(broken, std::ios::app) << "{\"step\":8,\"lo";  // killed while it wrote
  write(broken, 4, 10);
  BOOST_CHECK_EQUAL(text_of(broken), text_of(whole));
  write(broken, 10, 10);
  BOOST_CHECK_EQUAL(text_of(broken), text_of(whole));
  std::istringstream lines(text_of(whole));
  std::string line;
  std::getline(lines, line);
  auto object = nlohmann::json::parse(line);
  for (const char* key : {"step", "loss", "tokens_per_second", "learning_rate", "gradient_norm", "seconds"})
    BOOST_CHECK_MESSAGE(object.contains(key), key);
  BOOST_CHECK_EQUAL(object["tokens_per_second"], 200.0);
  std::getline(lines, line);
  std::getline(lines, line);
  object = nlohmann::json::parse(line);
  for (const char* key : {"step", "validation_loss", "perplexity", "bits_per_byte"})
    BOOST_CHECK_MESSAGE(object.contains(key), key);
  write(broken, 0, 0);
  BOOST_CHECK_EQUAL(text_of(broken), "");
  check_throws<CheckpointError>([&] { MetricsFile(folder.path() / "none" / "m.jsonl", 0); }, {"m.jsonl", "No such file"});
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_told) {
  if (access("/dev/full", W_OK) != 0) {
    std::puts("SKIPPED a_full_disk_is_told: there is no /dev/full");
    return;
  }
  const TemporaryFolder folder;
  fs::create_symlink("/dev/full", folder.path() / "status.json.tmp");
  check_throws<CheckpointError>([&] { write_file_whole(folder.path() / "status.json", "x"); },
                                {"status.json", "No space left", "free some space"});
}

BOOST_AUTO_TEST_CASE(the_progress_line_fits) {
  const ProgressState state{.phase = "evaluating",
                            .done = 3,
                            .total = 40,
                            .phase_seconds = 2,
                            .step = 120,
                            .steps = 2000,
                            .loss = 1.92314,
                            .rate = 28123,
                            .tokens = true,
                            .mfu = 0.614,
                            .memory = 312.0 * (1 << 20),
                            .seconds_left = 65};
  BOOST_CHECK_EQUAL(progress_line(state, 200),
                    "evaluating 3/40 2s  step 120/2000  loss 1.9231  28.1k tokens/s  1m 05s left  MFU 61 %  312 MiB");
  for (int columns = 0; columns < 120; ++columns)
    BOOST_CHECK_LE(progress_line(state, columns).size(), static_cast<std::size_t>(columns));
  BOOST_CHECK_EQUAL(progress_line(state, 40), "evaluating 3/40 2s  step 120/2000");
  BOOST_CHECK_EQUAL(progress_line({.phase = "reading data"}, 80), "reading data");
}

BOOST_AUTO_TEST_CASE(progress_goes_to_the_log_file_in_plain_lines) {
  const TemporaryFolder folder;
  for (const bool terminal : {false, true}) {
    const fs::path file = folder.path() / (terminal ? "terminal.txt" : "plain.txt");
    Log log;
    log.open(file);
    Progress progress(log, terminal);
    progress.phase("reading data");
    for (std::int64_t step = 1; step <= 50; ++step)
      progress.step({.step = step, .steps = 50, .loss = 2, .seconds = 0.01, .tokens = 10, .samples = 1});
    progress.phase(Phase::kEvaluating, 1, 2);
    log.info("a line between");
    progress.finish();
    progress.finish();
    const std::string text = text_of(file);
    BOOST_CHECK(text.find("step 1/50  loss 2.0000  1000 tokens/s") != std::string::npos);
    BOOST_CHECK(text.find("step 50/50") != std::string::npos);
    BOOST_CHECK(text.find("step 7/50") == std::string::npos);
    BOOST_CHECK(text.find('\r') == std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(signals_ask_once_and_the_second_interrupt_ends) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const StopSignals signals;
    BOOST_CHECK(!signals.stop_requested());
    raise(signal);
    BOOST_CHECK(signals.stop_requested());
    BOOST_CHECK_EQUAL(signals.received(), signal);
  }
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGINT, SIG_DFL);  // not the test runner's
    const StopSignals signals;
    raise(SIGTERM);
    raise(SIGTERM);
    raise(SIGINT);
    raise(SIGINT);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  BOOST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}
