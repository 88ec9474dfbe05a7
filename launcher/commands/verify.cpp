#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "runtime/checkpoint/verify.h"
#include "runtime/core/terminal.h"
#include "runtime/train/run_record.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Whether a run's checkpoints are as they were written, to the byte.

usage: tradewind verify RUN|CHECKPOINT [--json]

  RUN         a run directory: every checkpoint in it, config, status, metrics,
              and that the newest good one fits the config's model
  CHECKPOINT  one checkpoint of it, as in RUN/checkpoints/step-00000120
  --json      print one JSON object

Names the newest good checkpoint, which `tradewind train` goes on from. Exit
code 0: all is good; 4: something is not, and which.

examples:
  tradewind verify runs/gpt-shakespeare
  tradewind verify runs/shop/checkpoints/step-00000120 --json
)";

struct VerifyOptions {
  std::filesystem::path path;  // of a run, or of one checkpoint
  bool json = false;
};

namespace fs = std::filesystem;
using runtime::CheckpointReport;

struct RunReport {
  std::vector<CheckpointReport> checkpoints;  // by step
  std::vector<std::string> problems, notes;   // of everything else
  const CheckpointReport* newest_good = nullptr;
  std::int64_t steps = 0;  // in metrics.jsonl
  bool good() const { return problems.empty() && std::ranges::all_of(checkpoints, &CheckpointReport::good); }
};

/// Every line is an object, and no step comes before one that it follows.
void check_metrics(const fs::path& file, RunReport& report) {
  if (!fs::exists(file)) {
    report.notes.push_back("there is no metrics.jsonl");
    return;
  }
  std::ifstream in(file, std::ios::binary);
  std::int64_t number = 0, last = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (in.eof() && !object.is_object()) {
      report.notes.push_back("metrics.jsonl ends within a line, as of a run that was killed; going on with the run mends it");
      break;
    }
    const std::string where = "metrics.jsonl, line " + std::to_string(number) + ": ";
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) {
      report.problems.push_back(where + "it is no JSON object with a step");
      return;
    }
    const auto step = object["step"].get<std::int64_t>();
    if (step < last) {
      report.problems.push_back(where + "step " + std::to_string(step) + " comes after step " + std::to_string(last));
      return;
    }
    report.steps = last = step;
  }
  if (in.bad()) report.problems.push_back("metrics.jsonl cannot be read to its end");
}

void check_json(const fs::path& file, RunReport& report) {
  std::ifstream in(file, std::ios::binary);
  if (!in || nlohmann::json::parse(in, nullptr, false).is_discarded())
    report.problems.push_back(file.filename().string() + " is missing or no JSON");
}

/// The checkpoint is one of this config's model, with all that going on needs.
void check_model(const RunConfig& config, const CheckpointReport& newest, RunReport& report) {
  const std::string where = newest.directory.filename().string() + ": ";
  try {
    const auto checkpoint = runtime::Checkpoint::open(newest.directory, runtime::Check::kLayout);
    const auto task = config.model->build(inputs_of(config, checkpoint));
    for (const auto& p : task->parameters().parameters())
      if (!checkpoint.contains(p->name()))
        report.problems.push_back(where + "there is no tensor \"" + p->name() + "\", which the config's model has");
      else if (!(checkpoint.shape(p->name()) == p->shape()))
        report.problems.push_back(where + "tensor \"" + p->name() + "\" has shape " + checkpoint.shape(p->name()).text() +
                                  ", the config's model wants " + p->shape().text());
  } catch (const std::exception& e) {
    report.problems.push_back(where + e.what());
  }
}

RunReport verify_run(const fs::path& run, const models::Registry& registry) {
  if (fs::exists(run / "config.toml")) runtime::require_run(run);  // one of a newer version is not for this one to judge
  RunReport report;
  std::size_t unfinished = 0;
  std::error_code ignored;
  for (fs::directory_iterator it(run / "checkpoints", ignored), end; !ignored && it != end; it.increment(ignored))
    if (runtime::is_leftover(it->path())) ++unfinished;
  if (unfinished > 0)
    report.notes.push_back(
        "something unfinished is in checkpoints/, of a run that is at work or was killed; the next `tradewind train` removes "
        "it");
  for (const fs::path& directory : runtime::checkpoint_directories(run / "checkpoints")) {
    auto checked = runtime::verify_checkpoint(directory);
    // A run at work removes old ones meanwhile.
    if (checked.good() || fs::exists(directory)) report.checkpoints.push_back(std::move(checked));
  }
  for (const auto& checked : report.checkpoints)
    if (checked.good()) report.newest_good = &checked;
  if (report.checkpoints.empty()) report.notes.push_back("there is no checkpoint yet");
  check_json(run / "status.json", report);
  if (fs::exists(run / "environment.json")) check_json(run / "environment.json", report);
  check_metrics(run / "metrics.jsonl", report);
  try {
    const RunConfig config = read_run_config(run / "config.toml", {}, registry);
    if (report.newest_good != nullptr) check_model(config, *report.newest_good, report);
  } catch (const Error& e) {
    report.problems.push_back(std::string("config.toml: ") + e.what());
  }
  return report;
}

void print_text(const fs::path& path, const RunReport& report) {
  for (const CheckpointReport& c : report.checkpoints) {
    const std::string name = c.directory.filename().string();
    if (c.good())
      std::printf("%-13s  good     %zu files, %s, %zu tensors, of %d rank%s\n", name.c_str(), c.files,
                  size_text(c.bytes).c_str(), c.tensors, c.world_size, c.world_size == 1 ? "" : "s");
    for (const std::string& problem : c.problems) runtime::say(stdout, fmt::format("{:<13}  DAMAGED  {}", name, problem));
  }
  for (const std::string& problem : report.problems)
    runtime::say(stdout, fmt::format("{:<13}  WRONG    {}", "the run", problem));
  for (const std::string& note : report.notes) runtime::say(stdout, fmt::format("{:<13}  note     {}", "the run", note));
  if (report.newest_good != nullptr)
    runtime::say(stdout, "newest good checkpoint: " + report.newest_good->directory.string());
  else if (!report.checkpoints.empty())
    runtime::say(stdout, fmt::format("no checkpoint of {} is good", path.string()));
}

void print_object(const fs::path& path, const RunReport& report) {
  nlohmann::ordered_json out = {{"path", path.string()}, {"good", report.good()}, {"newest_good", nullptr}};
  if (report.newest_good != nullptr) out["newest_good"] = report.newest_good->directory.string();
  out["checkpoints"] = nlohmann::ordered_json::array();
  for (const CheckpointReport& c : report.checkpoints)
    out["checkpoints"].push_back({{"directory", c.directory.string()},
                                  {"good", c.good()},
                                  {"step", c.step},
                                  {"world_size", c.world_size},
                                  {"files", c.files},
                                  {"tensors", c.tensors},
                                  {"bytes", c.bytes},
                                  {"problems", c.problems}});
  out["metrics_step"] = report.steps;
  out["problems"] = report.problems;
  out["notes"] = report.notes;
  print_json(out);
}

int verify(const VerifyOptions& options, const models::Registry& registry) {
  const fs::path path = options.path.has_filename() ? options.path : options.path.parent_path();
  const bool run = fs::exists(path / "config.toml") || fs::exists(path / "status.json");
  const bool checkpoint = !run && (fs::exists(path / "manifest.json") || path.filename().string().starts_with("step-"));
  if (!fs::is_directory(path) || (!run && !checkpoint))
    throw ConfigError("verify: " + path.string() +
                      " is neither a run directory (it has no config.toml) nor a checkpoint (it has no manifest.json)");
  RunReport report;
  if (run) {
    const Waiting waiting("reading every byte");
    report = verify_run(path, registry);
  } else {
    report.checkpoints.push_back(runtime::verify_checkpoint(path));
    if (report.good()) report.newest_good = &report.checkpoints.front();
  }
  options.json ? print_object(path, report) : print_text(path, report);
  if (report.good()) return 0;
  std::fflush(stdout);
  const char* remedy = report.newest_good != nullptr && run
                           ? "`tradewind train` goes on from the newest good checkpoint; remove what "
                             "is damaged, or restore it from a copy"
                           : "restore it from a copy, or remove it";
  runtime::say(stderr, fmt::format("error: {} is not as it was written; {}", path.string(), remedy));
  return static_cast<int>(ExitCode::kCheckpoint);
}

}  // namespace

int run_verify(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("verify", kHelp);
  VerifyOptions options;
  std::string path;
  line.positional("RUN", path);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  options.path = path;
  return verify(options, registry);
}

}  // namespace tradewind::launcher
