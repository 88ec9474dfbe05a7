#include <fmt/format.h>

#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/huggingface.h"
#include "launcher/output.h"
#include "launcher/waiting.h"
#include "runtime/checkpoint/hdf5_export.h"
#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(A trained model as one HDF5 file that h5py and h5dump read, or as a Hugging
Face directory.

usage: tradewind export RUN --to PATH [--format hdf5|huggingface]
                            [--checkpoint last|best|STEP] [--overwrite]
                            [--json]

  RUN              a run directory
  --to PATH        where to: a file as in model.h5, or a directory
  --format F       hdf5 (default); huggingface: config.json, model.safetensors
                   and the tokenizer, as AutoModelForCausalLM reads them. GPT
                   in GPT-2's layout: learned positions, layer norm
  --overwrite      replace PATH where it exists
  --checkpoint C   last (default), best, or the step of one
  --json           print one JSON object: what was written

examples:
  tradewind export runs/gpt-shakespeare --to model.h5
  tradewind export runs/shop --checkpoint best --to shop.h5 --overwrite
  tradewind export runs/shop --format huggingface --to shop-gpt
)";

struct ExportOptions {
  std::filesystem::path run;
  std::string checkpoint = "last";
  std::filesystem::path to;
  std::string format = "hdf5";
  bool overwrite = false, json = false;
};

std::size_t export_as_hdf5(LoadedRun& run, const ExportOptions& options) {
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
  return tensors.size();
}

int export_run(const ExportOptions& options, const models::Registry& registry) {
  auto waiting = std::make_unique<Waiting>("exporting");
  LoadedRun run = load_run(options.run, options.checkpoint, {}, registry, LoadFor::kReading);
  const std::size_t tensors =
      options.format == "hdf5" ? export_as_hdf5(run, options) : export_huggingface(run, options.to, options.overwrite);
  waiting.reset();
  if (options.json) {
    const nlohmann::ordered_json out = {{"path", options.to.string()},
                                        {"step", run.checkpoint->step()},
                                        {"tensors", tensors},
                                        {"parameters", run.task->parameters().parameter_count()}};
    print_json(out);
    return 0;
  }
  runtime::say(stdout, fmt::format("{}: {} tensors, {} parameters of step {}", options.to.string(), tensors,
                                   run.task->parameters().parameter_count(), run.checkpoint->step()));
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
  line.option("--format", options.format);
  line.flag("--overwrite", options.overwrite);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  if (to.empty()) line.complain("--to is missing: where shall the model go, as in --to model.h5");
  if (options.format != "hdf5" && options.format != "huggingface")
    line.complain("--format " + options.format + ": give hdf5 or huggingface");
  options.run = run;
  options.to = to;
  return export_run(options, registry);
}

}  // namespace tradewind::launcher
