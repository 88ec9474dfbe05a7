// A small shop's log and a recipe of SASRec on it, and a program that trains, asks and compares its runs.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {

inline constexpr const char* kShopRecipe = R"([run]
directory = "run"
[data]
path = "events.csv"
user_key = "customer"
item_key = "sku"
time_key = "when"
[model]
name = "sasrec"
channels = 16
context = 10
dropout = 0.1
[train]
steps = 60
batch = 24
micro_batch = 5
[optimizer]
name = "adam"
learning_rate = 1e-2
weight_decay = 0.0
[evaluate]
every = 20
[checkpoint]
every = 7
keep_last = 20
[runtime]
threads = 1
)";

using Settings = std::vector<std::string>;

/// The item table's gradients and its optimiser's states by row.
inline const Settings kSparse = {"model.loss=bce", "model.negatives=3", "model.sparse_embeddings=true"};

inline std::vector<std::string> train_into(const std::string& run, const Settings& settings,
                                           const std::string& recipe = "shop.toml") {
  std::vector<std::string> out = {"train", recipe, "--set", "run.directory=" + run};
  for (const auto& setting : settings) out.insert(out.end(), {"--set", setting});
  return out;
}

inline bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The recipe with another section [model].
inline std::string recipe_of(const std::string& model) {
  const std::string recipe = kShopRecipe;
  const std::size_t begin = recipe.find("[model]"), end = recipe.find("[train]");
  return recipe.substr(0, begin) + model + recipe.substr(end);
}

inline std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

/// What learns otherwise than SASRec does: a recipe and its settings.
struct ShopModel {
  const char* name;
  const char* recipe;
  Settings settings;
};

inline const std::vector<ShopModel> kOtherModels = {{"bpr", "bpr.toml", {}},
                                                    {"linear", "shop.toml", {"model.name=linear"}},
                                                    {"gru4rec", "shop.toml", {"model.name=gru4rec"}},
                                                    {"lstm", "shop.toml", {"model.name=lstm"}},
                                                    {"bert4rec", "shop.toml", {"model.name=bert4rec"}},
                                                    {"hstu", "shop.toml", {"model.name=hstu", "model.times=true"}}};

struct EventShop {
  TemporaryFolder folder;

  /// Customer c walks through the items from c * 7 on, one after the other; the file is in no order. One name needs quotes.
  EventShop() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    std::vector<std::string> rows;
    for (int c = 0; c < 60; ++c)
      for (int e = 0; e < 6 + c % 5; ++e)
        rows.push_back("C-" + std::to_string(c) + "," + item((c * 7 + e) % 40) + "," +
                       std::to_string(1700000000 + e * 86400 + c));
    std::ranges::reverse(rows);
    std::string text = "customer,sku,when\n";
    for (const auto& row : rows) text += row + "\n";
    folder.write("events.csv", text);
    folder.write("shop.toml", kShopRecipe);
    folder.write("bpr.toml", recipe_of("[model]\nname = \"bpr\"\nchannels = 16\n"));
  }
  static std::string item(int i) { return i == 3 ? "\"SKU \"\"3\"\", blue\"" : "SKU-" + std::to_string(i); }

  Outcome tradewind(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), TRADEWIND_BINARY);
    return Command(arguments, folder.path()).wait();
  }
  Outcome good(const std::vector<std::string>& arguments) const {
    const Outcome o = tradewind(arguments);
    BOOST_REQUIRE_MESSAGE(o.code == 0, arguments[0] << ": " << o);
    return o;
  }
  void refused(const std::vector<std::string>& arguments, int code, const std::string& part) const {
    const Outcome o = tradewind(arguments);
    BOOST_CHECK_MESSAGE(o.code == code && holds(o.errors, part),
                        arguments[0] << ", want " << code << " and \"" << part << "\": " << o);
  }
  nlohmann::json evaluated(const std::string& run) const {
    return nlohmann::json::parse(good({"evaluate", run, "--json"}).output);
  }
  /// Every tensor of a run's checkpoint of a step.
  std::map<std::string, std::vector<std::uint8_t>> tensors(const std::string& run, const std::string& step = "00000060") const {
    const auto checkpoint = runtime::Checkpoint::open(folder.path() / run / "checkpoints" / ("step-" + step));
    std::map<std::string, std::vector<std::uint8_t>> out;
    for (const auto& name : checkpoint.names()) {
      const auto dtype = checkpoint.dtype(name);
      auto& bytes = out[name];
      bytes.resize(static_cast<std::size_t>(checkpoint.shape(name).elements()) * kernels::size_of(dtype));
      checkpoint.read(name, 0, checkpoint.shape(name).elements(), dtype, bytes.data());
    }
    return out;
  }
  /// Killed again and again, a run ends with the bits of one that was not: negatives and masks are keyed by the sample, so
  /// where it stopped leaves no trace.
  void check_killed(const std::string& name, const Settings& settings, const std::string& recipe = "shop.toml") const {
    good(train_into("whole-" + name, settings, recipe));
    int kills = 0;
    for (int i = 0; i < 40 && kills < 5; ++i) {
      auto command = train_into(name, settings, recipe);
      command.insert(command.begin(), TRADEWIND_BINARY);
      Command run(command, folder.path());
      if (run.ends_within(0.02 + 0.03 * i)) {
        BOOST_REQUIRE_EQUAL(run.wait().code, 0);
        break;
      }
      run.signal(SIGKILL);
      run.wait();
      ++kills;
    }
    BOOST_TEST(kills > 0);
    if (!std::filesystem::exists(folder.path() / name / "checkpoints" / "step-00000060"))
      good(train_into(name, settings, recipe));
    BOOST_TEST((tensors(name) == tensors("whole-" + name)), name);
  }
};

}  // namespace tradewind::tests
