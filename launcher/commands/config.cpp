#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/run_config.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Explain the keys of a config file.

usage: tradewind config schema [KEY] [--model NAME]

  KEY           a key or a section; all where it is left out
  --model NAME  explain the keys of model.name = NAME (default gpt)

examples:
  tradewind config schema
  tradewind config schema optimizer
  tradewind config schema train.micro_batch
)";

int config_schema(const std::string& key, const std::string& model, const models::Registry& registry) {
  RunConfig config = default_run_config(model, registry);
  std::fputs(runtime::explain_config([&](runtime::Fields& f) { config.describe(f); }, key).c_str(), stdout);
  if (key.empty() || key == "model" || key == "model.name") {
    std::fputs("\nmodels, for model.name:\n", stdout);
    for (const models::ModelEntry& entry : registry.entries())
      std::fputs(runtime::wrap_text(entry.name + ": " + entry.doc, "  ").c_str(), stdout);
  }
  return 0;
}

}  // namespace

int run_config(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("config", kHelp);
  std::string action, key, model = "gpt";
  line.positional("schema", action);
  line.positional("KEY", key);
  line.option("--model", model);
  line.parse(arguments, 0);
  if (action.empty()) print_and_leave(kHelp);
  if (action != "schema")
    line.complain("there is no \"" + action + "\"" + runtime::suggestion_text(runtime::did_you_mean(action, {"schema"})));
  return config_schema(key, model, registry);
}

}  // namespace tradewind::launcher
