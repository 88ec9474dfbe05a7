#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/session.h"
#include "runtime/checkpoint/hdf5_export.h"
#include "runtime/core/environment.h"

namespace tradewind::launcher {

int export_run(const ExportOptions& options, const models::Registry& registry) {
  LoadedRun run = load_run(options.run, options.checkpoint, {}, registry);
  std::vector<runtime::ExportTensor> tensors;
  for (const auto& p : run.task->parameters().parameters()) tensors.push_back({.name = p->name(), .data = p->value()});
  const auto& state = run.checkpoint->state();
  nlohmann::json metrics = {{"training_loss", state.value("last_loss", 0.0)}};
  if (state.value("best_step", std::int64_t{0}) > 0) {
    metrics["best_validation_loss"] = state.value("best_loss", 0.0);
    metrics["best_step"] = state.at("best_step");
  }
  runtime::export_hdf5(options.to, tensors,
                       {{"model", run.config.model_name},
                        {"config", run.config.text()},
                        {"tokenizer", run.tokenizer->to_json().dump()},
                        {"metrics", metrics.dump()},
                        {"step", run.checkpoint->step()},
                        {"tradewind_version", runtime::version()}},
                       options.overwrite);
  std::printf("%s: %zu tensors, %lld parameters of step %lld\n", options.to.c_str(), tensors.size(),
              static_cast<long long>(run.task->parameters().parameter_count()), static_cast<long long>(run.checkpoint->step()));
  return 0;
}

}  // namespace tradewind::launcher
