// Every verb that takes a run, on what is none, on one that has nothing yet, of a newer version, half written, or somebody
// else's: never a bug's exit code, always the name of the thing.
#include <cstdlib>

#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

struct Verb {
  std::vector<std::string> arguments;  // "R" is the run
  int without_checkpoint, half_written;
};

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> kAll{{{"evaluate", "R"}, 4, 0},
                                      {{"generate", "R", "--prompt", "A"}, 4, 0},
                                      {{"export", "R", "--to", "out.h5", "--overwrite"}, 4, 0},
                                      {{"export", "R", "--to", "out", "--format", "huggingface", "--overwrite"}, 4, 0},
                                      {{"verify", "R"}, 0, 4},
                                      {{"inspect", "R"}, 0, 4},
                                      {{"compare", "R", "run"}, 0, 0},
                                      {{"report", "R", "--to", "out.html"}, 0, 0}};
  return kAll;
}

struct Verbs : TinyRun {
  Verbs() : TinyRun(TRADEWIND_BINARY) {}
  const fs::path& at() const { return scratch().path(); }
  fs::path copy_as(const std::string& name) const {
    fs::copy(at() / "kept", at() / name, fs::copy_options::recursive);
    return at() / name;
  }
  static std::vector<std::string> on(const Verb& verb, const std::string& run) {
    auto arguments = verb.arguments;
    for (auto& a : arguments)
      if (a == "R") a = run;
    return arguments;
  }
  void expect(const Verb& verb, const std::string& run, int code, const std::string& part) const {
    const Outcome o = tradewind(on(verb, run));
    BOOST_CHECK_MESSAGE(o.code == code && holds(o.output + o.errors, part),
                        verb.arguments[0] << " " << run << ", want " << code << " and \"" << part << "\": " << o);
  }
};

// This build has no CUDA: what was trained on a GPU is used on the CPU all the same, which is said, unless a GPU is asked for.
BOOST_FIXTURE_TEST_CASE(a_run_of_a_gpu_serves_on_a_machine_without_one, Verbs) {
  const fs::path run = copy_as("gpu");
  std::string config = text_of(run / "config.toml");
  for (const auto& [from, to] :
       {std::pair{"device = \"auto\"", "device = \"cuda\""}, std::pair{"precision = \"auto\"", "precision = \"bfloat16\""}}) {
    const std::size_t at = config.find(from);
    BOOST_REQUIRE(at != std::string::npos);
    config.replace(at, std::string(from).size(), to);
  }
  std::ofstream(run / "config.toml") << config;
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"evaluate", "gpu"}, {"generate", "gpu", "--prompt", "A"}}) {
    const Outcome o = tradewind(verb);
    BOOST_CHECK_MESSAGE(o.code == 0 && holds(o.errors, "asks for a GPU") && holds(o.errors, "without CUDA"), o);
  }
  const Outcome exported = tradewind({"export", "gpu", "--to", "out.h5"});
  BOOST_CHECK_MESSAGE(exported.code == 0 && exported.errors.empty(), exported);
  const Outcome asked = tradewind({"evaluate", "gpu", "--set", "device=cuda"});
  BOOST_CHECK_MESSAGE(asked.code == 5 && holds(asked.errors, "device = \"cpu\""), asked);
}

BOOST_FIXTURE_TEST_CASE(what_is_no_run_is_refused_by_every_verb, Verbs) {
  fs::create_directory(at() / "empty");
  scratch().write("file", "x");
  const fs::path none = copy_as("noconfig");
  fs::remove(none / "config.toml");
  for (const Verb& verb : verbs()) {
    expect(verb, "nowhere", 2, "nowhere");
    expect(verb, "empty", 2, "empty");
    expect(verb, "file", verb.arguments[0] == "inspect" ? 3 : 2, "file");
    expect(verb, "noconfig", verb.arguments[0] == "verify" ? 4 : 2, "config.toml");
  }
}

BOOST_FIXTURE_TEST_CASE(a_run_without_a_checkpoint_has_nothing_yet, Verbs) {
  const fs::path run = copy_as("norun");
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) fs::remove_all(entry.path());
  for (const Verb& verb : verbs())
    expect(verb, "norun", verb.without_checkpoint, verb.arguments[0] == "verify" ? "no checkpoint yet" : "norun");
}

BOOST_FIXTURE_TEST_CASE(a_run_of_a_newer_version_is_refused_by_every_verb, Verbs) {
  const fs::path run = copy_as("newer");
  std::string status = text_of(run / "status.json");
  const auto at = status.find("\"format\"");
  BOOST_REQUIRE(at != std::string::npos);
  status.replace(at, status.find_first_of(",}", at) - at, "\"format\": 99");
  std::ofstream(run / "status.json") << status;
  for (const Verb& verb : verbs()) expect(verb, "newer", 2, "newer version");
  const Outcome o = tradewind({"train", "tiny.toml", "--set", "run.directory=newer"});
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "newer"), o);
}

BOOST_FIXTURE_TEST_CASE(a_half_written_run_serves_what_is_whole, Verbs) {
  const fs::path run = copy_as("half");
  fs::resize_file(run / "metrics.jsonl", fs::file_size(run / "metrics.jsonl") - 5);
  fs::resize_file(run / "checkpoints" / "step-00000012" / "chunk-00000-of-00001.safetensors", 300);
  fs::create_directory(run / "checkpoints" / ".unfinished-step-00000013-1-0");
  for (const Verb& verb : verbs()) {
    expect(verb, "half", verb.half_written, "half");
    if (verb.half_written == 0 && verb.arguments[0] != "compare")
      BOOST_CHECK(holds(tradewind(on(verb, "half")).errors, "step-00000012"));  // what was passed over is said
  }
}

BOOST_FIXTURE_TEST_CASE(a_config_that_is_broken_is_named_with_its_line, Verbs) {
  std::ofstream(copy_as("broken") / "config.toml") << "[run]\nx = [";
  for (const Verb& verb : verbs()) {
    if (verb.arguments[0] == "verify" || verb.arguments[0] == "inspect") continue;  // these show what is there
    expect(verb, "broken", 2, "broken/config.toml:2");
  }
  expect({{"verify", "R"}, 0, 0}, "broken", 4, "config.toml:2");
}

BOOST_FIXTURE_TEST_CASE(what_belongs_to_somebody_else_is_named, Verbs) {
  if (geteuid() != 0 || std::system("command -v setpriv >/dev/null") != 0) {
    std::puts("SKIPPED launcher/verbs_test: it needs root and setpriv to be somebody else");
    return;
  }
  fs::permissions(at(), fs::perms::all);
  fs::permissions(copy_as("locked"), fs::perms::none);
  fs::permissions(copy_as("secret") / "config.toml", fs::perms::none);
  for (const Verb& verb : verbs())
    for (const std::string run : {"locked", "secret"}) {
      std::vector<std::string> command{"/usr/bin/env",  "setpriv",        "--reuid=65534",
                                       "--regid=65534", "--clear-groups", TRADEWIND_BINARY};
      for (const auto& a : on(verb, run)) command.push_back(a);
      const Outcome o = Command(command, at()).wait();
      if (o.code == 127 || o.code == 126) {
        std::puts("SKIPPED launcher/verbs_test: others may not read the build, so nobody else can be had");
        return;
      }
      const bool shows = verb.arguments[0] == "inspect" || verb.arguments[0] == "verify";
      BOOST_CHECK_MESSAGE((o.code == 2 || (shows && o.code == 4)) && holds(o.output + o.errors, "ermission denied"),
                          verb.arguments[0] << " " << run << ": " << o);
    }
}

}  // namespace
}  // namespace tradewind::tests
