// metrics.jsonl: one JSON object a line, each with a "step".
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/train/trainer.h"

namespace tradewind::runtime {

class MetricsFile {
 public:
  /// Opens `file` to append. Lines of steps after `step` and a torn last line are cut off first: what a run writes that was
  /// stopped and resumed at `step` is in its steps what an unbroken run writes. Throws CheckpointError naming the file.
  MetricsFile(std::filesystem::path file, std::int64_t step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  /// step, loss, tokens_per_second (or samples_per_second), mfu where known, learning_rate, gradient_norm, seconds,
  /// memory_bytes (of rank 0) and, where it was, skipped. What is not finite is null.
  void write(const StepReport& report);
  /// step, validation_loss, perplexity, bits_per_byte, the other metrics, best_by where it is one of these, sampled_candidates
  /// where they were ranked among so many, seconds.
  void write(std::int64_t step, const Evaluation& evaluation);
  /// Any other line. Throws CheckpointError where the disk is full.
  void write_line(const nlohmann::ordered_json& object);

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace tradewind::runtime
