#include "launcher/run.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/isa.h"
#include "launcher/commands/commands.h"
#include "launcher/help.h"
#include "runtime/config/config.h"
#include "runtime/core/environment.h"

namespace tradewind::launcher {
namespace {

/// Not an error: the text was asked for.
struct Printed {};

[[noreturn]] void print_and_leave(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  throw Printed{};
}

/// The command line of one verb. CLI11 splits and converts; help and complaints are ours (its help knows no line width).
class CommandLine {
 public:
  CommandLine(std::string verb, const char* help) : verb_(std::move(verb)), help_(help), app_(verb_) {
    app_.allow_extras();
    app_.set_help_flag("-h,--help");
  }

  template <class T>
  void option(const std::string& name, T& value) {
    app_.add_option(name, value);
  }
  void option(const std::string& name, std::vector<std::string>& values) {
    app_.add_option(name, values)->expected(1)->take_all()->allow_extra_args(false);  // `--set a=1 CONFIG` leaves CONFIG alone
  }
  void seed(std::uint64_t& value) {
    seed_ = &value;
    app_.add_option("--seed", seed_given_);
  }
  void flag(const std::string& name, bool& value) { app_.add_flag(name, value); }
  void positional(const std::string& name, std::string& value) {
    positionals_.push_back({name, &value});
    app_.add_option(name, value);
  }

  /// Throws ConfigError. The first `required` positionals must be there.
  void parse(std::vector<std::string> arguments, std::size_t required) {
    try {
      std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
      app_.parse(arguments);
    } catch (const CLI::CallForHelp&) {
      print_and_leave(help_);
    } catch (const CLI::ParseError& e) {
      complain(e.what());
    }
    for (const std::string& extra : app_.remaining())
      if (extra.size() > 1 && extra[0] == '-') complain_of_option(extra.substr(0, extra.find('=')));
    if (!app_.remaining().empty()) complain("there is no place for \"" + app_.remaining().front() + "\"");
    if (seed_given_ && *seed_given_ < 0) complain("--seed must not be negative");
    if (seed_given_) *seed_ = static_cast<std::uint64_t>(*seed_given_);
    for (std::size_t i = 0; i < required; ++i)
      if (positionals_[i].second->empty()) complain(positionals_[i].first + " is missing");
  }

  [[noreturn]] void complain(const std::string& what) const {
    throw ConfigError(verb_ + ": " + what + (what.ends_with('?') ? " See" : "; see") + " tradewind " + verb_ + " --help");
  }

 private:
  [[noreturn]] void complain_of_option(const std::string& given) const {
    std::vector<std::string> known;
    for (const CLI::Option* option : app_.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    complain("unknown option " + given + runtime::suggestion_text(runtime::did_you_mean(given, known)));
  }

  std::string verb_;
  const char* help_;
  CLI::App app_;
  std::vector<std::pair<std::string, std::string*>> positionals_;
  std::uint64_t* seed_ = nullptr;
  std::optional<std::int64_t> seed_given_;  // signed: CLI11 would read -1 as a large number
};

using Arguments = std::vector<std::string>;

int run_train(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("train", kTrainHelp);
  TrainOptions options;
  std::string config;
  line.positional("CONFIG", config);
  line.option("--set", options.overrides);
  line.flag("--dry-run", options.dry_run);
  line.flag("--fresh", options.fresh);
  line.parse(arguments, 1);
  options.config = config;
  return train(options, registry);
}

int run_evaluate(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("evaluate", kEvaluateHelp);
  EvaluateOptions options;
  std::string run;
  line.positional("RUN", run);
  line.option("--set", options.overrides);
  line.option("--checkpoint", options.checkpoint);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  options.run = run;
  return evaluate(options, registry);
}

int run_generate(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("generate", kGenerateHelp);
  GenerateOptions options;
  std::string run;
  line.positional("RUN", run);
  line.option("--checkpoint", options.checkpoint);
  line.option("--prompt", options.prompt);
  line.option("--tokens", options.tokens);
  line.option("--temperature", options.temperature);
  line.option("--top-k", options.top_k);
  line.option("--top-p", options.top_p);
  line.seed(options.seed);
  line.option("--samples", options.samples);
  line.flag("--stream", options.stream);
  line.parse(arguments, 1);
  options.run = run;
  return generate(options, registry);
}

int run_export(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("export", kExportHelp);
  ExportOptions options;
  std::string run, to;
  line.positional("RUN", run);
  line.option("--checkpoint", options.checkpoint);
  line.option("--to", to);
  line.flag("--overwrite", options.overwrite);
  line.parse(arguments, 1);
  if (to.empty()) line.complain("--to is missing: where shall the model go, as in --to model.h5");
  options.run = run;
  options.to = to;
  return export_run(options, registry);
}

int run_verify(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("verify", kVerifyHelp);
  VerifyOptions options;
  std::string path;
  line.positional("RUN", path);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  options.path = path;
  return verify(options, registry);
}

int run_config(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("config", kConfigHelp);
  std::string action, key, model = "gpt";
  line.positional("schema", action);
  line.positional("KEY", key);
  line.option("--model", model);
  line.parse(arguments, 0);
  if (action.empty()) print_and_leave(kConfigHelp);
  if (action != "schema")
    line.complain("there is no \"" + action + "\"" + runtime::suggestion_text(runtime::did_you_mean(action, {"schema"})));
  return config_schema(key, model, registry);
}

int run_demo_text(const Arguments& arguments, const models::Registry&) {
  CommandLine line("demo-text", kDemoTextHelp);
  std::string to;
  std::int64_t documents = 3000;
  std::uint64_t seed = 1;
  line.option("--to", to);
  line.option("--documents", documents);
  line.seed(seed);
  line.parse(arguments, 0);
  if (documents < 1) line.complain("--documents must be at least 1");
  return demo_text(to, documents, seed);
}

struct Verb {
  std::string name;
  int (*run)(const Arguments&, const models::Registry&);
};

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = {{"train", run_train},        {"evaluate", run_evaluate}, {"generate", run_generate},
                                        {"export", run_export},      {"verify", run_verify},     {"config", run_config},
                                        {"demo-text", run_demo_text}};
  return all;
}

int dispatch(const Arguments& arguments, const models::Registry& registry) {
  if (arguments.empty()) {
    std::fputs(kProgramHelp, stderr);
    return static_cast<int>(ExitCode::kConfig);
  }
  const std::string& first = arguments.front();
  if (first == "-h" || first == "--help") print_and_leave(kProgramHelp);
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
  std::fprintf(stderr, "error: %s\n", message.c_str());
  if (code == ExitCode::kInternal)
    std::fputs("This is a bug in Tradewind. Please report it with the command, the config and the run's log.txt.\n", stderr);
  return static_cast<int>(code);
}

}  // namespace

int run(int argc, char** argv, const models::Registry& registry) {
  try {
    int code = 0;
    try {
      code = dispatch(Arguments(argv + std::min(argc, 1), argv + argc), registry);
    } catch (const Printed&) {
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw DataError("standard output could not be written; is the disk full?");
    return code;
  } catch (const Error& e) {
    return fail(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::kDevice, "out of memory; lower train.micro_batch or the size of the model");
  } catch (const std::exception& e) {
    return fail(ExitCode::kInternal, e.what());
  }
}

}  // namespace tradewind::launcher
