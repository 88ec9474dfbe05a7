#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/session.h"
#include "runtime/checkpoint/hdf5_export.h"
#include "runtime/core/environment.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(A trained model as one HDF5 file that h5py and h5dump read.

usage: tradewind export RUN --to FILE [--overwrite]
                            [--checkpoint last|best|STEP] [--json]

  RUN              a run directory
  --to FILE        where to, as in model.h5
  --overwrite      replace FILE where it exists
  --checkpoint C   last (default), best, or the step of one
  --json           print one JSON object: what was written

examples:
  tradewind export runs/gpt-shakespeare --to model.h5
  tradewind export runs/shop --checkpoint best --to shop.h5 --overwrite
)";

struct ExportOptions {
  std::filesystem::path run;
  std::string checkpoint = "last";
  std::filesystem::path to;
  bool overwrite = false, json = false;
};

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
  if (options.json) {
    const nlohmann::ordered_json out = {{"path", options.to.string()},
                                        {"step", run.checkpoint->step()},
                                        {"tensors", tensors.size()},
                                        {"parameters", run.task->parameters().parameter_count()}};
    std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  }
  std::printf("%s: %zu tensors, %lld parameters of step %lld\n", options.to.c_str(), tensors.size(),
              static_cast<long long>(run.task->parameters().parameter_count()), static_cast<long long>(run.checkpoint->step()));
  return 0;
}

}  // namespace

int run_export(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("export", kHelp);
  ExportOptions options;
  std::string run, to;
  line.positional("RUN", run);
  line.option("--checkpoint", options.checkpoint);
  line.option("--to", to);
  line.flag("--overwrite", options.overwrite);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  if (to.empty()) line.complain("--to is missing: where shall the model go, as in --to model.h5");
  options.run = run;
  options.to = to;
  return export_run(options, registry);
}

}  // namespace tradewind::launcher
