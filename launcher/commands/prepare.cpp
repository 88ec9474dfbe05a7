#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/run_config.h"
#include "runtime/data/prepare.h"
#include "runtime/train/progress.h"
#include "runtime/train/signals.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Tokenise the text of a recipe once, into one HDF5 file that `train` reads.

usage: tradewind prepare CONFIG [--set KEY=VALUE]... [--to FILE]
                         [--vocabulary-size N] [--fresh]

  CONFIG               the recipe that is to be trained
  --set KEY=VALUE      override a key; may be given many times
  --to FILE            where to; by default what data.prepared says
  --vocabulary-size N  with data.tokenizer = "bpe" and no data.vocabulary: train
                       a vocabulary of N tokens on the text
  --fresh              begin anew, and replace FILE where it is there

Neither text nor tokens are held in memory. Ctrl-C or SIGTERM stops (exit code
75); after that, and after any other end, the same command goes on. Training
with data.prepared = FILE and else the same recipe sees the same samples as
training on the text.

examples:
  tradewind prepare my.toml --to corpus.h5
  tradewind train my.toml --set data.prepared=corpus.h5
  tradewind prepare my.toml --set data.tokenizer=bpe --vocabulary-size 8000 \
    --to corpus.h5
)";

/// The progress line on a terminal; elsewhere a plain line every ten seconds.
class Observer final : public runtime::PrepareObserver {
 public:
  void on_progress(const std::string& what, std::uint64_t bytes, std::uint64_t total) override {
    constexpr std::uint64_t kMega = 1'000'000;
    progress_.phase(bytes > 0 ? what + ", MB" : what, static_cast<std::int64_t>(bytes / kMega),
                    static_cast<std::int64_t>(std::max(total, bytes) / kMega));
    const auto now = std::chrono::steady_clock::now();
    if (isatty(STDOUT_FILENO) == 1 || now - said_ < std::chrono::seconds(10)) return;
    said_ = now;
    log_.info(fmt::format("{}: {}{} MB", what, bytes / kMega, total > 0 ? fmt::format(" of {}", total / kMega) : ""));
  }
  void on_note(const std::string& text) override { log_.info(text); }
  bool stop_requested() override { return signals_.stop_requested(); }

 private:
  runtime::Log log_;
  runtime::Progress progress_{log_};
  const runtime::StopSignals signals_;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
};

int prepare(RunConfig& config, runtime::PrepareOptions options) {
  std::vector<std::string> notes;
  options.threads = make_context(config, notes)->threads();
  Observer observer;
  switch (runtime::prepare_text(config.data, options, observer)) {
    case runtime::Prepared::kStopped:
      observer.on_note("stopped; run the same command again to go on");
      return static_cast<int>(ExitCode::kRequeue);
    case runtime::Prepared::kBefore:
      observer.on_note(fmt::format("{} is prepared already; nothing was done", options.to.string()));
      return 0;
    case runtime::Prepared::kNow:
      observer.on_note(
          fmt::format("{}; try: tradewind train CONFIG --set data.prepared={}", options.to.string(), options.to.string()));
  }
  return 0;
}

}  // namespace

int run_prepare(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("prepare", kHelp);
  std::string config, to;
  std::vector<std::string> overrides;
  runtime::PrepareOptions options;
  line.positional("CONFIG", config);
  line.option("--set", overrides);
  line.option("--to", to);
  line.option("--vocabulary-size", options.vocabulary_size);
  line.flag("--fresh", options.fresh);
  line.parse(arguments, 1);
  if (options.vocabulary_size < 0) line.complain("--vocabulary-size must not be negative");
  RunConfig run = read_run_config(config, overrides, registry);
  options.to = to.empty() ? run.data.prepared : to;
  if (options.to.empty()) line.complain("where to? Give --to FILE, as in --to corpus.h5, or set data.prepared");
  return prepare(run, options);
}

}  // namespace tradewind::launcher
