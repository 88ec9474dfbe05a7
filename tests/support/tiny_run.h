// A finished run of a tiny model, to look at, to damage and to go on from.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {

inline constexpr const char* kTinyConfig = R"([run]
directory = "run"
[data]
path = "text.txt"
[model]
name = "gpt"
layers = 1
heads = 2
channels = 16
context = 16
[train]
steps = 12
batch = 4
[evaluate]
every = 3
[checkpoint]
every = 5
keep_last = 3
[runtime]
threads = 1
)";

/// A finished run; every test changes a copy.
class TinyRun {
 public:
  explicit TinyRun(std::string binary) : binary_(std::move(binary)) {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    scratch_.write("tiny.toml", kTinyConfig);
    std::string text;
    for (int i = 0; i < 100; ++i) text += "A soft towel of linen, number " + std::to_string(i) + ".\n";
    scratch_.write("text.txt", text);
    const Outcome outcome = tradewind({"train", "tiny.toml"});
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome);
    std::filesystem::rename(run(), scratch_.path() / "kept");
    again();
  }
  std::filesystem::path run() const { return scratch_.path() / "run"; }
  std::filesystem::path checkpoint(const std::string& step) const { return run() / "checkpoints" / ("step-000000" + step); }
  void again() const {
    std::filesystem::remove_all(run());
    std::filesystem::copy(scratch_.path() / "kept", run(), std::filesystem::copy_options::recursive);
  }
  Outcome tradewind(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), binary_);
    return Command(arguments, scratch_.path()).wait();
  }

  const TemporaryFolder& scratch() const { return scratch_; }

 private:
  std::string binary_;
  TemporaryFolder scratch_;
};

inline bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Another bit in the middle of a file.
inline void flip(const std::filesystem::path& file) {
  std::string bytes = text_of(file);
  BOOST_REQUIRE(!bytes.empty());
  bytes[bytes.size() / 2] ^= 0x10;
  std::ofstream(file, std::ios::binary) << bytes;
}

}  // namespace tradewind::tests
