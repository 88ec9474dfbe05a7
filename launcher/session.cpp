#include "launcher/session.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "kernels/base/device_runtime.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "runtime/core/terminal.h"
#include "runtime/train/fitting.h"
#include "runtime/train/run_record.h"

namespace tradewind::launcher {

namespace fs = std::filesystem;
using runtime::Checkpoint;

namespace {

std::int64_t step_of(const fs::path& directory) {
  const std::string name = directory.filename().string(), digits = name.substr(name.rfind('-') + 1);
  std::int64_t found = -1;
  std::from_chars(digits.data(), digits.data() + digits.size(), found);
  return found;
}

fs::path step_directory(const fs::path& run, std::int64_t step) {
  for (const auto& directory : runtime::list_checkpoints(run / "checkpoints"))
    if (step_of(directory) == step) return directory;
  std::string known;
  for (const auto& directory : runtime::list_checkpoints(run / "checkpoints"))
    known += (known.empty() ? "" : ", ") + directory.filename().string();
  throw CheckpointError(run.string() + " has no checkpoint of step " + std::to_string(step) + "; there " +
                        (known.empty() ? "is none at all" : "are " + known));
}

/// Nothing else stands in for the best: that would be a worse model under its name. Where a newer checkpoint is damaged, the
/// one before it names a best that was pruned when the newer one became it.
Checkpoint open_best(const fs::path& run, std::int64_t best, std::int64_t last) {
  const auto error = [&](const std::string& why) {
    return CheckpointError("the best checkpoint of " + run.string() + " that step " + std::to_string(last) +
                           ", the newest good one, knows is step " + std::to_string(best) + ", and " + why +
                           "; use --checkpoint last, or go on with the run: `tradewind train` makes what is damaged again");
  };
  for (const auto& directory : runtime::list_checkpoints(run / "checkpoints")) {
    if (step_of(directory) != best) continue;
    try {
      return Checkpoint::open(directory);
    } catch (const CheckpointError& e) {
      throw error(std::string("it cannot be read: ") + e.what());
    }
  }
  throw error("it is not there any more: a better one took its place and is damaged (see tradewind verify " + run.string() +
              ")");
}

/// The machine that a run is used on need not be like the one that trained it: where this one has no GPU, the CPU does, unless
/// the device was asked for just now.
std::unique_ptr<runtime::Context> context_for(RunConfig& config, const std::vector<std::string>& overrides) {
  const bool asked = std::ranges::any_of(overrides, [](const std::string& o) { return o.starts_with("device="); });
  const bool wants_gpu = config.device == "cuda" || (config.device == "auto" && config.precision == "bfloat16");
  if (wants_gpu && !asked)
    if (const std::string why = kernels::why_no_cuda(); !why.empty()) {
      warn("the run's config asks for a GPU, but " + why.substr(0, why.find(';')) + "; the CPU computes, in float32");
      return make_host_context(config);
    }
  std::vector<std::string> notes;
  return make_context(config, notes);
}

}  // namespace

models::LanguageModel& LoadedRun::language_model() const {
  auto* model = dynamic_cast<models::LanguageModel*>(task.get());
  if (model == nullptr) throw ConfigError("model.name = \"" + config.model_name + "\" generates no text");
  return *model;
}

models::Ranker& LoadedRun::ranker() const {
  auto* model = dynamic_cast<models::Ranker*>(task.get());
  if (model == nullptr) throw ConfigError("model.name = \"" + config.model_name + "\" recommends nothing");
  return *model;
}

models::Recommender& LoadedRun::recommender() const {
  auto* model = dynamic_cast<models::Recommender*>(&ranker());
  if (model == nullptr) throw ConfigError("model.name = \"" + config.model_name + "\" has no vectors of items");
  return *model;
}

Checkpoint select_checkpoint(const fs::path& run, const std::string& which) {
  runtime::require_run(run);
  const auto newest = [&] {
    auto found = runtime::open_newest_checkpoint(run / "checkpoints", warn);
    if (!found) throw CheckpointError(run.string() + " has no checkpoint yet; run `tradewind train` until it has saved one");
    return std::move(*found);
  };
  if (which == "last") return newest();
  if (which == "best") {
    const Checkpoint last = newest();
    const auto best = last.state().value("best_step", std::int64_t{0});
    if (best == 0)
      throw CheckpointError(run.string() + " was never evaluated, so no checkpoint is its best; use --checkpoint last");
    return open_best(run, best, last.step());
  }
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), step);
  if (error != std::errc{} || end != which.data() + which.size())
    throw ConfigError("--checkpoint " + which + ": give last, best or a step");
  return Checkpoint::open(step_directory(run, step));
}

std::string best_or_last(const fs::path& run) {
  return select_checkpoint(run, "last").state().value("best_step", std::int64_t{0}) > 0 ? "best" : "last";
}

LoadedRun load_run(const fs::path& run, const std::string& which, const std::vector<std::string>& overrides,
                   const models::Registry& registry, LoadFor purpose) {
  runtime::require_run(run);
  return load_run(run, which, read_run_config(run / "config.toml", overrides, registry), overrides, purpose);
}

LoadedRun load_run(const fs::path& run, const std::string& which, RunConfig config, const std::vector<std::string>& overrides,
                   LoadFor purpose) {
  LoadedRun out;
  out.checkpoint = std::make_unique<Checkpoint>(select_checkpoint(run, which));
  out.config = std::move(config);
  out.context = purpose == LoadFor::kReading ? make_host_context(out.config) : context_for(out.config, overrides);
  if (out.config.model->data_kind() == models::DataKind::kText)
    out.tokenizer = tokenizer_of(*out.checkpoint);
  else
    out.items = item_vocabulary_of(*out.checkpoint);
  out.task = out.config.model->build(inputs_of(out.config, *out.checkpoint));
  out.task->parameters().allocate(*out.context);
  runtime::load_parameters(*out.context, out.task->parameters(), *out.checkpoint);
  if (out.config.model->fitted()) runtime::restore_fitted(*out.context, *out.task, *out.checkpoint);
  return out;
}

std::unique_ptr<runtime::Tokenizer> tokenizer_of(const Checkpoint& checkpoint) {
  const auto run = checkpoint.state().value("run", nlohmann::json::object());
  if (!run.is_object() || !run.contains("tokenizer"))
    throw CheckpointError("the checkpoint of step " + std::to_string(checkpoint.step()) + " holds no tokenizer");
  return runtime::Tokenizer::from_json(run.at("tokenizer"));
}

std::optional<Checkpoint> open_origin(const RunConfig& config) {
  if (config.run.from.empty()) return {};
  try {
    return select_checkpoint(config.run.from, "last");
  } catch (const ConfigError& e) {
    throw ConfigError(std::string("run.from: ") + e.what());
  }
}

nlohmann::json run_state(RunConfig& config, const nlohmann::json& data, std::uint64_t data_checksum) {
  nlohmann::json out = data;
  out["config"] = config.text();
  out["model"] = config.model_name;
  out["data_checksum"] = data_checksum;
  return out;
}

}  // namespace tradewind::launcher
