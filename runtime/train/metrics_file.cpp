#include "runtime/train/metrics_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {
namespace {

/// Bytes up to the end of the last whole line of a step that is not after `step`. A run writes its steps in order, so what is
/// worth keeping is a beginning of the file.
std::int64_t bytes_to_keep(const std::filesystem::path& file, std::int64_t step) {
  std::ifstream in(file, std::ios::binary);
  std::int64_t at = 0, keep = 0;
  for (std::string line; std::getline(in, line) && !in.eof();) {  // eof: no line break behind it
    at += static_cast<std::int64_t>(line.size()) + 1;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object()) continue;
    const auto found = object.find("step");
    if (found == object.end() || !found->is_number_integer()) continue;
    if (found->get<std::int64_t>() > step) break;
    keep = at;
  }
  return keep;
}

}  // namespace

MetricsFile::MetricsFile(std::filesystem::path file, std::int64_t step) : file_(std::move(file)) {
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw CheckpointError("cannot write " + file_.string() + ": " + std::strerror(errno));
  if (::ftruncate(descriptor_, bytes_to_keep(file_, step)) != 0) {
    const int error = errno;
    ::close(descriptor_);
    throw CheckpointError("cannot shorten " + file_.string() + " to step " + std::to_string(step) + ": " +
                          std::strerror(error));
  }
}

MetricsFile::~MetricsFile() { ::close(descriptor_); }

void MetricsFile::write(const StepReport& report) {
  const bool tokens = report.tokens > 0;
  const auto count = static_cast<double>(tokens ? report.tokens : report.samples);
  nlohmann::ordered_json line;
  line["step"] = report.step;
  line["loss"] = report.loss;
  line[tokens ? "tokens_per_second" : "samples_per_second"] = report.seconds > 0 ? count / report.seconds : 0.0;
  if (report.mfu > 0) line["mfu"] = std::round(report.mfu * 1e4) / 1e4;
  line["learning_rate"] = report.learning_rate;
  line["gradient_norm"] = report.gradient_norm;
  line["seconds"] = report.total_seconds;
  if (report.memory_bytes > 0) line["memory_bytes"] = report.memory_bytes;
  if (report.skipped) line["skipped"] = true;
  write_line(line);
}

void MetricsFile::write(std::int64_t step, const Evaluation& evaluation) {
  nlohmann::ordered_json line;
  line["step"] = step;
  line["validation_loss"] = evaluation.loss;
  if (evaluation.perplexity > 0) line["perplexity"] = evaluation.perplexity;
  if (evaluation.bits_per_byte > 0) line["bits_per_byte"] = evaluation.bits_per_byte;
  for (const auto& [name, value] : evaluation.metrics) line[name] = value;
  if (evaluation.best_by != "loss") line["best_by"] = evaluation.best_by;
  if (evaluation.candidates > 0) line["sampled_candidates"] = evaluation.candidates;
  line["seconds"] = evaluation.seconds;
  write_line(line);
}

void MetricsFile::write_line(const nlohmann::ordered_json& object) {
  const std::string line = object.dump() + "\n";
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t written = ::write(descriptor_, line.data() + at, line.size() - at);
    if (written > 0) at += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR)
      throw CheckpointError("writing " + file_.string() + ": " + std::strerror(errno) +
                            (is_disk_full(errno) ? "; free some space and run the same command again" : ""));
  }
}

}  // namespace tradewind::runtime
