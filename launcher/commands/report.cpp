#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "launcher/report/page.h"
#include "launcher/samples.h"
#include "runtime/checkpoint/verify.h"
#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"
#include "runtime/train/run_directory.h"

namespace tradewind::launcher {
namespace {

namespace fs = std::filesystem;

const char* const kHelp = R"(One or several runs as a page to look at and to pass on.

usage: tradewind report RUN [RUN...] [options]

  RUN            a run directory; several are drawn over each other
  --to FILE      where to (default report.html in the first RUN)
  --no-samples   no texts from the newest checkpoint
  --prompt TEXT  how the samples begin
  --samples N    how many texts a run (default 3)
  --tokens N     their length (default 120)
  --seed S       the same seed gives the same texts (default 1)

The page is one HTML file that needs nothing else: curves, results, what
tradewind evaluate found of a recommender, config, samples, checkpoints,
environment. A run at work is shown as far as it has
come. Exit code 3 where no step has been recorded yet.

examples:
  tradewind report runs/product-copy
  tradewind report runs/a runs/b --to comparison.html --no-samples
)";

constexpr std::size_t kMostRuns = 36;  // as many as colours and dashes tell apart

struct ReportOptions {
  std::vector<fs::path> runs;
  std::string to, prompt;
  bool no_samples = false;
  std::int64_t samples = 3, tokens = 120;
  std::uint64_t seed = 1;
};

std::vector<ReportCheckpoint> list_checkpoints(const fs::path& run) {
  std::vector<ReportCheckpoint> out;
  for (const fs::path& directory : runtime::checkpoint_directories(run / "checkpoints")) {
    ReportCheckpoint c;
    c.name = directory.filename().string();
    std::error_code ignored;  // a run at work removes old ones meanwhile
    for (const auto& entry : fs::directory_iterator(directory, ignored)) c.bytes += entry.file_size(ignored);
    try {
      const auto checkpoint = runtime::Checkpoint::open(directory, runtime::Check::kLayout);
      c.step = checkpoint.step();
      c.tensors = checkpoint.names().size();
    } catch (const Error& e) {
      if (!fs::exists(directory, ignored)) continue;
      c.problem = e.what();
    }
    out.push_back(c);
  }
  return out;
}

/// What keeps a run from generating does not keep it from being reported.
void draw_samples(const ReportOptions& options, const models::Registry& registry, ReportRun& run) {
  try {
    const LoadedRun loaded = load_run(run.record.path, "last", {}, registry);
    if (loaded.tokenizer == nullptr) return;  // no model of texts
    run.samples_of = "step " + std::to_string(loaded.checkpoint->step());
    run.samples = sample_texts(loaded, options.prompt, options.samples, options.seed, {.tokens = options.tokens});
  } catch (const Error& e) {
    run.samples_problem = e.what();
    warn("no samples of " + run.record.path.string() + ": " + e.what());
  }
}

ReportRun gather(const fs::path& path, const ReportOptions& options, const models::Registry& registry) {
  ReportRun run;
  run.record = runtime::read_run(path.has_filename() ? path : path.parent_path());
  std::ifstream environment(run.record.path / "environment.json", std::ios::binary);
  run.environment = nlohmann::ordered_json::parse(environment, nullptr, false);
  for (const char* part : {"test", "validation"}) {
    std::ifstream kept(run.record.path / (std::string("evaluation-") + part + ".json"), std::ios::binary);
    if (kept) run.rankings.push_back(nlohmann::ordered_json::parse(kept, nullptr, false));
  }
  run.checkpoints = list_checkpoints(run.record.path);
  if (!options.no_samples && options.samples > 0 && !run.record.steps.empty()) draw_samples(options, registry, run);
  return run;
}

int report(const ReportOptions& options, const models::Registry& registry) {
  std::vector<ReportRun> runs;
  bool steps = false;
  for (const fs::path& path : options.runs) {
    runs.push_back(gather(path, options, registry));
    // A model that is counted has no steps, but it is evaluated.
    steps = steps || !runs.back().record.steps.empty() || !runs.back().record.evaluations.empty();
  }
  if (!steps) {
    std::string why;
    for (const std::string& problem : runs[0].record.problems) why += " (" + problem + ")";
    throw DataError("report: " + runs[0].record.path.string() + " has recorded no step yet" + why +
                    "; `tradewind train` does, and log.txt there says what it came to");
  }
  const fs::path to = options.to.empty() ? runs[0].record.path / "report.html" : fs::path(options.to);
  if (fs::is_directory(to)) throw ConfigError("report: --to " + to.string() + " is a directory; give the name of a file");
  const std::string page =
      report_page(runs, fmt::format("Written by tradewind report {} on {:%Y-%m-%d %H:%M} UTC.", runtime::version(),
                                    fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()))));
  std::error_code error;
  if (to.has_parent_path()) fs::create_directories(to.parent_path(), error);
  if (error) throw ConfigError("report: cannot create " + to.parent_path().string() + ": " + error.message());
  try {
    runtime::write_file_whole(to, page);
  } catch (const CheckpointError& e) {
    throw CheckpointError(std::string("report: ") + e.what() + (options.to.empty() ? "; --to FILE writes it elsewhere" : ""));
  }
  runtime::say(stdout, fmt::format("{}: {}\n{}", to.string(), size_text(page.size()), verdict(runs)));
  return 0;
}

}  // namespace

int run_report(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("report", kHelp);
  ReportOptions options;
  std::string first;
  std::vector<std::string> others;
  line.positional("RUN", first);
  line.positionals("RUNS", others);
  line.option("--to", options.to);
  line.flag("--no-samples", options.no_samples);
  line.option("--prompt", options.prompt);
  line.option("--samples", options.samples);
  line.option("--tokens", options.tokens);
  line.seed(options.seed);
  line.parse(arguments, 1);
  if (options.samples < 0) line.complain("--samples must not be negative");
  if (options.tokens < 1) line.complain("--tokens must be at least 1");
  options.runs.assign(1, first);
  options.runs.insert(options.runs.end(), others.begin(), others.end());
  if (options.runs.size() > kMostRuns) line.complain("more than " + std::to_string(kMostRuns) + " runs cannot be told apart");
  return report(options, registry);
}

}  // namespace tradewind::launcher
