// TensorBoard's event file: the scalars of a run, for `tensorboard --logdir runs`.
//
// The file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h):
//   uint64 length, uint32 masked CRC-32C of these 8 bytes, the bytes, uint32 masked CRC-32C of the bytes; little-endian
// each of which is an Event in protobuf's wire format (tensorflow/core/util/event.proto and framework/summary.proto):
//   Event        1 wall_time: double, 2 step: int64, 3 file_version: string, 5 summary: Summary, 7 session_log: SessionLog
//   Summary      1 value: repeated Value;  Value  1 tag: string, 2 simple_value: float
//   SessionLog   1 status: START = 1
// Only these few fields are needed, so they are written by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/train/trainer.h"

namespace tradewind::runtime {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
std::uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  static constexpr const char* kPrefix = "events.out.tfevents.";

  /// Makes a new file in `directory`, whose name sorts behind those that are there. Behind a first event with the version it
  /// says that the run starts at `step` + 1: what earlier files hold of steps from there on is void, and TensorBoard drops it.
  /// Throws CheckpointError naming the file.
  EventFile(const std::filesystem::path& directory, std::int64_t step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// train/loss, train/learning_rate, train/gradient_norm, train/tokens_per_second (or samples_per_second), train/memory_bytes.
  void write(const StepReport& report);
  /// validation/loss, validation/perplexity, validation/bits_per_byte.
  void write(std::int64_t step, const Evaluation& evaluation);

 private:
  void write_scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
  /// One write(2) a record: a process that is killed leaves whole records. Throws CheckpointError where the disk is full.
  void write_record(std::string_view event);

  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace tradewind::runtime
