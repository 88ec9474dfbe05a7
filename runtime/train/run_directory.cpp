#include "runtime/train/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"
#include "runtime/config/config.h"
#include "runtime/core/environment.h"
#include "runtime/train/event_file.h"

namespace tradewind::runtime {

namespace fs = std::filesystem;

namespace {

constexpr int kFormat = 1;  // of the directory; a higher one is refused
constexpr const char* kElsewhere = "choose another run.directory (--set run.directory=DIR)";

// What moves to old/. status.json is last: without it the directory would count as unknown if the move were cut short.
constexpr std::array kMoved = {
    "checkpoints", "metrics.jsonl", "log.txt",     "environment.json",     "config.toml",
    "status.json", "logs",          "report.html", "evaluation-test.json", "evaluation-validation.json"};

// A change of these changes neither the parameters nor the data that a step sees.
constexpr std::array kFree = {"run.directory", "run.tensorboard", "runtime.",   "evaluate.",
                              "checkpoint.",   "cluster.",        "train.zero", "train.check_parameters_every"};

bool is_free(const std::string& key) {
  for (const std::string_view free : kFree)
    if (free.ends_with('.') ? key.starts_with(free) : key == free) return true;
  return false;
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw ConfigError("cannot read " + file.string() + ": " + std::strerror(errno));
  return std::move(text).str();
}

bool is_lock(const std::string& name) {
  const std::string prefix = RunLock::kPrefix;
  return name == prefix || name.starts_with(prefix + "-") || name.starts_with(prefix + ".");
}

/// The names in `directory` but for those that a process makes before it has written status.json.
std::vector<std::string> contents(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!is_lock(name) && name != "status.json.tmp") names.push_back(name);
  }
  if (error) throw ConfigError("cannot read run directory " + directory.string() + ": " + error.message());
  return names;
}

void refuse_unknown(const fs::path& directory) {
  const auto names = contents(directory);
  if (names.empty() || fs::exists(directory / "status.json")) return;
  throw ConfigError(directory.string() + " is not empty and no run directory (it holds " + names.front() +
                    " but no status.json); " + kElsewhere);
}

bool has_checkpoint(const fs::path& checkpoints) {
  std::error_code error;
  for (fs::directory_iterator at(checkpoints, error), end; !error && at != end; at.increment(error))
    if (at->path().filename().string().starts_with("step-")) return true;
  return false;
}

/// TensorBoard's event files of the run at `directory`.
std::vector<fs::path> event_files(const fs::path& directory) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    if (at->path().filename().string().starts_with(EventFile::kPrefix)) out.push_back(at->path());
  return out;
}

/// Deletes a run: our files by name, and the folders if nothing else is in them.
void remove_run(const fs::path& directory) {
  std::error_code ignored;
  for (fs::directory_iterator at(directory / "checkpoints", ignored), end; !ignored && at != end; at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    std::error_code failed;
    if (name.starts_with("step-") || name.starts_with(".")) fs::remove_all(at->path(), failed);
  }
  for (fs::directory_iterator at(directory / "logs", ignored), end; !ignored && at != end; at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    std::error_code failed;
    if (name.starts_with("rank-") || name.starts_with("failure-rank-")) fs::remove(at->path(), failed);
  }
  for (const fs::path& file : event_files(directory)) fs::remove(file, ignored);
  for (const char* name : kMoved) fs::remove(directory / name, ignored);
}

/// Throws ConfigError where `after` is not the config that the run began with; warns of what may differ.
void compare(const fs::path& directory, const std::string& after, Log& log) {
  const std::string name = (directory / "config.toml").string();
  std::string refused;
  for (const ConfigDifference& difference : compare_configs(read_text(name), after, name)) {
    const std::string line = difference.key + ": " + difference.before + " in the run, " + difference.after + " now";
    // A key that the run's version did not have: what it does by default is what that version did.
    const bool added = difference.before == "(absent)";
    if (added || is_free(difference.key))
      log.warning("going on with another config: " + line);
    else
      refused += "  " + line + "\n";
  }
  if (!refused.empty())
    throw ConfigError(directory.string() + " holds a run with another config:\n" + refused +
                      "Give the run its own values to go on with it, start anew with --fresh, or " + kElsewhere);
}

const char* name_of(RunState state) {
  switch (state) {
    case RunState::kRunning: return "running";
    case RunState::kStopped: return "stopped";
    case RunState::kFinished: return "finished";
    case RunState::kFailed: return "failed";
  }
  return "unknown";
}

nlohmann::json read_status(const fs::path& directory) {
  const fs::path file = directory / "status.json";
  auto status = nlohmann::json::parse(read_text(file), nullptr, false);
  const bool valid = status.is_object() && status.contains("format") && status["format"].is_number_integer();
  if (!valid) throw ConfigError(file.string() + " is damaged or not Tradewind's; " + kElsewhere);
  if (status["format"].get<int>() > kFormat)
    throw ConfigError(directory.string() + " was written by a newer version, Tradewind " + status.value("version", "unknown") +
                      "; this is " + version() + ": use the newer one, or " + kElsewhere);
  return status;
}

}  // namespace

void write_file_whole(const fs::path& file, const std::string& text) {
  const fs::path temporary = file.string() + ".tmp";
  const auto fail = [&](int error) {
    ::unlink(temporary.c_str());
    throw CheckpointError("writing " + file.string() + ": " + std::strerror(error) +
                          (is_disk_full(error) ? "; free some space and run the same command again" : ""));
  };
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(errno);
  int error = 0;
  for (std::size_t at = 0; at < text.size() && error == 0;) {
    const ssize_t written = ::write(descriptor, text.data() + at, text.size() - at);
    if (written < 0 && errno != EINTR) error = errno;
    if (written > 0) at += static_cast<std::size_t>(written);
  }
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), file.c_str()) != 0) error = errno;
  if (error != 0) fail(error);
}

RunDirectory::RunDirectory(const fs::path& path, const std::string& config, bool fresh, Log& log,
                           std::chrono::milliseconds lease)
    : path_(path) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error || !fs::is_directory(path_))
    throw ConfigError("cannot create run directory " + path_.string() + ": " +
                      (error ? error.message() : "there is a file of that name") + "; " + kElsewhere);
  refuse_unknown(path_);
  lock_ = std::make_unique<RunLock>(path_, lease, [&](const std::string& text) { log.info(text); });
  try {
    shut_out_owners_before();  // before anything is looked at: they may still commit
    refuse_unknown(path_);     // somebody may have filled it before we had the lock
    nlohmann::json status;
    if (fs::exists(path_ / "status.json")) {
      status = read_status(path_);
      const bool finished = status.value("state", "") == name_of(RunState::kFinished);
      if (fresh) {
        start_fresh();
        status.clear();
      } else if (finished) {
        throw ConfigError(path_.string() + " holds a finished run of " + std::to_string(status.value("step", std::int64_t{0})) +
                          " steps; start anew with --fresh, or " + kElsewhere);
      }
    }
    resumable_ = has_checkpoint(checkpoints());
    if (resumable_ && fs::exists(path_ / "config.toml")) compare(path_, config, log);
    write_status(RunState::kRunning, resumable_ ? status.value("step", std::int64_t{0}) : 0, 0,
                 resumable_ ? status.value("seconds", 0.0) : 0.0);
    write_file_whole(path_ / "config.toml", config);
    fs::create_directories(checkpoints());
    make_directories_durably(checkpoint_folder().staging);
    log.open(path_ / "log.txt");
  } catch (const fs::filesystem_error& e) {
    throw ConfigError("opening run directory " + path_.string() + ": " + e.code().message());
  }
}

RunDirectory::~RunDirectory() {
  std::error_code ignored;
  fs::remove_all(checkpoint_folder().staging, ignored);
}

CheckpointFolder RunDirectory::checkpoint_folder() const {
  CheckpointFolder out = runtime::checkpoint_folder(path_, fence());
  out.require_owner = [this] { lock_->require_owner(); };
  return out;
}

CheckpointFolder checkpoint_folder(const fs::path& run, std::int64_t fence) {
  return {run / "checkpoints", leftover_name(run / "checkpoints", fence)};
}

/// Moves the staging directories of owners before away: from then on nothing of theirs can come into the checkpoints
/// (checkpoint.h).
void RunDirectory::shut_out_owners_before() const {
  std::vector<fs::path> before;
  if (fs::exists(checkpoints()))
    for (const auto& entry : fs::directory_iterator(checkpoints()))
      if (is_leftover(entry.path())) before.push_back(entry.path());
  for (fs::path& path : before) {
    const fs::path taken = fmt::format("{}-taken-{}", checkpoint_folder().staging.string(), path.filename().string());
    fs::rename(path, taken);
    path = taken;
  }
  for (const fs::path& path : before) {
    std::error_code ignored;  // NFS keeps what somebody has open; the next owner tries again
    fs::remove_all(path, ignored);
  }
  if (!lock_->replaced_someone()) return;
  // The owner before may go on and write a line before it asks: into files that are its own from now on.
  for (const char* file : {"metrics.jsonl", "log.txt"})
    if (fs::exists(path_ / file)) write_file_whole(path_ / file, read_text(path_ / file));
}

void RunDirectory::start_fresh() const {
  // What failed before its first checkpoint is not worth the place of a run that an earlier --fresh put aside.
  if (!has_checkpoint(checkpoints())) {
    remove_run(path_);
    return;
  }
  const fs::path old = path_ / "old";
  remove_run(old);
  fs::create_directories(old);
  std::vector<fs::path> moved;
  for (const fs::path& file : event_files(path_)) moved.push_back(file.filename());
  moved.insert(moved.end(), kMoved.begin(), kMoved.end());
  for (const fs::path& name : moved) {
    if (!fs::exists(fs::symlink_status(path_ / name))) continue;
    std::error_code error;
    fs::rename(path_ / name, old / name, error);
    if (error)
      throw ConfigError("--fresh: cannot move " + (path_ / name).string() + " to " + old.string() + ": " + error.message() +
                        "; " + kElsewhere);
  }
}

void RunDirectory::write_environment(const nlohmann::ordered_json& environment) const {
  write_file_whole(path_ / "environment.json", environment.dump(2) + "\n");
}

std::pair<std::int64_t, double> RunDirectory::progress() const {
  const auto status = read_status(path_);
  return {status.value("step", std::int64_t{0}), status.value("seconds", 0.0)};
}

void RunDirectory::write_status(RunState state, std::int64_t step, int exit_code, double seconds) const {
  lock_->require_owner();
  nlohmann::ordered_json status;
  status["format"] = kFormat;
  status["version"] = version();
  status["state"] = name_of(state);
  status["step"] = step;
  status["exit_code"] = exit_code;
  status["seconds"] = seconds;
  write_file_whole(path_ / "status.json", status.dump(2) + "\n");
}

}  // namespace tradewind::runtime
