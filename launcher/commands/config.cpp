#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/run_config.h"

namespace tradewind::launcher {

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

}  // namespace tradewind::launcher
