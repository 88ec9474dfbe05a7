// Config files: values, overrides, what is refused and where, writing and reading back, explaining.
#include "runtime/config/config.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>

#include "kernels/base/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tradewind::tests::check_throws;

namespace {

struct Adam {
  double beta1 = 0.9;
  void describe(Fields& f) { f.field("beta1", beta1, "Decay of the first moment.", {.min = 0, .max = 1, .below_max = true}); }
};
struct Train {
  std::int64_t steps = 100, batch = 32;
  double clip = 1.0;
  Adam adam;
  bool shuffle = true;
  std::vector<std::string> files;
  void describe(Fields& f) {
    f.field("steps", steps, "Optimiser steps.", {.min = 1});
    f.field("batch", batch, "Samples a step.", {.min = 1, .max = 4096});
    f.section("adam", adam, "Adam's constants.");
    f.field("clip", clip, "Gradient norm to clip at; 0: never.", {.min = 0, .above_min = true});
    f.field("shuffle", shuffle, "Shuffle.");
    f.field("files", files, "Files.");
  }
};
struct Model {
  double dropout = 0.0;
  void describe(Fields& f) { f.field("dropout", dropout, "Part of the activations that is dropped.", {.min = 0, .max = 1}); }
};
struct Root {
  std::string device = "auto", path;
  Train train;
  Model model;
  void describe(Fields& f) {
    f.section("train", train, "The loop.");
    f.field("device", device, "Where to run.", {"auto", "cpu", "cuda"});
    f.field("path", path, "Text to train on.");
    f.section("model", model, "The model.");
  }
  auto fields() {
    return [this](Fields& f) { describe(f); };
  }
};

Root read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Root root;
  ConfigDocument::parse(text, "run.toml", overrides).fill(root.fields());
  return root;
}

void check_refused(const std::string& text, const std::vector<std::string>& overrides, const std::vector<std::string>& parts) {
  check_throws<ConfigError>([&] { read(text, overrides); }, parts);
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_arrive_and_defaults_stay) {
  const Root root = read(R"(
device = "cpu"
[train]
steps = 7
clip = 2          # an integer where a number is expected
adam.beta1 = 0.5
files = ["a", "b"]
)");
  BOOST_CHECK_EQUAL(root.device, "cpu");
  BOOST_CHECK_EQUAL(root.train.steps, 7);
  BOOST_CHECK_EQUAL(root.train.batch, 32);
  BOOST_CHECK_EQUAL(root.train.clip, 2.0);
  BOOST_CHECK_EQUAL(root.train.adam.beta1, 0.5);
  BOOST_CHECK_EQUAL(root.train.files.size(), 2U);
}

BOOST_AUTO_TEST_CASE(overrides_are_toml_or_bare_strings) {
  const Root root = read("path = \"x\"\n[train]\nsteps = 5\n",
                         {"path=/data/a b.txt", "model.dropout=0.1", "train.steps=6", "train.steps=9", "train.shuffle=false",
                          "train.adam.beta1=0", "train.files=[\"p\"]", "device=\"cpu\""});
  BOOST_CHECK_EQUAL(root.path, "/data/a b.txt");
  BOOST_CHECK_EQUAL(root.model.dropout, 0.1);
  BOOST_CHECK_EQUAL(root.train.steps, 9);
  BOOST_CHECK(!root.train.shuffle);
  BOOST_CHECK_EQUAL(root.train.adam.beta1, 0.0);
  BOOST_CHECK_EQUAL(root.train.files.at(0), "p");
  BOOST_CHECK_EQUAL(root.device, "cpu");
  // What would be a number, a date or a comment is text where text is expected.
  for (const std::string text : {"2024", "2024-01-02", "0x1F", "true", "a=b", "x #1", "[1", "", "1\nsteps = 3"})
    BOOST_CHECK_EQUAL(read("", {"path=" + text}).path, text);
}

BOOST_AUTO_TEST_CASE(unknown_keys_are_refused_with_their_place) {
  check_refused("[train]\nstpes = 5\n", {}, {"run.toml:2:1: unknown key \"train.stpes\"; did you mean \"train.steps\"?"});
  check_refused(
      "a = 1\n[train]\n  dropout = 1\n", {},
      {"run.toml:1:1: unknown key \"a\"\n", "run.toml:3:3: unknown key \"train.dropout\"; did you mean \"model.dropout\"?"});
  check_refused("[trian]\nsteps = 1\n", {}, {"run.toml:1:2: unknown section \"trian\"; did you mean \"train\"?"});
  check_refused("", {"model.dropuot=0.1"},
                {"--set model.dropuot=0.1: unknown key \"model.dropuot\"; did you mean \"model.dropout\"?"});
  check_refused("", {"modle.dropout=0.1"}, {"--set modle.dropout=0.1: unknown", "did you mean"});
  check_refused("\"train.steps\" = 5\n", {}, {"run.toml:1:1: unknown key"});
  check_refused("train.adam.x = 5\n", {}, {"run.toml:1:12: unknown key \"train.adam.x\""});
}

BOOST_AUTO_TEST_CASE(wrong_types_and_values_are_refused) {
  check_refused("[train]\nsteps = 1e3\n", {}, {"run.toml:2:9: train.steps must be an integer, is the number 1000; write 1000"});
  check_refused("[train]\nsteps = \"5\"\n", {},
                {"train.steps must be an integer, is the string \"5\"; write it without quotes"});
  check_refused("train = 3\n", {}, {"run.toml:1:9: train must be a section, is the integer 3"});
  check_refused("[train.steps]\na = 1\n", {}, {"train.steps must be an integer, is a section"});
  check_refused("[[train]]\nsteps = 1\n", {}, {"train must be a section, is an array"});
  check_refused("device = \"gpu\"\n", {}, {"run.toml:1:10: device must be one of \"auto\", \"cpu\", \"cuda\", is \"gpu\""});
  check_refused("device = 1\n", {}, {"device must be a string, is the integer 1"});
  check_refused("train.shuffle = \"yes\"\n", {}, {"train.shuffle must be true or false"});
  check_refused("train.files = [\"a\", 1]\n", {}, {"run.toml:1:21: train.files must be an array of strings"});
  check_refused("", {"train.steps=many"}, {"--set train.steps=many: train.steps must be an integer, is the string \"many\""});
  check_refused("train.steps = 0\n", {}, {"train.steps must be at least 1, is 0"});
  check_refused("train.batch = 5000\n", {}, {"train.batch must be at most 4096, is 5000"});
  check_refused("train.clip = 0.0\n", {}, {"train.clip must be above 0, is 0"});
  check_refused("train.adam.beta1 = 1\n", {}, {"train.adam.beta1 must be below 1, is 1"});
  for (const std::string bad : {"nan", "inf", "-inf"}) {
    check_refused("train.clip = " + bad + "\n", {}, {"run.toml:1:14: train.clip must be finite"});
    check_refused("", {"train.clip=" + bad}, {"--set train.clip=" + bad + ": train.clip must be finite"});
  }
}

BOOST_AUTO_TEST_CASE(every_error_is_told_in_the_order_of_the_file) {
  try {
    read("x = 1\n[model]\ndropout = 7\n[train]\nsteps = 0\nbatch = true\n", {"model.a=1"});
    BOOST_ERROR("nothing was thrown");
  } catch (const ConfigError& error) {
    std::istringstream lines(error.what());
    std::string line;
    for (const std::string begin :
         {"run.toml:1:1: ", "run.toml:3:11: ", "run.toml:5:9: ", "run.toml:6:9: ", "--set model.a=1: "}) {
      std::getline(lines, line);
      BOOST_CHECK_MESSAGE(line.starts_with(begin), line << " should begin with " << begin);
    }
    BOOST_CHECK(!std::getline(lines, line));
    BOOST_CHECK(error.code() == ExitCode::kConfig);
  }
}

BOOST_AUTO_TEST_CASE(files_that_do_not_parse) {
  check_refused("[train\n", {}, {"run.toml:1:"});
  check_refused("a = 1\na = 2\n", {}, {"run.toml:2:"});
  check_refused("", {"steps"}, {"--set steps: expected key=value"});
  check_refused("", {"=3"}, {"expected key=value"});
  check_refused("", {"a..b=3"}, {"expected key=value"});
  check_refused("device = \"cpu\"\n", {"device.x=3"}, {"--set device.x=3: \"device\" is a value, not a section"});
  const tests::TemporaryFolder folder;
  folder.write("shop.toml", "");
  const auto reading = [&](const std::string& name) {
    return [&folder, name] { ConfigDocument::read(folder.path() / name, {}); };
  };
  check_throws<ConfigError>(reading("shpo.toml"), {"cannot read config file", "No such file", "did you mean", "shop.toml"});
  check_throws<ConfigError>(reading("."), {"is a directory"});
  BOOST_CHECK_NO_THROW(reading("shop.toml")());
}

BOOST_AUTO_TEST_CASE(a_component_is_chosen_before_it_is_described) {
  const ConfigDocument document = ConfigDocument::parse("[model]\nname = \"gpt\"\nsize = 3\n", "run.toml", {"data.kind=7"});
  BOOST_CHECK_EQUAL(document.string_or("model.name", "other"), "gpt");
  BOOST_CHECK_EQUAL(document.string_or("model.none", "other"), "other");
  BOOST_CHECK_EQUAL(document.string_or("none.name", "other"), "other");
  BOOST_CHECK_EQUAL(document.string_or("data.kind", "other"), "7");
  check_throws<ConfigError>([&] { document.string_or("model.size", ""); }, {"run.toml:3:8: model.size must be a string"});
}

BOOST_AUTO_TEST_CASE(what_is_written_reads_back_to_the_bit) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    Root root;
    std::uint64_t bits = random();
    std::memcpy(&root.train.clip, &bits, sizeof bits);
    root.train.clip = std::abs(root.train.clip);
    if (i == 0) root.train.clip = std::numeric_limits<double>::denorm_min();
    if (i == 1) root.train.clip = std::numeric_limits<double>::max();
    if (i == 2) root.train.clip = 3.0;
    if (i == 3) root.train.clip = 1e-5;
    if (!std::isfinite(root.train.clip) || root.train.clip == 0) continue;
    const Root back = read(write_config(root.fields()));
    BOOST_REQUIRE(std::memcmp(&back.train.clip, &root.train.clip, sizeof(double)) == 0);
  }
  Root root;
  root.path = "quote \" backslash \\ tab \t line \n bell \a é € 日本 \x7F '";
  root.train.files = {"a,b", "", "\"]"};
  root.train.steps = std::numeric_limits<std::int64_t>::max();
  root.train.shuffle = false;
  root.model.dropout = 0.3;
  const std::string text = write_config(root.fields());
  const Root back = read(text);
  BOOST_CHECK_EQUAL(back.path, root.path);
  BOOST_CHECK(back.train.files == root.train.files);
  BOOST_CHECK_EQUAL(back.train.steps, root.train.steps);
  BOOST_CHECK(!back.train.shuffle);
  Root same = back;
  BOOST_CHECK_EQUAL(write_config(same.fields()), text);
  BOOST_CHECK(text.find("# Optimiser steps.\nsteps = ") != std::string::npos);
  BOOST_CHECK(text.find("# Adam's constants.\n[train.adam]\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(differences_are_listed_by_key) {
  Root before, after;
  BOOST_CHECK(compare_configs(write_config(before.fields()), write_config(after.fields()), "x").empty());
  after.train.steps = 5;
  after.path = "p";
  after.model.dropout = 0.1 + 0.2;
  before.model.dropout = 0.3;
  const auto found = compare_configs(write_config(before.fields()), write_config(after.fields()) + "[extra]\na = 1\n", "x");
  BOOST_REQUIRE_EQUAL(found.size(), 4U);
  BOOST_CHECK_EQUAL(found[0].key, "extra.a");
  BOOST_CHECK_EQUAL(found[0].before, "(absent)");
  BOOST_CHECK_EQUAL(found[1].key, "model.dropout");
  BOOST_CHECK_EQUAL(found[1].before, "0.3");
  BOOST_CHECK_EQUAL(found[1].after, "0.30000000000000004");
  BOOST_CHECK_EQUAL(found[2].key, "path");
  BOOST_CHECK_EQUAL(found[3].key, "train.steps");
  BOOST_CHECK_EQUAL(found[3].before + ">" + found[3].after, "100>5");
}

BOOST_AUTO_TEST_CASE(every_key_is_explained_in_80_columns) {
  Root root;
  const std::string all = explain_config(root.fields(), "");
  for (const std::string key : {"device", "train.steps", "train.adam.beta1", "model.dropout"})
    BOOST_CHECK(all.find(key + " = ") != std::string::npos);
  BOOST_CHECK(all.find("(integer, at least 1, at most 4096) Samples a step.") != std::string::npos);
  BOOST_CHECK(all.find("\"auto\" | \"cpu\" | \"cuda\"") != std::string::npos);
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);) BOOST_CHECK_LE(line.size(), 80U);
  const std::string one = explain_config(root.fields(), "train.steps");
  BOOST_CHECK(one.starts_with("train.steps = 100\n"));
  BOOST_CHECK(one.find("batch") == std::string::npos);
  BOOST_CHECK(explain_config(root.fields(), "train").find("train.adam.beta1") != std::string::npos);
  check_throws<ConfigError>([&] { explain_config(root.fields(), "train.stpes"); },
                            {"train.stpes", "did you mean \"train.steps\"?"});
}

BOOST_AUTO_TEST_CASE(suggestions) {
  const std::vector<std::string> verbs = {"train", "evaluate", "generate", "export", "config"};
  BOOST_CHECK_EQUAL(did_you_mean("trian", verbs), "train");
  BOOST_CHECK_EQUAL(did_you_mean("eval", verbs), "evaluate");
  BOOST_CHECK_EQUAL(did_you_mean("xyz", verbs), "");
  BOOST_CHECK_EQUAL(did_you_mean("a", verbs), "");
}
