#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <mutex>
#include <new>

#include "kernels/base/isa.h"
#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/dry_run.h"
#include "launcher/next_command.h"
#include "launcher/ranks.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "runtime/comm/mpi.h"
#include "runtime/core/environment.h"
#include "runtime/core/roofline.h"
#include "runtime/train/event_file.h"
#include "runtime/train/fitting.h"
#include "runtime/train/metrics_file.h"
#include "runtime/train/progress.h"
#include "runtime/train/run_directory.h"
#include "runtime/train/signals.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Train a model from a config file, or go on with a run that was stopped.

usage: tradewind train CONFIG [--set KEY=VALUE]... [--fresh]
       tradewind train CONFIG [--set KEY=VALUE]... --dry-run [--json]

  CONFIG           a TOML file, as in configs/; what its keys mean is shown by
                   tradewind config schema
  --set KEY=VALUE  override a key; may be given many times
  --dry-run        check config, data, size, memory, disk and threads, and
                   train nothing
  --json           with --dry-run: print one JSON object
  --fresh          start anew where the run directory holds a run; the old one
                   moves to old/ in it

A model that is counted (popularity, item_knn) takes one pass over its events.
Ctrl-C or SIGTERM saves and stops (exit code 75); the same command again goes
on. The run is in run.directory, by default runs/NAME for NAME.toml.

examples:
  tradewind train configs/language/gpt-shakespeare.toml \
    --set data.path=input.txt
  tradewind train my.toml --dry-run
  tradewind train my.toml --set train.steps=500 --set run.directory=runs/b
)";

struct TrainOptions {
  std::filesystem::path config;        // a recipe
  std::vector<std::string> overrides;  // --set key=value
  bool dry_run = false, json = false;
  bool fresh = false;  // start anew where the run directory holds a run
};

using runtime::RunState;
using Reason = runtime::TrainOutcome::Reason;

std::string text(const char* format, auto... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

/// Leaves word of a failure in the run directory, whatever its disk still takes.
void record_failure(const runtime::RunDirectory& directory, runtime::Log& log, ExitCode code, const std::string& what) {
  log.note("error: " + what);
  try {
    const auto [step, seconds] = directory.progress();
    directory.write_status(RunState::kFailed, step, static_cast<int>(code), seconds);
  } catch (const Error&) {  // the first failure is the one to report
  }
}

/// The run directory as this rank sees it: rank 0 owns it, the others write chunks of checkpoints and logs of their own
/// there.
struct Place {
  /// Collective.
  Place(RunConfig& config, bool fresh, runtime::Log& run_log, Ranks& ranks);

  runtime::CheckpointFolder folder() const {
    return owned ? owned->checkpoint_folder() : runtime::checkpoint_folder(path, fence);
  }
  /// From any thread: where all ranks fail at once, the side channel and this rank both know, and whoever comes first ends
  /// it.
  void record(ExitCode code, const std::string& what) const {
    const std::lock_guard lock(recording_);
    if (owned)
      record_failure(*owned, log, code, what);
    else
      log.note("error: " + what);
  }

  std::filesystem::path path;
  runtime::Log& log;
  std::unique_ptr<runtime::RunDirectory> owned;  // rank 0
  std::int64_t fence = 0;
  bool resumable = false;

 private:
  mutable std::mutex recording_;
  struct Listening {  // to failures of other ranks; ends before what it uses goes
    ~Listening() { ranks.on_failure(nullptr); }
    Ranks& ranks;
  } listening_;
};

Place::Place(RunConfig& config, bool fresh, runtime::Log& run_log, Ranks& ranks)
    : path(config.run.directory), log(run_log), listening_{ranks} {
  if (ranks.rank() == 0) {
    owned = std::make_unique<runtime::RunDirectory>(path, config.text(), fresh, log);
    fence = owned->fence();
    resumable = owned->resumable();
  }
  if (ranks.alone()) return;
  ranks.on_failure([this](ExitCode code, const std::string& what) { record(code, what); });
  fence = ranks.from_root(fence);
  resumable = ranks.from_root(resumable ? 1 : 0) != 0;
  const auto logs = path / "logs";
  std::error_code error;
  std::filesystem::create_directories(logs, error);
  if (error)
    throw ConfigError("cannot make " + logs.string() + ": " + error.message() +
                      "; every rank must be able to write the run directory");
  if (ranks.rank() != 0) log.open(logs / ("rank-" + std::to_string(ranks.rank()) + ".txt"));
  ranks.report_into(logs);
}

/// The one that rank 0 finds to be the newest that verifies, on every rank.
std::optional<runtime::Checkpoint> newest_checkpoint(const Place& place, runtime::Log& log, Ranks& ranks) {
  if (!place.resumable) return {};
  std::optional<runtime::Checkpoint> out;
  if (ranks.rank() == 0)
    out = runtime::open_newest_checkpoint(place.path / "checkpoints", [&](const std::string& w) { log.warning(w); });
  const std::int64_t step = ranks.from_root(out ? out->step() : -1);
  if (out || step < 0) return out;
  return runtime::Checkpoint::open(place.path / "checkpoints" / fmt::format("step-{:08}", step), runtime::Check::kLayout);
}

/// Carries what the loop says to the terminal, the log and the metrics file.
class Observer final : public runtime::TrainObserver {
 public:
  /// `directory` is null on the ranks that do not own it.
  Observer(runtime::Log& log, runtime::Progress& progress, const runtime::RunDirectory* directory,
           const runtime::StopSignals& signals, Ranks& ranks)
      : log_(log), progress_(progress), directory_(directory), signals_(signals), ranks_(ranks) {}

  /// Metrics go on behind `step`; `tensorboard`: in an event file as well.
  void begin(std::int64_t step, bool tensorboard) {
    ranks_.set_step(step + 1);
    if (directory_ == nullptr) return;
    metrics_ = std::make_unique<runtime::MetricsFile>(directory_->metrics(), step);
    if (tensorboard) events_ = std::make_unique<runtime::EventFile>(directory_->path(), step);
  }

  void on_step(const runtime::StepReport& report) override {
    ranks_.set_step(report.step + 1);
    if (directory_ != nullptr) directory_->require_lease();
    if (metrics_) metrics_->write(report);
    if (events_) events_->write(report);
    progress_.step(report);
    seconds_ = report.total_seconds;
  }
  void on_evaluation(std::int64_t step, const runtime::Evaluation& e, bool best) override {
    if (metrics_) metrics_->write(step, e);
    if (events_) events_->write(step, e);
    log_.info("step " + std::to_string(step) + ": validation " + e.text() + (best ? " (best)" : ""));
  }
  void on_checkpoint(std::int64_t step) override {
    if (directory_ != nullptr) directory_->write_status(RunState::kRunning, step, 0, seconds_);
    log_.note(text("checkpoint of step %lld", static_cast<long long>(step)));
  }
  void on_phase(runtime::Phase phase, std::int64_t done, std::int64_t total) override { progress_.phase(phase, done, total); }
  void on_warning(const std::string& message) override { log_.warning(message); }
  bool stop_requested() override { return signals_.stop_requested(); }
  double seconds() const { return seconds_; }

 private:
  runtime::Log& log_;
  runtime::Progress& progress_;
  const runtime::RunDirectory* directory_;
  const runtime::StopSignals& signals_;
  Ranks& ranks_;
  std::unique_ptr<runtime::MetricsFile> metrics_;
  std::unique_ptr<runtime::EventFile> events_;
  double seconds_ = 0;
};

/// The data must be what the run began with: its tokens are the meaning of the model's rows.
void check_data(const RunConfig& config, const runtime::Checkpoint& checkpoint, const RunData& data) {
  const auto run = checkpoint.state().value("run", nlohmann::json::object());
  if (run.value("data_checksum", std::uint64_t{0}) == data.checksum) return;
  if (const auto before = run.find("attributes_checksum");
      before != run.end() && *before != data.state.value("attributes_checksum", std::uint64_t{0}))
    throw DataError("resuming: what " + config.interactions.items +
                    " says of the items is not what this run began with; restore it, or start anew with --fresh");
  throw DataError("resuming: " + data.source + " is not what this run began with; restore it, or start anew with --fresh");
}

void log_summary(runtime::Log& log, RunConfig& config, const runtime::Context& context, const RunData& data,
                 runtime::Task& task) {
  log.info(data.summary);
  if (config.model->fitted()) {
    log.info(text("model %s: one pass over the events, %d threads, kernels for %s", config.model_name.c_str(),
                  context.threads(), kernels::active_isa().c_str()));
    return;
  }
  const auto parameters = static_cast<double>(task.parameters().parameter_count());
  const std::int64_t micro_batch =
      config.train.micro_batch > 0 ? std::min(config.train.micro_batch, config.train.batch) : config.train.batch;
  log.info(text("model %s: %.2f M parameters (%.1f MiB), %.2f GFLOP a step", config.model_name.c_str(), parameters / 1e6,
                parameters * 4 / (1 << 20),
                3 * task.cost().forward_flops_per_sample(micro_batch) * static_cast<double>(config.train.batch) / 1e9));
  log.info(text("%lld steps of %lld %s, %d threads, kernels for %s", static_cast<long long>(config.train.steps),
                static_cast<long long>(config.train.batch), data.sample.c_str(), context.threads(),
                kernels::active_isa().c_str()));
}

/// `result`: what was done, for people; `next`: a command to try.
int report(runtime::Log& log, const runtime::TrainOutcome& outcome, const Place& place, bool fitted, const std::string& result,
           const std::string& next, double seconds) {
  const auto step = static_cast<long long>(outcome.step);
  if (outcome.reason == Reason::kStopped) {
    if (place.owned) place.owned->write_status(RunState::kStopped, outcome.step, static_cast<int>(ExitCode::kRequeue), seconds);
    log.info(fitted ? "stopped before its one pass was done; run the same command again"
                    : text("stopped at step %lld, which is saved; run the same command again to go on", step));
    return static_cast<int>(ExitCode::kRequeue);
  }
  if (place.owned) place.owned->write_status(RunState::kFinished, outcome.step, 0, seconds);
  if (outcome.reason == Reason::kEarlyStopped)
    log.info(text("stopped early at step %lld: no gain on the validation part", step));
  log.info("done: " + result);
  if (outcome.last_evaluation)
    log.info(fmt::format("validation {}; best {} {:.4f} at step {}", outcome.last_evaluation->text(),
                         outcome.last_evaluation->best_by, outcome.best_value, outcome.best_step));
  log.info("the run is in " + place.path.string() + "; try: tradewind " + next);
  return 0;
}

/// What training needs beside the config.
struct Training {
  const Place& place;
  runtime::Log& log;
  runtime::Context& context;
  Ranks& ranks;
  const RunData& data;
  runtime::Task& task;
  Observer& observer;
};

runtime::TrainOutcome step_through(RunConfig& config, const Training& t, const runtime::Checkpoint* checkpoint) {
  auto trainer_config = config.trainer_config();
  const double peak = runtime::measured_product_rate(t.context);
  if (t.context.device().type == runtime::DeviceType::kCuda)
    t.log.info(text("matrix products in %s reach %.1f TFLOP/s on this GPU; MFU is the share of that",
                    kernels::name_of(t.context.compute_type()), peak / 1e12));
  else
    t.log.info(text("matrix products reach %.0f GFLOP/s on %d threads of this machine; MFU is the share of that", peak / 1e9,
                    t.context.threads()));
  trainer_config.peak_flops = peak * t.ranks.size();
  trainer_config.extra = run_state(config, t.data.state, t.data.checksum);
  trainer_config.tensors = t.data.tensors;
  runtime::Trainer trainer(t.context, t.ranks.communicator(), t.task, *t.data.train, t.data.validation.get(), trainer_config,
                           t.place.folder(), t.observer);
  if (checkpoint != nullptr) {
    trainer.restore(*checkpoint);
    t.log.info("going on from step " + std::to_string(trainer.step()));
  }
  trainer.check_parameters();
  t.observer.begin(trainer.step(), config.run.tensorboard);
  return trainer.run();
}

/// Of a model that is counted. One that is there already is not counted again: its data are the same.
runtime::TrainOutcome fit_once(RunConfig& config, const Training& t, const runtime::Checkpoint* checkpoint) {
  if (checkpoint != nullptr) {
    t.log.info("the run has been fitted already; --fresh does it anew");
    return runtime::restore_fitted(t.context, t.task, *checkpoint);
  }
  auto trainer_config = config.trainer_config();
  trainer_config.evaluate.batch = config.evaluation_batch();
  trainer_config.extra = run_state(config, t.data.state, t.data.checksum);
  trainer_config.tensors = t.data.tensors;
  t.observer.begin(0, config.run.tensorboard);
  return runtime::fit(t.context, t.ranks.communicator(), t.task, *t.data.interactions, t.data.validation.get(), trainer_config,
                      t.place.folder(), t.observer);
}

int train_in(RunConfig& config, const Place& place, runtime::Log& log, runtime::Context& context, Ranks& ranks) {
  const auto start = std::chrono::steady_clock::now();
  const bool fitted = config.model->fitted();
  runtime::Progress progress(log);
  const runtime::StopSignals signals;  // from here on, so that a stop while data is read ends with 75 too
  progress.phase("reading data");
  const std::optional<runtime::Checkpoint> checkpoint = newest_checkpoint(place, log, ranks);
  const std::optional<runtime::Checkpoint> origin = checkpoint ? std::nullopt : open_origin(config);
  const RunData data = load_run_data(config, checkpoint ? &*checkpoint : origin ? &*origin : nullptr, ItemTable::kRead);
  if (checkpoint) check_data(config, *checkpoint, data);
  ranks.require_same("data (checksum of " + data.source + ")", std::to_string(data.checksum));

  const auto task = config.model->build(data.inputs);
  config.optimizer.check(task->parameters());
  task->parameters().allocate(context);
  log_summary(log, config, context, data, *task);
  if (origin) {
    runtime::load_parameters(context, task->parameters(), *origin);
    log.info("beginning with the parameters of " + config.run.from + ", step " + std::to_string(origin->step()));
  }
  if (const auto& values = task->parameters().values(); ranks.size() > 1)
    ranks.communicator().broadcast(values.data<float>(), values.elements(), kernels::DType::kFloat32, 0, nullptr);
  Observer observer(log, progress, place.owned.get(), signals, ranks);
  const Training training{place, log, context, ranks, data, *task, observer};
  if (fitted) progress.phase("counting");
  const auto outcome = (fitted ? fit_once : step_through)(config, training, checkpoint ? &*checkpoint : nullptr);
  progress.finish();
  const std::string next = config.model->data_kind() == models::DataKind::kText
                               ? "generate " + shell_word(place.path.string()) + " --prompt \"...\""
                               : "recommend " + shell_word(place.path.string()) + " --users USERS.csv";
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  const double seconds = fitted ? passed.count() : observer.seconds();
  const std::string result = fitted ? text("one pass in %.1f s", seconds)
                                    : text("%lld steps in %.0f s, training loss %.4f, peak memory of tensors %.0f MiB",
                                           static_cast<long long>(outcome.step), seconds, outcome.last_loss,
                                           static_cast<double>(context.allocator().peak_bytes()) / (1 << 20));
  return report(log, outcome, place, fitted, result, next, seconds);
}

/// From here on a failure of any rank is known to all.
int train_as_rank(const TrainOptions& options, const models::Registry& registry, Ranks& ranks) {
  RunConfig config = read_run_config(options.config, options.overrides, registry);
  ranks.connect(config.cluster);
  std::vector<std::string> notes;
  const auto context = make_context(config, notes, ranks.size());
  if (!ranks.alone()) ranks.require_same("build", runtime::describe_build() + runtime::mpi_version());
  ranks.require_same("config", config.text());
  runtime::Log log;
  if (ranks.rank() != 0) log.keep_off_terminal();
  const Place place(config, options.fresh, log, ranks);
  if (place.owned) place.owned->write_environment(runtime::describe_environment(*context));
  for (const auto& note : notes) log.info(note);
  for (const auto& note : ranks.crowded(context->threads())) log.info(note);
  if (!ranks.alone()) log.info(std::to_string(ranks.size()) + " ranks, this is rank " + std::to_string(ranks.rank()));
  try {
    const int code = train_in(config, place, log, *context, ranks);
    ranks.finish();
    return code;
  } catch (const std::exception& e) {
    const auto* error = dynamic_cast<const Error*>(&e);
    if (error != nullptr)
      place.record(error->code(), e.what());
    else if (dynamic_cast<const std::bad_alloc*>(&e) != nullptr)
      place.record(ExitCode::kDevice, "out of memory");
    else
      place.record(ExitCode::kInternal, e.what());
    throw;
  }
}

int train(const TrainOptions& options, const models::Registry& registry) {
  if (options.dry_run) return dry_run(options.config, options.overrides, registry, options.json);
  Ranks ranks;
  try {
    return train_as_rank(options, registry, ranks);
  } catch (const Error& e) {
    ranks.fail(e.code(), e.what());
    throw;
  } catch (const std::bad_alloc&) {
    ranks.fail(ExitCode::kDevice, "out of memory; lower train.micro_batch or the size of the model");
    throw;
  } catch (const std::exception& e) {
    ranks.fail(ExitCode::kInternal, e.what());
    throw;
  }
}

}  // namespace

int run_train(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("train", kHelp);
  TrainOptions options;
  std::string config;
  line.positional("CONFIG", config);
  line.option("--set", options.overrides);
  line.flag("--dry-run", options.dry_run);
  line.flag("--json", options.json);
  line.flag("--fresh", options.fresh);
  line.parse(arguments, 1);
  if (options.json && !options.dry_run) line.complain("--json goes with --dry-run; a run writes metrics.jsonl");
  options.config = config;
  return train(options, registry);
}

}  // namespace tradewind::launcher
