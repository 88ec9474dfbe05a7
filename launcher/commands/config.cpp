#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/run_config.h"
#include "runtime/core/terminal.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Explain the keys of a config file.

usage: tradewind config schema [KEY] [--model NAME] [--json]

  KEY           a key or a section; all where it is left out
  --model NAME  explain the keys of model.name = NAME (default gpt)
  --json        print one JSON object: type, default, choices, limits of each

examples:
  tradewind config schema
  tradewind config schema optimizer
  tradewind config schema train.micro_batch
)";

int config_schema_json(const std::string& key, const std::string& model, const models::Registry& registry) {
  RunConfig config = default_run_config(model, registry);
  nlohmann::ordered_json out = {{"model", model}, {"models", nlohmann::json::array()}, {"keys", nlohmann::json::array()}};
  for (const models::ModelEntry& entry : registry.entries())
    out["models"].push_back(nlohmann::ordered_json{{"name", entry.name}, {"explanation", entry.doc}});
  for (const auto& k : runtime::config_keys([&](runtime::Fields& f) { config.describe(f); }, key)) {
    nlohmann::ordered_json entry = {{"key", k.key}, {"type", k.type}, {"default", k.value}};  // the default as TOML
    if (!k.choices.empty()) entry["choices"] = k.choices;
    if (std::isfinite(k.limits.min)) entry[k.limits.above_min ? "above" : "minimum"] = k.limits.min;
    if (std::isfinite(k.limits.max)) entry[k.limits.below_max ? "below" : "maximum"] = k.limits.max;
    entry["explanation"] = k.doc;
    out["keys"].push_back(entry);
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

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
  bool json = false;
  line.positional("schema", action);
  line.positional("KEY", key);
  line.option("--model", model);
  line.flag("--json", json);
  line.parse(arguments, 0);
  if (action.empty()) print_and_leave(kHelp);
  if (action != "schema")
    line.complain("there is no \"" + action + "\"" + runtime::suggestion_text(runtime::did_you_mean(action, {"schema"})));
  return json ? config_schema_json(key, model, registry) : config_schema(key, model, registry);
}

}  // namespace tradewind::launcher
