// Whatever call a save dies or fails at, the newest checkpoint that verifies loads, and the run goes on from it.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/support/command.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

constexpr int kDied = 77;  // what fault_preload.cpp ends a process with

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

bool skipped(const char* test) {
  // In memory where there is room: a thousand saves sync twenty times each. What a crash loses is up to the library here.
  if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
  if (kSanitized) std::printf("SKIPPED %s: a sanitizer wants to be the first library\n", test);
  return kSanitized;
}

/// A command whose `at`-th call on paths with `in` dies or fails; at 0: none does, and `calls` receives their list.
struct Fault {
  std::string in, mode = "exit";
  int at = 0;
};

std::vector<std::string> with_fault(const std::vector<std::string>& command, const Fault& fault, const fs::path& count = {}) {
  const std::string library = TRADEWIND_FAULT_LIBRARY;
  std::vector<std::string> out = {"/usr/bin/env", "LD_PRELOAD=" + library, "TRADEWIND_FAULT_IN=" + fault.in,
                                  "TRADEWIND_FAULT_MODE=" + fault.mode, "TRADEWIND_FAULT_AT=" + std::to_string(fault.at)};
  if (!count.empty()) out.push_back("TRADEWIND_FAULT_COUNT=" + count.string());
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

std::vector<std::string> calls_of(const std::vector<std::string>& command, const std::string& in, const fs::path& folder) {
  const fs::path count = folder / "calls.txt";
  const Outcome outcome = Command(with_fault(command, {.in = in}, count), folder).wait();
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
  std::vector<std::string> out;
  std::istringstream lines(text_of(count));
  for (std::string line; std::getline(lines, line);) out.push_back(line);
  fs::remove(count);
  return out;
}

bool says_why(const std::string& errors) {
  return errors.starts_with("error: ") &&
         (errors.find("Input/output error") != std::string::npos || errors.find("No space left") != std::string::npos);
}

/// The newest that verifies; it must be there, and nothing named like a checkpoint may be damaged.
std::int64_t newest_of(const fs::path& run, const std::string& what) {
  std::string warnings;
  const auto found = runtime::open_newest_checkpoint(run / "checkpoints", [&](const std::string& w) { warnings += w; });
  BOOST_REQUIRE_MESSAGE(found.has_value(), what << ": no checkpoint is left");
  BOOST_REQUIRE_MESSAGE(warnings.empty(), what << ": " << warnings);
  return found->step();
}

void check_tidy(const fs::path& run, const std::string& what) {
  for (const auto& entry : fs::directory_iterator(run / "checkpoints"))
    BOOST_REQUIRE_MESSAGE(!entry.path().filename().string().starts_with("."), what << " leaves " << entry.path());
  int locks = 0;
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.path().filename().string().starts_with("lock-")) ++locks;
  BOOST_REQUIRE_MESSAGE(locks == 1, what << " leaves " << locks << " locks");
}

/// Every call of going on with a run of one checkpoint, saving the next and removing the first, dies or fails once.
void save_with_faults(int ranks) {
  const TemporaryFolder scratch;
  const fs::path base = scratch.path() / "base", run = scratch.path() / "run";
  const std::vector<std::string> command = {TRADEWIND_SAVE_ONCE, run.string(), std::to_string(ranks)};
  const Outcome first = Command(command, scratch.path()).wait();
  BOOST_REQUIRE_MESSAGE(first.code == 0, first);
  fs::rename(run, base);
  const auto again = [&] {
    fs::remove_all(run);
    fs::copy(base, run, fs::copy_options::recursive);
  };
  again();
  const std::string in = run.string() + "/";
  const auto calls = calls_of(command, in, scratch.path());
  BOOST_REQUIRE_GT(calls.size(), 40U);
  std::set<std::string> kinds;
  for (const std::string& call : calls) kinds.insert(call.substr(0, call.find(' ')));
  for (const char* kind : {"create", "write", "fsync", "rename", "link", "mkdir"})
    BOOST_CHECK_MESSAGE(kinds.contains(kind), kind);
  for (const std::string mode : {"exit", "power", "eio", "enospc", "short"}) {
    int old = 0, fresh = 0, failed = 0;
    for (std::size_t k = 1; k <= calls.size(); ++k) {
      const std::string what =
          mode + " at call " + std::to_string(k) + " of " + std::to_string(ranks) + " ranks, " + calls[k - 1];
      again();
      const Outcome outcome =
          Command(with_fault(command, {.in = in, .mode = mode, .at = static_cast<int>(k)}), scratch.path()).wait();
      if (mode == "exit" || mode == "power") {
        // With several ranks the number of calls may differ by one that waited for nothing.
        BOOST_REQUIRE_MESSAGE(outcome.code == kDied || (ranks > 1 && outcome.code == 0), what << ": " << outcome);
      } else if (mode == "short") {
        BOOST_REQUIRE_MESSAGE(outcome.code == 0, what << ": " << outcome);
      } else if (outcome.code != 0) {
        BOOST_REQUIRE_MESSAGE((outcome.code == 2 || outcome.code == 4) && says_why(outcome.errors), what << ": " << outcome);
        ++failed;
      }
      const std::int64_t step = newest_of(run, what);
      BOOST_REQUIRE_MESSAGE(step == 1 || step == 2, what << ": step " << step);
      if (mode == "short") BOOST_REQUIRE_MESSAGE(step == 2, what);
      ++(step == 1 ? old : fresh);
      const Outcome next = Command(command, scratch.path()).wait();
      BOOST_REQUIRE_MESSAGE(next.code == 0, what << ", then: " << next);
      BOOST_REQUIRE_EQUAL(newest_of(run, what), step + 1);
      check_tidy(run, what);
    }
    std::cout << ranks << " ranks, " << mode << ": " << calls.size() << " calls, " << failed << " failed, " << old
              << " left the old checkpoint, " << fresh << " the new one\n";
    if (mode == "exit" || mode == "power") BOOST_CHECK(old > 10 && fresh > 3);
    if (mode == "eio" || mode == "enospc") BOOST_CHECK_GT(failed, 20);
  }
}

constexpr const char* kConfig = R"([run]
directory = "run"
[data]
path = "text.txt"
[model]
name = "gpt"
layers = 1
heads = 1
channels = 8
context = 8
[train]
steps = 10
batch = 2
[checkpoint]
every = 5
keep_last = 1
keep_best = false
[optimizer]
name = "sgd"
momentum = 0.0
[runtime]
threads = 1
)";

class Shop {
 public:
  Shop() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    scratch_.write("tiny.toml", kConfig);
    std::string text;
    for (int i = 0; i < 60; ++i) text += "A soft towel of linen, number " + std::to_string(i) + ".\n";
    scratch_.write("text.txt", text);
  }
  const fs::path& path() const { return scratch_.path(); }
  fs::path run() const { return path() / "run"; }
  Outcome run(const std::vector<std::string>& command) const { return Command(command, path()).wait(); }
  std::string chunk(int rank = 0, int ranks = 1) const {
    const std::string name = "chunk-0000" + std::to_string(rank) + "-of-0000" + std::to_string(ranks) + ".safetensors";
    return text_of(run() / "checkpoints" / "step-00000010" / name);
  }

 private:
  TemporaryFolder scratch_;
};

const std::vector<std::string> kTrain = {TRADEWIND_BINARY, "train", "tiny.toml"};

}  // namespace

BOOST_AUTO_TEST_CASE(a_save_that_dies_or_fails_at_any_call_loses_nothing) {
  if (!skipped("a_save_that_dies_or_fails_at_any_call_loses_nothing")) save_with_faults(1);
}

BOOST_AUTO_TEST_CASE(a_save_of_three_ranks_that_dies_or_fails_at_any_call_loses_nothing) {
  if (!skipped("a_save_of_three_ranks_that_dies_or_fails_at_any_call_loses_nothing")) save_with_faults(3);
}

BOOST_AUTO_TEST_CASE(training_that_dies_at_any_call_of_a_save_goes_on_to_the_same_bits) {
  if (skipped("training_that_dies_at_any_call_of_a_save_goes_on_to_the_same_bits")) return;
  const Shop shop;
  const std::string in = "run/checkpoints/";
  const auto calls = calls_of(kTrain, in, shop.path());
  const std::string reference = shop.chunk();
  const auto of_second =
      std::ranges::find_if(calls, [](const auto& c) { return c.find("step-00000010") != std::string::npos; });
  const auto first = static_cast<std::size_t>(of_second - calls.begin()) + 1;
  BOOST_REQUIRE_GT(first, 10U);
  BOOST_REQUIRE_GT(calls.size(), first + 20);
  int old = 0, fresh = 0;
  for (std::size_t k = first; k <= calls.size(); ++k) {
    const std::string what = "call " + std::to_string(k) + ", " + calls[k - 1];
    fs::remove_all(shop.run());
    const Outcome died =
        shop.run(with_fault(kTrain, {.in = in, .mode = k % 2 == 0 ? "exit" : "power", .at = static_cast<int>(k)}));
    BOOST_REQUIRE_MESSAGE(died.code == kDied, what << ": " << died);
    const std::int64_t step = newest_of(shop.run(), what);
    BOOST_REQUIRE_MESSAGE(step == 5 || step == 10, what << ": step " << step);
    ++(step == 5 ? old : fresh);
    if (nlohmann::json::parse(text_of(shop.run() / "status.json")).at("state") != "finished") {
      const Outcome outcome = shop.run(kTrain);
      BOOST_REQUIRE_MESSAGE(outcome.code == 0, what << ", then: " << outcome);
    }
    BOOST_REQUIRE_MESSAGE(shop.chunk() == reference, what << ": other bits");
  }
  std::cout << calls.size() - first + 1 << " calls of the second save: " << old << " left the old checkpoint, " << fresh
            << " the new one\n";
  BOOST_CHECK(old > 10 && fresh > 3);
}

BOOST_AUTO_TEST_CASE(a_training_whose_disk_fails_says_so_and_goes_on_when_it_is_mended) {
  if (skipped("a_training_whose_disk_fails_says_so_and_goes_on_when_it_is_mended")) return;
  const Shop shop;
  const std::string in = "run/checkpoints/";
  const auto calls = calls_of(kTrain, in, shop.path());
  const std::string reference = shop.chunk();
  int failed = 0;
  for (std::size_t k = 1; k <= calls.size(); k += 7) {
    const std::string what = "call " + std::to_string(k) + ", " + calls[k - 1];
    fs::remove_all(shop.run());
    const Outcome outcome =
        shop.run(with_fault(kTrain, {.in = in, .mode = k % 2 == 0 ? "eio" : "enospc", .at = static_cast<int>(k)}));
    if (outcome.code == 0) continue;
    ++failed;
    BOOST_REQUIRE_MESSAGE((outcome.code == 2 || outcome.code == 4) && outcome.errors.find("error: ") != std::string::npos,
                          what << ": " << outcome);
    const Outcome next = shop.run(kTrain);
    BOOST_REQUIRE_MESSAGE(next.code == 0, what << ", then: " << next);
    BOOST_REQUIRE_MESSAGE(shop.chunk() == reference, what << ": other bits");
  }
  BOOST_CHECK_GT(failed, 5);
}

/// One of two MPI ranks dies or its disk fails while a checkpoint is being saved: all end, and what is left goes on to the same
/// bits. (In save_with_faults the ranks are threads, and die together.)
BOOST_AUTO_TEST_CASE(a_rank_that_dies_or_fails_in_a_save_takes_no_checkpoint_along) {
  constexpr const char* kName = "a_rank_that_dies_or_fails_in_a_save_takes_no_checkpoint_along";
  if (skipped(kName)) return;
  if (under_mpirun(2, {}).empty()) {
    std::printf("SKIPPED %s: there is no mpirun; install openmpi-bin\n", kName);
    return;
  }
  const Shop shop;
  const std::string in = "run/checkpoints/";
  /// mpirun of two, `odd` of them with a fault.
  const auto ranks = [&](int odd, const Fault& fault, const fs::path& count = {}) {
    const auto command = [&](int rank) { return rank == odd ? with_fault(kTrain, fault, count) : kTrain; };
    std::vector<std::string> out = under_mpirun(1, command(0));
    out.insert(out.end(), {":", "-n", "1"});
    for (const std::string& word : command(1)) out.push_back(word);
    return out;
  };
  std::mt19937 random(4);
  for (const int odd : {0, 1}) {
    fs::remove_all(shop.run());
    const fs::path count = shop.path() / "calls.txt";
    const Outcome whole = shop.run(ranks(odd, {.in = in}, count));
    BOOST_REQUIRE_MESSAGE(whole.code == 0, whole);
    const std::string text = text_of(count);
    fs::remove(count);
    const auto calls = static_cast<std::size_t>(std::ranges::count(text, '\n'));
    const std::vector<std::string> reference = {shop.chunk(0, 2), shop.chunk(1, 2)};
    for (const std::string mode : {"exit", "power", "exit", "eio", "enospc"}) {
      // Of the second save: the first has taken less than half of the calls on rank 0, as old ones are removed later.
      const int k = static_cast<int>(calls / 2 + 3 + random() % (calls / 3));
      const std::string what =
          mode + " of rank " + std::to_string(odd) + " at call " + std::to_string(k) + " of " + std::to_string(calls);
      fs::remove_all(shop.run());
      const Outcome outcome = shop.run(ranks(odd, {.in = in, .mode = mode, .at = k}));
      BOOST_REQUIRE_MESSAGE(outcome.code != 0, what << ": " << outcome);
      if (mode == "eio" || mode == "enospc")
        BOOST_REQUIRE_MESSAGE(
            outcome.code == 4 && outcome.errors.find("rank " + std::to_string(odd) + " on ") != std::string::npos,
            what << ": " << outcome);
      const std::int64_t step = newest_of(shop.run(), what);
      BOOST_REQUIRE_MESSAGE(step == 5 || step == 10, what << ": step " << step);
      if (nlohmann::json::parse(text_of(shop.run() / "status.json")).at("state") != "finished") {
        const Outcome next = shop.run(ranks(-1, {}));
        BOOST_REQUIRE_MESSAGE(next.code == 0, what << ", then: " << next);
      }
      for (int rank = 0; rank < 2; ++rank)
        BOOST_REQUIRE_MESSAGE(shop.chunk(rank, 2) == reference[static_cast<std::size_t>(rank)], what << ": other bits");
    }
  }
}

BOOST_AUTO_TEST_CASE(an_export_that_fails_at_any_call_leaves_no_half_file) {
  if (skipped("an_export_that_fails_at_any_call_leaves_no_half_file")) return;
  const Shop shop;
  BOOST_REQUIRE_EQUAL(shop.run(kTrain).code, 0);
  const fs::path out = shop.path() / "out";
  fs::create_directory(out);
  const std::vector<std::string> command = {TRADEWIND_BINARY, "export", "run", "--to", (out / "model.h5").string()};
  const auto calls = calls_of(command, out.string(), shop.path());
  const std::string reference = text_of(out / "model.h5");
  BOOST_REQUIRE_GT(calls.size(), 10U);
  int failed = 0;
  for (const std::string mode : {"eio", "enospc", "short", "exit"})
    for (std::size_t k = 1; k <= calls.size(); ++k) {
      const std::string what = mode + " at call " + std::to_string(k) + ", " + calls[k - 1];
      fs::remove_all(out);
      fs::create_directory(out);
      const Outcome outcome = shop.run(with_fault(command, {.in = out.string(), .mode = mode, .at = static_cast<int>(k)}));
      const bool there = fs::exists(out / "model.h5");
      if (there) BOOST_REQUIRE_MESSAGE(text_of(out / "model.h5") == reference, what);
      if (mode == "short") BOOST_REQUIRE_MESSAGE(outcome.code == 0 && there, what << ": " << outcome);
      if (mode == "exit") BOOST_REQUIRE_MESSAGE(outcome.code == kDied, what << ": " << outcome);
      if (mode != "eio" && mode != "enospc") continue;
      BOOST_REQUIRE_MESSAGE(outcome.code == 4 && says_why(outcome.errors), what << ": " << outcome);
      if (there)
        BOOST_REQUIRE_MESSAGE(outcome.errors.find("complete and in place") != std::string::npos, what << ": " << outcome);
      const auto left = std::distance(fs::directory_iterator(out), fs::directory_iterator{});
      BOOST_REQUIRE_MESSAGE(left == (there ? 1 : 0), what << " leaves " << left << " files");
      ++failed;
    }
  std::cout << calls.size() << " calls of an export, " << failed << " failures said\n";
}

}  // namespace tradewind::tests
