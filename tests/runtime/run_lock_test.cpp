// One owner a run: leases, fencing numbers, and an owner that comes back too late.
#include "runtime/train/run_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/train/run_directory.h"
#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;
using runtime::CheckpointContents;
using runtime::CheckpointWriter;
using runtime::Log;
using runtime::RunDirectory;
using runtime::RunLock;
using runtime::RunState;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

const std::string kConfig = "[run]\nseed = 1\n";
constexpr milliseconds kShort{400};

/// Runs `body` in a process of its own; its exit code is what body returns, or that of the Error it throws.
pid_t in_process(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  BOOST_REQUIRE(child >= 0);
  if (child != 0) return child;
  int code = 70;
  try {
    code = body();
  } catch (const Error& e) {
    code = static_cast<int>(e.code());
    std::fprintf(stderr, "child: %s\n", e.what());
  } catch (...) {
  }
  std::fflush(nullptr);
  _exit(code);
}

int code_of(pid_t child) {
  int status = 0;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void wait_until_stopped(pid_t child) {
  int status = 0;
  BOOST_REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  BOOST_REQUIRE_MESSAGE(WIFSTOPPED(status), "it ended with " << status);
}

std::vector<std::string> locks_in(const fs::path& directory) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().filename().string().starts_with("lock")) out.push_back(entry.path().filename());
  std::ranges::sort(out);
  return out;
}

/// A lock as another host leaves it.
void put_lock(const fs::path& directory, const std::string& name, const nlohmann::json& owner) {
  std::ofstream(directory / name) << owner.dump();
}
nlohmann::json other_host() {
  return {{"number", 7},       {"host", "node9"}, {"process", 4}, {"job", "55"}, {"since", "2026-01-31T10:00:00Z"},
          {"machine", "other"}};
}
void make_old(const fs::path& file, milliseconds age) { fs::last_write_time(file, fs::file_time_type::clock::now() - age); }

CheckpointContents contents_of(std::int64_t step) {
  const runtime::Tensor data(runtime::host_allocator(), {4}, runtime::DType::kInt64);
  for (std::int64_t i = 0; i < 4; ++i) data.data<std::int64_t>()[i] = step;
  return {.step = step, .tensors = {{.name = "x", .data = data, .global_shape = {4}}}, .state = {{"pid", ::getpid()}}};
}

void save(const RunDirectory& run, std::int64_t step, const std::function<void()>& after_asking = nullptr) {
  auto folder = run.checkpoint_folder();
  folder.require_owner = [ask = folder.require_owner, after_asking] {
    ask();
    if (after_asking) after_asking();
  };
  CheckpointWriter writer(folder, 2);
  writer.save(contents_of(step));
  writer.wait();
}

}  // namespace

BOOST_AUTO_TEST_CASE(numbers_grow_and_one_lock_file_is_there) {
  const TemporaryFolder folder;
  for (int number = 1; number <= 3; ++number) {
    const RunLock lock(folder.path(), RunLock::kLease, nullptr);
    BOOST_CHECK_EQUAL(lock.number(), number);
    BOOST_CHECK(!lock.replaced_someone());
    BOOST_CHECK(locks_in(folder.path()) == std::vector<std::string>{"lock-0000000" + std::to_string(number)});
    BOOST_CHECK_NO_THROW(lock.require_owner());
    BOOST_CHECK_NO_THROW(lock.require_lease());
  }
  const auto json = nlohmann::json::parse(text_of(folder.path() / "lock-00000003"));
  BOOST_CHECK_EQUAL(json["given_back"], true);
  BOOST_CHECK_EQUAL(json["process"], ::getpid());
  BOOST_CHECK_EQUAL(json["number"], 3);
}

BOOST_AUTO_TEST_CASE(a_living_owner_is_left_alone_and_named) {
  const TemporaryFolder folder;
  setenv("SLURM_JOB_ID", "4711", 1);
  const RunLock lock(folder.path(), kShort, nullptr);
  unsetenv("SLURM_JOB_ID");
  for (int i = 0; i < 3; ++i) {  // for longer than a lease: it is renewed
    check_throws<ConfigError>(
        [&] { RunLock(folder.path(), kShort, nullptr); },
        {"is in use by process " + std::to_string(::getpid()), "job 4711", ", since 20", "kill", "--set run.directory"});
    lock.require_owner();
  }
  BOOST_CHECK_EQUAL(locks_in(folder.path()).size(), 1U);
}

BOOST_AUTO_TEST_CASE(an_owner_that_ended_on_this_machine_is_replaced_at_once) {
  const TemporaryFolder folder;
  const pid_t child = in_process([&] {
    const RunLock lock(folder.path(), RunLock::kLease, nullptr);
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  siginfo_t info;
  BOOST_REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  {
    const RunLock lock(folder.path(), RunLock::kLease, nullptr);  // a zombie still
    BOOST_CHECK_EQUAL(lock.number(), 2);
    BOOST_CHECK(!lock.replaced_someone());
  }
  code_of(child);
  // Another process has its number by now.
  auto owner = nlohmann::json::parse(text_of(folder.path() / "lock-00000002"));
  owner["given_back"] = false;
  owner["process_start"] = owner["process_start"].get<std::int64_t>() - 1;
  put_lock(folder.path(), "lock-00000002", owner);
  BOOST_CHECK_EQUAL(RunLock(folder.path(), RunLock::kLease, nullptr).number(), 3);
  owner["process"] = child;  // and here none
  put_lock(folder.path(), "lock-00000003", owner);
  BOOST_CHECK_EQUAL(RunLock(folder.path(), RunLock::kLease, nullptr).number(), 4);
}

BOOST_AUTO_TEST_CASE(an_owner_on_another_host_is_waited_for) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "lock-00000007";
  std::string told;
  const auto note = [&](const std::string& text) { told = text; };
  put_lock(folder.path(), "lock-00000007", other_host());
  {
    const RunLock lock(folder.path(), kShort, note);  // nothing renews it
    BOOST_CHECK_EQUAL(lock.number(), 8);
    BOOST_CHECK(lock.replaced_someone());
    BOOST_CHECK(!fs::exists(file));
    BOOST_CHECK_MESSAGE(told.find("process 4 on node9, job 55") != std::string::npos, told);
  }
  fs::remove(folder.path() / "lock-00000008");
  put_lock(folder.path(), "lock-00000007", other_host());
  make_old(file, 10min);
  BOOST_CHECK_EQUAL(RunLock(folder.path(), kShort, note).number(), 8);
  fs::remove(folder.path() / "lock-00000008");
  // It lives, though its lease had run out when we looked first.
  put_lock(folder.path(), "lock-00000007", other_host());
  make_old(file, 10min);
  std::thread owner([&] {
    std::this_thread::sleep_for(100ms);
    ::utimensat(AT_FDCWD, file.c_str(), nullptr, 0);
  });
  check_throws<ConfigError>([&] { RunLock(folder.path(), kShort, note); }, {"in use by process 4 on node9"});
  owner.join();
  auto back = other_host();
  back["given_back"] = true;
  put_lock(folder.path(), "lock-00000007", back);
  BOOST_CHECK_EQUAL(RunLock(folder.path(), RunLock::kLease, note).number(), 8);
  fs::remove(folder.path() / "lock-00000008");
  std::ofstream(file) << "{\"number\": ";  // a lock that nobody can read counts for its lease
  BOOST_CHECK_EQUAL(RunLock(folder.path(), kShort, note).number(), 8);
}

BOOST_AUTO_TEST_CASE(one_of_many_newcomers_wins) {
  const TemporaryFolder folder;
  put_lock(folder.path(), "lock-00000007", other_host());
  make_old(folder.path() / "lock-00000007", 10min);
  std::vector<pid_t> children;
  children.reserve(8);
  for (int i = 0; i < 8; ++i)
    children.push_back(in_process([&] {
      const RunLock lock(folder.path(), kShort, nullptr);
      const int file =
          ::open((folder.path() / ("won-" + std::to_string(lock.number()))).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
      std::this_thread::sleep_for(3s);
      return file >= 0 ? 0 : 1;
    }));
  int won = 0, refused = 0;
  for (const pid_t child : children) {
    const int code = code_of(child);
    won += code == 0 ? 1 : 0;
    refused += code == 2 ? 1 : 0;
  }
  BOOST_CHECK_EQUAL(won, 1);
  BOOST_CHECK_EQUAL(refused, 7);
  BOOST_CHECK(fs::exists(folder.path() / "won-8"));
  BOOST_CHECK_EQUAL(locks_in(folder.path()).size(), 1U);
}

BOOST_AUTO_TEST_CASE(whoever_lost_the_run_is_told) {
  const TemporaryFolder folder;
  const RunLock lock(folder.path(), kShort, nullptr);
  auto other = other_host();
  put_lock(folder.path(), "lock-00000002", other);
  check_throws<CheckpointError>([&] { lock.require_owner(); },
                                {"has another owner", "process 4 on node9, job 55", "lease of 0.4 s", "The run goes on there"});
  std::this_thread::sleep_for(3 * kShort);  // the thread has seen it too
  check_throws<CheckpointError>([&] { lock.require_lease(); }, {"has another owner"});
  fs::remove(folder.path() / "lock-00000002");
  other["number"] = 1;
  put_lock(folder.path(), "lock-00000001", other);
  check_throws<CheckpointError>([&] { lock.require_owner(); }, {"process 4 on node9"});
  fs::remove(folder.path() / "lock-00000001");
  check_throws<CheckpointError>([&] { lock.require_owner(); }, {"lock-00000001 was removed"});
}

/// The heart of it: an owner is stopped past its lease, another takes over and saves, the first goes on.
BOOST_AUTO_TEST_CASE(an_owner_that_comes_back_too_late_commits_nothing) {
  enum class Stopped { kBetweenSteps, kBeforeAsking, kBetweenAskingAndRenaming };
  for (const auto where : {Stopped::kBetweenSteps, Stopped::kBeforeAsking, Stopped::kBetweenAskingAndRenaming})
    for (const bool fresh : {false, true}) {
      BOOST_TEST_CONTEXT("stopped at " << static_cast<int>(where) << (fresh ? ", then fresh" : "")) {
        const TemporaryFolder folder;
        const fs::path path = folder.path() / "run";
        const pid_t first = in_process([&] {
          Log log;
          const RunDirectory run(path, kConfig, false, log, kShort);
          save(run, 10);
          run.write_status(RunState::kRunning, 10, 0, 1);
          if (where == Stopped::kBetweenSteps) {
            ::raise(SIGSTOP);
            run.require_lease();  // as at every step
            return 71;
          }
          if (where == Stopped::kBeforeAsking) ::raise(SIGSTOP);
          const auto stop = [&] {
            if (where == Stopped::kBetweenAskingAndRenaming) ::raise(SIGSTOP);
          };
          try {
            save(run, 20, stop);
          } catch (const CheckpointError&) {
            try {
              run.write_status(RunState::kFailed, 99, 4, 9);  // as a failing run does
            } catch (const CheckpointError&) {
              throw;
            }
            return 72;
          }
          return 73;
        });
        wait_until_stopped(first);
        Log log;
        std::vector<std::string> before;
        {
          const RunDirectory run(path, kConfig, fresh, log, kShort);
          BOOST_CHECK_EQUAL(run.fence(), 2);
          BOOST_CHECK_EQUAL(run.resumable(), !fresh);
          save(run, 15);
          run.write_status(RunState::kRunning, 15, 0, 2);
          const std::string status = text_of(path / "status.json");
          const auto checkpoints = runtime::list_checkpoints(run.checkpoints());
          ::kill(first, SIGCONT);
          BOOST_CHECK_EQUAL(code_of(first), 4);
          BOOST_CHECK(runtime::list_checkpoints(run.checkpoints()) == checkpoints);
          BOOST_CHECK_EQUAL(checkpoints.size(), fresh ? 1U : 2U);
          for (const auto& checkpoint : checkpoints) BOOST_CHECK_NO_THROW(runtime::Checkpoint::open(checkpoint));
          BOOST_CHECK_EQUAL(text_of(path / "status.json"), status);
          BOOST_CHECK_NO_THROW(run.require_lease());
          save(run, 20);  // the new owner is not disturbed
          BOOST_CHECK_EQUAL(runtime::open_newest_checkpoint(run.checkpoints(), nullptr)->state().at("pid"), ::getpid());
        }
        for (const auto& entry : fs::directory_iterator(path / "checkpoints"))
          BOOST_CHECK_MESSAGE(!entry.path().filename().string().starts_with("."), entry.path());
        BOOST_CHECK_EQUAL(locks_in(path).size(), 1U);
      }
    }
}

BOOST_AUTO_TEST_CASE(what_a_late_owner_writes_goes_into_files_of_its_own) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "run";
  const pid_t first = in_process([&] {
    Log log;
    const RunDirectory run(path, kConfig, false, log, kShort);
    save(run, 10);
    std::ofstream metrics(run.metrics(), std::ios::app);
    metrics << "{\"step\":1}\n" << std::flush;
    ::raise(SIGSTOP);
    metrics << "{\"step\":2}\n" << std::flush;
    return metrics ? 0 : 1;
  });
  wait_until_stopped(first);
  Log log;
  const RunDirectory run(path, kConfig, false, log, kShort);
  ::kill(first, SIGCONT);
  BOOST_CHECK_EQUAL(code_of(first), 0);
  BOOST_CHECK_EQUAL(text_of(run.metrics()), "{\"step\":1}\n");
}

}  // namespace tradewind::tests
