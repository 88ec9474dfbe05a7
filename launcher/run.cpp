#include "launcher/run.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/isa.h"
#include "launcher/commands/commands.h"
#include "launcher/verbs.h"
#include "runtime/config/config.h"
#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"

namespace tradewind::launcher {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> kAll = {
      {"check", "look at every row of the data before training on it", run_check},
      {"prepare", "make one file of the data once, for sets larger than memory", run_prepare},
      {"train", "train a model from a config file, or go on with a run", run_train},
      {"evaluate", "how good a run's model is on data held out", run_evaluate},
      {"generate", "text from a trained model", run_generate},
      {"recommend", "the best items for users, from a trained recommender", run_recommend},
      {"predict", "a recommender's scores of pairs of a user and an item", run_predict},
      {"similar", "the items most like an item", run_similar},
      {"export", "a trained model as an HDF5 file or a Hugging Face directory", run_export},
      {"import", "a model from a Hugging Face directory, as a run", run_import},
      {"verify", "whether a run's checkpoints are as they were written", run_verify},
      {"inspect", "what a config, a run, a checkpoint or an HDF5 file holds", run_inspect},
      {"compare", "what sets runs apart: configs, results, curves", run_compare},
      {"report", "runs as a page to look at: curves, results, samples", run_report},
      {"config", "explain the keys of a config file", run_config},
      {"demo-shop", "write a made-up shop to try recommenders on", run_demo_shop},
      {"demo-text", "write product copy to try training on", run_demo_text},
      {"env", "what a bug report needs", run_env},
      {"completion", "what makes bash, zsh or fish complete the command line", run_completion},
      {"help", "this text, that of a verb, or the manual page", run_help},
  };
  return kAll;
}

std::string program_help() {
  std::string out = R"(Tradewind trains e-commerce language models and recommenders from one binary.

usage: tradewind VERB ...

)";
  for (const Verb& verb : verbs()) out += "  " + verb.name + std::string(12 - verb.name.size(), ' ') + verb.summary + "\n";
  return out + "\n" +
         R"(  -h, --help  this text; with a verb, its options and examples
  --version   version, build, instruction set

A first run:
  tradewind demo-text --to copy.txt
  tradewind train configs/language/product-copy.toml --set data.path=copy.txt
  tradewind generate runs/product-copy --prompt "Soft" --stream

exit codes: 0 done, 2 command line or config, 3 data, 4 checkpoint,
  5 device or memory, 70 a bug, 75 stopped: run the same command again
)";
}

namespace {

int dispatch(const Arguments& arguments, const models::Registry& registry) {
  if (arguments.empty()) {
    std::fputs(program_help().c_str(), stderr);
    return static_cast<int>(ExitCode::kConfig);
  }
  const std::string& first = arguments.front();
  if (first == "-h" || first == "--help") print_and_leave(program_help());
  if (first == "--version")
    print_and_leave("tradewind " + runtime::version() + " (" + runtime::build() + ", " + kernels::active_isa() + ")\n");
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) {
    if (verb.name == first) return verb.run({arguments.begin() + 1, arguments.end()}, registry);
    names.push_back(verb.name);
  }
  names.insert(names.end(), {"--help", "--version"});
  throw ConfigError((first.starts_with("-") ? "unknown option " + first : "there is no verb \"" + first + "\"") +
                    runtime::suggestion_text(runtime::did_you_mean(first, names)) + " See tradewind --help");
}

int fail(ExitCode code, const std::string& message) {
  std::fflush(stdout);  // what was said before comes before
  runtime::say(stderr, "error: " + message);
  if (code == ExitCode::kInternal)
    runtime::say(stderr, "This is a bug in Tradewind. Please report it with the command, the config and the run's log.txt.");
  return static_cast<int>(code);
}

}  // namespace

int run(int argc, char** argv, const models::Registry& registry) {
  try {
    int code = 0;
    try {
      code = dispatch(Arguments(argv + std::min(argc, 1), argv + argc), registry);
    } catch (const Printed& printed) {
      std::fputs(printed.text.c_str(), stdout);
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw DataError("standard output could not be written; is the disk full?");
    return code;
  } catch (const Error& e) {
    return fail(e.code(), e.what());
  } catch (const std::filesystem::filesystem_error& e) {  // of a path that somebody gave
    return fail(ExitCode::kConfig, e.path1().string() + ": " + e.code().message() + "; look at its permissions and owner");
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::kDevice, "out of memory; lower train.micro_batch or the size of the model");
  } catch (const std::exception& e) {
    return fail(ExitCode::kInternal, e.what());
  }
}

}  // namespace tradewind::launcher
