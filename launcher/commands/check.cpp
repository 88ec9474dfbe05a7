#include <fmt/format.h>

#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/next_command.h"
#include "launcher/output.h"
#include "launcher/run_config.h"
#include "runtime/core/terminal.h"
#include "runtime/data/check_interactions.h"
#include "runtime/data/check_text.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Look at every row of a recipe's data before training on it.

usage: tradewind check CONFIG [--set KEY=VALUE]... [--examples N] [--json]

  CONFIG           a recipe; its section [data] says what is read and how
  --set KEY=VALUE  override a key; may be given many times
  --examples N     rows that are named of each kind of fault (default 5)
  --json           print one JSON object: good, rows, findings, summary

Names file, row, column and repair. Errors are what training would stop at; it
reads by the same code, so that what passes here loads there. Of events it also
names what loads and may not be meant: events that are there twice, users too
short to be tested, items that only the test has, ids with blanks around them
or with other capitals than another, times in another unit. Exit code 0: it
would load; 3: it would not.

examples:
  tradewind check my.toml
  tradewind check my.toml --set data.path=events-2024.csv.gz --examples 20
)";

using runtime::CheckReport;
using runtime::Finding;

runtime::CheckReport check(const RunConfig& config, std::int64_t examples) {
  const auto most = static_cast<std::size_t>(examples);
  if (config.model->data_kind() == models::DataKind::kText) return runtime::check_text(config.data, most);
  return runtime::check_interactions(config.interactions, static_cast<std::uint64_t>(config.run.seed), most);
}

/// `next`: a command to try.
void print(const CheckReport& report, const std::string& next) {
  for (const Finding& finding : report.findings) {
    runtime::say(stdout, fmt::format("{}: {} {}", finding.error ? "ERROR" : "worth a look", finding.count, finding.kind));
    for (const auto& problem : finding.examples) runtime::say(stdout, "  " + problem.text());
    const std::int64_t more = finding.count - static_cast<std::int64_t>(finding.examples.size());
    if (more > 0) runtime::say(stdout, fmt::format("  and {} more", more));
  }
  if (!report.summary.empty()) runtime::say(stdout, report.summary);
  std::int64_t errors = 0;
  for (const Finding& finding : report.findings) errors += finding.error ? finding.count : 0;
  runtime::say(stdout, errors == 0
                           ? "it can be read; try: " + next
                           : fmt::format("{} error{}; training would stop at the first", errors, errors == 1 ? "" : "s"));
}

nlohmann::ordered_json json_of(const CheckReport& report) {
  nlohmann::ordered_json out = {{"good", report.good()},   {"rows", report.rows},
                                {"events", report.events}, {"users", report.users},
                                {"items", report.items},   {"findings", nlohmann::ordered_json::array()}};
  for (const Finding& finding : report.findings) {
    nlohmann::ordered_json examples = nlohmann::ordered_json::array();
    for (const auto& problem : finding.examples)
      examples.push_back({{"file", problem.file},
                          {"line", problem.line},
                          {"column", problem.column},
                          {"what", problem.what},
                          {"repair", problem.repair}});
    out["findings"].push_back(
        {{"kind", finding.kind}, {"error", finding.error}, {"count", finding.count}, {"examples", std::move(examples)}});
  }
  out["summary"] = report.summary;
  return out;
}

}  // namespace

int run_check(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("check", kHelp);
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t examples = 5;
  bool json = false;
  line.positional("CONFIG", config);
  line.option("--set", overrides);
  line.option("--examples", examples);
  line.flag("--json", json);
  line.parse(arguments, 1);
  if (examples < 1) line.complain("--examples must be at least 1");
  const CheckReport report = check(read_run_config(config, overrides, registry), examples);
  if (json)
    print_json(json_of(report));
  else
    print(report, command_with("train", config, overrides));
  return static_cast<int>(report.good() ? ExitCode::kDone : ExitCode::kData);
}

}  // namespace tradewind::launcher
