#include "runtime/train/run_record.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/core/environment.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;

double number_or_nan(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

/// status.json; nothing where it is missing or no object. Throws where it is of a newer version.
nlohmann::json status_of(const fs::path& run) {
  std::ifstream in(run / "status.json", std::ios::binary);
  auto status = nlohmann::json::parse(in, nullptr, false);
  if (!status.is_object()) return {};
  constexpr int kFormat = 1;
  if (const auto format = status.find("format"); format != status.end() && format->is_number_integer() && *format > kFormat)
    throw ConfigError(run.string() + " is a run of a newer version of Tradewind (format " + format->dump() +
                      "); this is version " + version() + ". Update to read it");
  return status;
}

constexpr const char* kGive = "; give the directory that `tradewind train` printed";

/// The config's text of the run at `path`. Throws as require_run.
std::string config_of(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error))
    throw ConfigError(path.string() + (error ? ": " + error.message() : " is no run directory: it does not exist") + kGive);
  std::ifstream config(path / "config.toml", std::ios::binary);
  const std::error_code why(errno, std::generic_category());
  if (!config && why == std::errc::permission_denied)
    throw ConfigError((path / "config.toml").string() + ": " + why.message() + "; the run belongs to somebody else");
  if (!fs::is_directory(path, error) || !config)
    throw ConfigError(path.string() + " is no run directory: it has no config.toml" + kGive);
  std::ostringstream text;
  text << config.rdbuf();
  return text.str();
}

void read_status(RunRecord& run) {
  const auto status = status_of(run.path);
  if (!status.is_object()) {
    run.state = "unknown";
    run.problems.push_back("status.json is missing or no JSON");
    return;
  }
  run.state = status.value("state", std::string("unknown"));
  run.version = status.value("version", std::string());
  run.step = status.value("step", std::int64_t{0});
  run.exit_code = status.value("exit_code", 0);
  run.seconds = status.value("seconds", 0.0);
}

/// A run that was stopped and went on from an earlier step without shortening the file (another program's, a copy put together)
/// says some steps twice: the later time counts. `number` is the line.
void go_back(RunRecord& run, std::int64_t step, std::int64_t number) {
  run.problems.push_back("metrics.jsonl, line " + std::to_string(number) + ": goes back from step " +
                         std::to_string(run.steps.back().step) + " to step " + std::to_string(step) +
                         "; the later lines count");
  std::erase_if(run.steps, [&](const RunRecord::Step& s) { return s.step >= step; });
  std::erase_if(run.evaluations, [&](const RunRecord::Evaluated& e) { return e.step >= step; });
}

RunRecord::Evaluated evaluated(std::int64_t step, const nlohmann::json& object) {
  RunRecord::Evaluated out{.step = step,
                           .loss = number_or_nan(object, "validation_loss"),
                           .perplexity = number_or_nan(object, "perplexity"),
                           .bits_per_byte = number_or_nan(object, "bits_per_byte")};
  constexpr std::array kOthers = {"step", "validation_loss", "perplexity", "bits_per_byte", "sampled_candidates", "seconds"};
  for (const auto& [key, value] : object.items())
    if (value.is_number() && std::ranges::find(kOthers, key) == kOthers.end())
      out.metrics.emplace_back(key, value.get<double>());
  if (const auto by = object.find("best_by"); by != object.end() && by->is_string()) out.best_by = by->get<std::string>();
  if (const auto n = object.find("sampled_candidates"); n != object.end() && n->is_number_integer())
    out.candidates = n->get<std::int64_t>();
  return out;
}

void read_metrics(RunRecord& run) {
  std::ifstream in(run.path / "metrics.jsonl", std::ios::binary);
  if (!in) {
    const std::error_code error(errno, std::generic_category());
    run.problems.push_back(error == std::errc::no_such_file_or_directory ? "there is no metrics.jsonl"
                                                                         : "metrics.jsonl: " + error.message());
    return;
  }
  std::int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) {
      // A run at work, or one that was killed, may be within its last line.
      if (!in.eof()) run.problems.push_back("metrics.jsonl, line " + std::to_string(number) + ": no JSON object with a step");
      continue;
    }
    const auto step = object["step"].get<std::int64_t>();
    if (object.contains("validation_loss")) {
      run.evaluations.push_back(evaluated(step, object));
    } else if (object.contains("loss")) {
      const bool samples = object.contains("samples_per_second");
      run.unit = samples ? "samples/s" : "tokens/s";
      if (!run.steps.empty() && step <= run.steps.back().step) go_back(run, step, number);
      run.steps.push_back({.step = step,
                           .loss = number_or_nan(object, "loss"),
                           .rate = number_or_nan(object, samples ? "samples_per_second" : "tokens_per_second"),
                           .learning_rate = number_or_nan(object, "learning_rate"),
                           .gradient_norm = number_or_nan(object, "gradient_norm"),
                           .seconds = number_or_nan(object, "seconds"),
                           .memory = number_or_nan(object, "memory_bytes"),
                           .skipped = object.contains("skipped") && object["skipped"] == true});
    }
  }
  if (in.bad()) run.problems.push_back("metrics.jsonl cannot be read to its end");
}

}  // namespace

double RunRecord::Evaluated::metric(const std::string& name) const {
  const auto found = std::ranges::find(metrics, name, &std::pair<std::string, double>::first);
  return found == metrics.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
}

double RunRecord::median_rate() const {
  std::vector<double> rates;
  for (std::size_t i = std::min<std::size_t>(3, steps.size() > 3 ? 3 : 0); i < steps.size(); ++i)
    if (std::isfinite(steps[i].rate)) rates.push_back(steps[i].rate);
  if (rates.empty()) return 0;
  const auto middle = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2);
  std::nth_element(rates.begin(), middle, rates.end());
  return *middle;
}

double RunRecord::last_loss(std::size_t count) const {
  const std::size_t n = std::min(count, steps.size());
  if (n == 0) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (std::size_t i = steps.size() - n; i < steps.size(); ++i) sum += steps[i].loss;
  return sum / static_cast<double>(n);
}

double RunRecord::peak_memory() const {
  double out = 0;
  for (const Step& s : steps)
    if (s.memory > out) out = s.memory;
  return out;
}

std::int64_t RunRecord::bad_steps() const {
  return std::ranges::count_if(steps, [](const Step& s) { return s.skipped || !std::isfinite(s.loss); });
}

const RunRecord::Evaluated* RunRecord::best() const {
  if (evaluations.empty()) return nullptr;
  const std::string& by = evaluations.back().best_by;
  const auto badness = [&by](const Evaluated& e) { return by.empty() ? e.loss : -e.metric(by); };
  const Evaluated* out = nullptr;
  for (const Evaluated& e : evaluations)
    if (std::isfinite(badness(e)) && (out == nullptr || badness(e) < badness(*out))) out = &e;
  return out;
}

void require_run(const fs::path& path) {
  config_of(path);
  status_of(path);
}

RunRecord read_run(const fs::path& path) {
  RunRecord run;
  run.path = path;
  run.config = config_of(path);
  read_status(run);
  read_metrics(run);
  return run;
}

}  // namespace tradewind::runtime
