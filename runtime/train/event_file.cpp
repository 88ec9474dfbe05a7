#include "runtime/train/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41, bits reversed
  std::array<std::uint32_t, 256> out{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    out[i] = crc;
  }
  return out;
}

template <class Unsigned>
void append_fixed(std::string& out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

/// Of a checksum that is itself stored in checksummed bytes (record_writer.h).
std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8U; }

// Protobuf's wire types: https://protobuf.dev/programming-guides/encoding
enum Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void append_key(std::string& out, unsigned field, Wire wire) { append_varint(out, field << 3 | wire); }
void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_at(std::int64_t step) {
  using Seconds = std::chrono::duration<double>;
  std::string out;
  append_key(out, 1, kFixed64);
  append_fixed(out, std::bit_cast<std::uint64_t>(Seconds(std::chrono::system_clock::now().time_since_epoch()).count()));
  append_key(out, 2, kVarint);
  append_varint(out, static_cast<std::uint64_t>(step));
  return out;
}

/// TensorBoard reads a run's files in the order of their names: this one is the last, whatever became of the clock.
std::int64_t next_second(const fs::path& directory) {
  std::int64_t out =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    const std::string_view prefix = EventFile::kPrefix;
    std::int64_t before = 0;
    if (name.starts_with(prefix) &&
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), before).ec == std::errc{})
      out = std::max(out, before + 1);
  }
  return out;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_crc_table();
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const fs::path& directory, std::int64_t step) {
  std::array<char, 65> host{};
  gethostname(host.data(), host.size() - 1);
  file_ = directory / fmt::format("{}{:010}.{}.{}", kPrefix, next_second(directory), host.data(), getpid());
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    throw CheckpointError("cannot write " + file_.string() + ": " + std::strerror(errno) +
                          "; run.tensorboard = false does without it");
  try {
    std::string version = event_at(0);
    append_bytes(version, 3, "brain.Event:2");
    write_record(version);
    std::string start = event_at(step + 1), status;
    append_key(status, 1, kVarint);
    append_varint(status, 1);
    append_bytes(start, 7, status);
    write_record(start);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

EventFile::~EventFile() { ::close(descriptor_); }

void EventFile::write(const StepReport& report) {
  const bool tokens = report.tokens > 0;
  const auto count = static_cast<double>(tokens ? report.tokens : report.samples);
  std::vector<std::pair<std::string, double>> scalars = {
      {"train/loss", report.loss},
      {"train/learning_rate", report.learning_rate},
      {"train/gradient_norm", report.gradient_norm},
      {tokens ? "train/tokens_per_second" : "train/samples_per_second", report.seconds > 0 ? count / report.seconds : 0.0}};
  if (report.memory_bytes > 0) scalars.emplace_back("train/memory_bytes", static_cast<double>(report.memory_bytes));
  write_scalars(report.step, scalars);
}

void EventFile::write(std::int64_t step, const Evaluation& evaluation) {
  std::vector<std::pair<std::string, double>> scalars = {{"validation/loss", evaluation.loss}};
  if (evaluation.perplexity > 0) scalars.emplace_back("validation/perplexity", evaluation.perplexity);
  if (evaluation.bits_per_byte > 0) scalars.emplace_back("validation/bits_per_byte", evaluation.bits_per_byte);
  for (const auto& [name, value] : evaluation.metrics) scalars.emplace_back("validation/" + name, value);
  write_scalars(step, scalars);
}

void EventFile::write_scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string item;
    append_bytes(item, 1, tag);
    append_key(item, 2, kFixed32);
    append_fixed(item, std::bit_cast<std::uint32_t>(static_cast<float>(value)));
    append_bytes(summary, 1, item);
  }
  std::string event = event_at(step);
  append_bytes(event, 5, summary);
  write_record(event);
}

void EventFile::write_record(std::string_view event) {
  std::string record;
  append_fixed(record, static_cast<std::uint64_t>(event.size()));
  append_fixed(record, masked(crc32c(record)));
  record += event;
  append_fixed(record, masked(crc32c(event)));
  for (std::size_t at = 0; at < record.size();) {
    const ssize_t written = ::write(descriptor_, record.data() + at, record.size() - at);
    if (written > 0) at += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR)
      throw CheckpointError("writing " + file_.string() + ": " + std::strerror(errno) +
                            (is_disk_full(errno) ? "; free some space and run the same command again" : ""));
  }
}

}  // namespace tradewind::runtime
