#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/next_command.h"
#include "launcher/output.h"
#include "launcher/run_config.h"
#include "runtime/core/terminal.h"
#include "runtime/data/prepare.h"
#include "runtime/data/prepared_file.h"
#include "runtime/data/prepared_interactions.h"
#include "runtime/train/progress.h"
#include "runtime/train/signals.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Make one HDF5 file of a recipe's data, once: the tokens of a text, or users'
events in order. `train` and the other verbs read it in place of the data.

usage: tradewind prepare CONFIG [--set KEY=VALUE]... [--to FILE]
                         [--vocabulary-size N] [--fresh] [--json]

  CONFIG               the recipe that is to be trained
  --set KEY=VALUE      override a key; may be given many times
  --to FILE            where to; by default what data.prepared says
  --vocabulary-size N  with data.tokenizer = "bpe" and no data.vocabulary: train
                       a vocabulary of N tokens on the text
  --fresh              begin anew, and replace FILE where it is there
  --json               print one JSON object: state and summary

Neither text nor tokens are held in memory, nor are events, but for the ids of
items, 12 bytes a user and about a hundredth of users and events. Ctrl-C or
SIGTERM stops (exit code 75); after that, and after any other end, the same
command goes on with a text; with events it begins anew, and says so. Training
with data.prepared = FILE and else the same recipe sees the same samples as
training on the data.

examples:
  tradewind prepare my.toml --to corpus.h5
  tradewind train my.toml --set data.prepared=corpus.h5
  tradewind prepare my.toml --set data.tokenizer=bpe --vocabulary-size 8000 \
    --to corpus.h5
  tradewind prepare configs/recommend/sasrec-shop.toml --to events.h5
)";

/// The progress line on a terminal; elsewhere a plain line every ten seconds.
class Observer final : public runtime::PrepareObserver {
 public:
  explicit Observer(bool json) : progress_(quiet(log_, json)) {}
  void on_progress(const std::string& what, std::uint64_t bytes, std::uint64_t total) override {
    constexpr std::uint64_t kMega = 1'000'000;
    progress_.phase(bytes > 0 ? what + ", MB" : what, static_cast<std::int64_t>(bytes / kMega),
                    static_cast<std::int64_t>(std::max(total, bytes) / kMega));
    const auto now = std::chrono::steady_clock::now();
    if (runtime::on_terminal(stdout) || now - said_ < std::chrono::seconds(10)) return;
    said_ = now;
    log_.info(fmt::format("{}: {}{} MB", what, bytes / kMega, total > 0 ? fmt::format(" of {}", total / kMega) : ""));
  }
  void on_note(const std::string& text) override { log_.info(text); }
  bool stop_requested() override { return signals_.stop_requested(); }

 private:
  /// With --json stdout holds the object alone.
  static runtime::Log& quiet(runtime::Log& log, bool json) {
    if (json) log.keep_off_terminal();
    return log;
  }

  runtime::Log log_;
  runtime::Progress progress_;
  const runtime::StopSignals signals_;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
};

/// As --json prints it. `state`: "prepared", "prepared before" or "stopped".
void print_outcome(const std::filesystem::path& to, const char* state, bool done) {
  nlohmann::ordered_json out = {{"path", to.string()}, {"state", state}};
  if (done) {
    const runtime::PreparedFile file(to);
    for (const char* key : {"summary", "key", "sources"}) out[key] = file.description().at(key);
  }
  print_json(out);
}

/// `next`: a command to try.
int prepare(RunConfig& config, runtime::PrepareOptions options, const std::string& next, bool json) {
  options.threads = make_host_context(config)->threads();
  Observer observer(json);
  const bool events = config.model->data_kind() == models::DataKind::kInteractions;
  const runtime::Prepared outcome =
      events
          ? runtime::prepare_interactions(config.interactions, static_cast<std::uint64_t>(config.run.seed), options, observer)
          : runtime::prepare_text(config.data, options, observer);
  const char* state = "";
  std::string said;
  switch (outcome) {
    case runtime::Prepared::kStopped:
      state = "stopped";
      said = events ? "stopped; the same command begins anew" : "stopped; run the same command again to go on";
      break;
    case runtime::Prepared::kBefore:
      state = "prepared before";
      said = options.to.string() + " is prepared already; nothing was done";
      break;
    case runtime::Prepared::kNow: state = "prepared", said = options.to.string() + "; try: " + next; break;
  }
  if (json) print_outcome(options.to, state, outcome != runtime::Prepared::kStopped);
  observer.on_note(said);
  return outcome == runtime::Prepared::kStopped ? static_cast<int>(ExitCode::kRequeue) : 0;
}

}  // namespace

int run_prepare(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("prepare", kHelp);
  std::string config, to;
  std::vector<std::string> overrides;
  runtime::PrepareOptions options;
  bool json = false;
  line.positional("CONFIG", config);
  line.option("--set", overrides);
  line.option("--to", to);
  line.option("--vocabulary-size", options.vocabulary_size);
  line.flag("--fresh", options.fresh);
  line.flag("--json", json);
  line.parse(arguments, 1);
  if (options.vocabulary_size < 0) line.complain("--vocabulary-size must not be negative");
  RunConfig run = read_run_config(config, overrides, registry);
  const bool events = run.model->data_kind() == models::DataKind::kInteractions;
  if (events && options.vocabulary_size > 0) line.complain("--vocabulary-size is of a text, and the model reads events");
  options.to = !to.empty() ? to : events ? run.interactions.prepared : run.data.prepared;
  if (options.to.empty()) line.complain("where to? Give --to FILE, as in --to corpus.h5, or set data.prepared");
  if (!to.empty()) overrides.push_back("data.prepared=" + to);
  return prepare(run, options, command_with("train", config, overrides), json);
}

}  // namespace tradewind::launcher
