#include <fmt/format.h>

#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/huggingface.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/waiting.h"
#include "runtime/checkpoint/files.h"
#include "runtime/checkpoint/hdf5_export.h"
#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"
#include "runtime/core/transfer.h"
#include "runtime/data/csv.h"
#include "runtime/text/utf8.h"
#include "runtime/train/fitting.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(A trained model as one HDF5 file that h5py and h5dump read, or as a Hugging
Face directory; a recommender's item vectors for a vector index.

usage: tradewind export RUN --to PATH [--format hdf5|huggingface|vectors]
                            [--checkpoint last|best|STEP] [--overwrite]
                            [--json]

  RUN              a run directory
  --to PATH        where to: a file as in model.h5, or a directory
  --format F       hdf5 (default); huggingface: config.json, model.safetensors
                   and the tokenizer, as AutoModelForCausalLM reads them. GPT
                   in GPT-2's layout: learned positions, layer norm.
                   vectors: item_vectors.npy, float32 [items, channels], and
                   items.csv, the item of each row; of models that have such
  --overwrite      replace PATH where it exists
  --checkpoint C   last (default), best, or the step of one
  --json           print one JSON object: what was written

examples:
  tradewind export runs/gpt-shakespeare --to model.h5
  tradewind export runs/shop --checkpoint best --to shop.h5 --overwrite
  tradewind export runs/shop --format huggingface --to shop-gpt
  tradewind export runs/sasrec-shop --format vectors --to vectors
)";

struct ExportOptions {
  std::filesystem::path run;
  std::string checkpoint = "last";
  std::filesystem::path to;
  std::string format = "hdf5";
  bool overwrite = false, json = false;
};

/// The item, or value, of each row of a table. Throws CheckpointError for a name that HDF5 cannot hold as text.
nlohmann::json names_of(const runtime::Vocabulary& items, const char* what) {
  auto out = nlohmann::json::array();
  for (std::int32_t i = 0; i < items.size(); ++i) {
    const std::string name(items.name(i));
    if (runtime::find_invalid_utf8(name) != std::string::npos)
      throw CheckpointError(fmt::format("exporting: {} {} has a name that is not UTF-8; use --format vectors", what, i));
    out.push_back(name);
  }
  return out;
}

std::size_t export_as_hdf5(LoadedRun& run, const ExportOptions& options) {
  std::vector<runtime::ExportTensor> tensors;
  for (const auto& p : run.task->parameters().parameters()) tensors.push_back({.name = p->name(), .data = p->value()});
  if (auto* const fitted = dynamic_cast<runtime::Fitted*>(run.task.get()))
    for (const auto& [name, data] : fitted->learned()) tensors.push_back({.name = name, .data = data});
  const auto& state = run.checkpoint->state();
  nlohmann::json metrics = nlohmann::json::object();
  if (state.contains("last_loss")) metrics["training_loss"] = state.at("last_loss");
  if (state.value("best_step", std::int64_t{0}) > 0) {
    const bool ranks = run.config.model->data_kind() == models::DataKind::kInteractions;
    metrics["best_validation_" + (ranks ? ranking_options(run.config).best_by : "loss")] = state.value("best_loss", 0.0);
    if (ranks && run.config.evaluate.candidates > 0) metrics["sampled_candidates"] = run.config.evaluate.candidates;
    metrics["best_step"] = state.at("best_step");
  }
  nlohmann::json attributes = {{"model", run.config.model_name},
                               {"config", run.config.text()},
                               {"metrics", metrics.dump()},
                               {"step", run.checkpoint->step()},
                               {"tradewind_version", runtime::version()}};
  if (run.tokenizer != nullptr) attributes["tokenizer"] = run.tokenizer->to_json().dump();
  if (run.items != nullptr) attributes["items"] = names_of(*run.items, "item").dump();
  if (const auto kept = attributes_of(*run.checkpoint); kept != nullptr) {
    auto columns = nlohmann::json::array();
    for (const auto& column : kept->columns)
      columns.push_back({{"column", column.name}, {"values", names_of(column.values, "value")}});
    attributes["item_attributes"] = columns.dump();
  }
  runtime::export_hdf5(options.to, tensors, attributes, options.overwrite);
  return tensors.size();
}

/// NumPy's format 1.0: magic, version, the length of the header, a Python dictionary padded with blanks, the rows.
std::string npy_of(const runtime::Tensor& matrix) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", matrix.size(0), matrix.size(1));
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(header.size() & 0xFF);
  out += static_cast<char>(header.size() >> 8);
  out += header;
  out.append(reinterpret_cast<const char*>(matrix.raw()), matrix.bytes());
  return out;
}

std::size_t export_vectors(LoadedRun& run, const ExportOptions& options) {
  const runtime::Tensor vectors = on_host(run.recommender().item_vectors(*run.context));
  if (std::filesystem::exists(options.to) && !options.overwrite)
    throw CheckpointError(options.to.string() + " exists; choose another name, or replace it with --overwrite");
  std::string names = "item\n";
  for (std::int32_t i = 0; i < run.items->size(); ++i) names += runtime::csv_field(run.items->name(i)) + "\n";
  runtime::make_directories_durably(options.to);
  runtime::write_file_durably(options.to / "item_vectors.npy", npy_of(vectors));
  runtime::write_file_durably(options.to / "items.csv", names);
  return 1;
}

std::size_t export_to(LoadedRun& run, const ExportOptions& options) {
  if (options.format == "hdf5") return export_as_hdf5(run, options);
  if (options.format == "vectors") return export_vectors(run, options);
  return export_huggingface(run, options.to, options.overwrite);
}

int export_run(const ExportOptions& options, const models::Registry& registry) {
  auto waiting = std::make_unique<Waiting>("exporting");
  LoadedRun run = load_run(options.run, options.checkpoint, {}, registry, LoadFor::kReading);
  const std::size_t tensors = export_to(run, options);
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
  if (options.format != "hdf5" && options.format != "huggingface" && options.format != "vectors")
    line.complain("--format " + options.format + ": give hdf5, huggingface or vectors");
  options.run = run;
  options.to = to;
  return export_run(options, registry);
}

}  // namespace tradewind::launcher
