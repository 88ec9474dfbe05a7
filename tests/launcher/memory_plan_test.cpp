// What `train --dry-run` says of memory is what the run then takes, and no less.
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr const char* kRecipe = R"([data]
path = "events.csv"
split = "none"
[model]
name = "sasrec"
channels = 64
context = 20
[train]
steps = 2
batch = 8
[optimizer]
name = "adam"
weight_decay = 0.0
[runtime]
threads = 2
)";

constexpr int kItems = 100'000;

class Catalogue {
 public:
  /// Every item is in the log.
  Catalogue() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    std::string text = "user,item\n";
    for (int i = 0; i < 2 * kItems; ++i) text += fmt::format("u{},i{}\n", i % 5000, i % kItems);
    folder_.write("events.csv", text);
    folder_.write("recipe.toml", kRecipe);
  }

  /// MiB.
  double planned(const std::vector<std::string>& more) const {
    auto command = train(more);
    command.insert(command.end(), {"--dry-run", "--json"});
    const Outcome o = Command(command, folder_.path()).wait();
    BOOST_REQUIRE_MESSAGE(o.code == 0, o);
    const auto told = nlohmann::json::parse(o.output);
    for (const auto& check : told.at("checks"))
      if (check.at("name") == "memory") {
        const auto found = check.at("found").get<std::string>();
        std::cout << found << "\n";
        BOOST_REQUIRE_MESSAGE(found.starts_with("about "), found);
        return std::stod(found.substr(6));
      }
    BOOST_FAIL("no check of memory");
    return 0;
  }

  /// The most that was ever resident, MiB.
  double taken(const std::vector<std::string>& more) const {
    Command command(train(more), folder_.path());
    double most = 0;
    do {
      std::ifstream in(fmt::format("/proc/{}/status", command.process()));
      for (std::string line; std::getline(in, line);)
        if (line.starts_with("VmHWM:")) most = std::max(most, std::stod(line.substr(6)) / 1024);
    } while (!command.ends_within(0.001));
    const Outcome o = command.wait();
    BOOST_REQUIRE_MESSAGE(o.code == 0, o);
    return most;
  }

 private:
  static std::vector<std::string> train(const std::vector<std::string>& more) {
    std::vector<std::string> out = {TRADEWIND_BINARY, "train", "recipe.toml", "--set", "run.directory=" + more.at(0)};
    for (std::size_t i = 1; i < more.size(); ++i) out.insert(out.end(), {"--set", more[i]});
    return out;
  }
  TemporaryFolder folder_;
};

}  // namespace

// A full softmax over 100,000 items takes a third of what the tables and their optimiser do.
BOOST_FIXTURE_TEST_CASE(the_plan_of_memory_is_what_a_run_takes_at_most, Catalogue) {
  if (kSanitized) {
    std::cout << "SKIPPED launcher/memory_plan_test: a sanitizer takes memory of its own\n";
    return;
  }
  for (const std::vector<std::string>& model :
       {std::vector<std::string>{"sasrec"},
        {"linear", "model.name=linear"},
        {"bpr-loss", "model.loss=bpr"},
        {"shared", "model.loss=sampled_softmax", "model.shared_negatives=true", "model.negatives=50000"},
        {"sparse", "model.loss=bce", "model.sparse_embeddings=true", "model.negatives=4", "train.batch=1024"},
        {"two-tower", "model.name=two_tower", "model.dropout=0.1", "train.batch=1024"},
        {"two-tower-softmax", "model.name=two_tower", "model.loss=softmax"}}) {
    const double plan = planned(model), peak = taken(model);
    std::cout << fmt::format("{}: planned {:.1f} MiB, taken {:.1f}\n", model[0], plan, peak);
    BOOST_TEST(peak <= plan);
    BOOST_TEST(peak >= 0.8 * plan);
  }
}

}  // namespace tradewind::tests
