#include "runtime/data/prepared_stage.h"
#include "runtime/data/write_at.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return std::move(text).str();
}

std::uint64_t checksum_of_pieces(const std::vector<std::string_view>& pieces) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(state.get());
  for (const std::string_view piece : pieces) XXH3_64bits_update(state.get(), piece.data(), piece.size());
  return XXH3_64bits_digest(state.get());
}

std::uint64_t size_of_pieces(const std::vector<std::string_view>& pieces) {
  std::uint64_t bytes = 0;
  for (const std::string_view piece : pieces) bytes += piece.size();
  return bytes;
}

}  // namespace

/// A file that is written at offsets.
class PreparedStage::Output {
 public:
  explicit Output(fs::path file)
      : path_(std::move(file)), descriptor_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) fail("creating", errno);
  }
  ~Output() { ::close(descriptor_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::uint64_t offset, std::string_view bytes) const {
    if (!write_at(descriptor_, offset, bytes.data(), bytes.size())) fail("writing", errno);
  }
  void cut(std::uint64_t bytes) const {
    if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) fail("cutting", errno);
  }
  void sync() const {
    if (::fsync(descriptor_) != 0) fail("syncing", errno);
  }
  std::uint64_t size() const {
    struct stat info {};
    if (fstat(descriptor_, &info) != 0) fail("looking at", errno);
    return static_cast<std::uint64_t>(info.st_size);
  }
  /// False where another process has it.
  bool lock() const { return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; }
  int descriptor() const { return descriptor_; }

 private:
  [[noreturn]] void fail(const char* doing, int error) const {
    std::string message = fmt::format("{} {}: {}", doing, path_.string(), std::system_category().message(error));
    std::error_code ignored;
    if (is_disk_full(error))
      message += fmt::format(
          "; {} bytes are free on that disk. What is done so far is kept: make room, then run the same command again",
          fs::space(path_.parent_path(), ignored).available);
    throw DataError(message);
  }

  fs::path path_;
  int descriptor_;
};

std::string describe_difference(const json& before, const json& now) {
  std::string out;
  json keys = before;
  keys.update(now);
  for (const auto& [name, ignored] : keys.items()) {
    const json was = before.value(name, json()), is = now.value(name, json());
    if (was != is) out += fmt::format("{}{} was {} and is {}", out.empty() ? "" : "; ", name, was.dump(), is.dump());
  }
  return out;
}

PreparedStage::PreparedStage(const fs::path& folder, const json& key, bool fresh) : folder_(folder) {
  make_directories_durably(folder_);
  journal_ = std::make_unique<Output>(folder_ / "journal.jsonl");
  if (!journal_->lock())
    throw DataError(
        fmt::format("{} is in use: another process is preparing the same file. Wait for it, or stop it", folder_.string()));
  const fs::path key_file = folder_ / "key.json";
  if (fresh) fs::remove(key_file);
  const json before = fs::exists(key_file) ? json::parse(text_of(key_file), nullptr, false) : json();
  if (before.is_discarded()) damaged("key.json is not what was written");
  if (before.is_null()) {  // from the beginning: the journal goes first, so that it never belongs to another key
    journal_->cut(0);
    journal_->sync();
    fs::remove(folder_ / "tokenizer.json");
    write_file_durably(key_file, key.dump());
    return;
  }
  if (before != key)
    throw DataError(fmt::format("{} holds work that was begun otherwise: {}. Set it back to go on, or begin anew with --fresh",
                                folder_.string(), describe_difference(before, key)));
  if (fs::exists(folder_ / "tokenizer.json")) {
    tokenizer_ = json::parse(text_of(folder_ / "tokenizer.json"), nullptr, false);
    if (tokenizer_.is_discarded()) damaged("tokenizer.json is not what was written");
  }
  open_journal();
}

PreparedStage::~PreparedStage() = default;

/// A last line without its end was being written when the process ended; it does not count.
void PreparedStage::open_journal() {
  const std::string text = text_of(folder_ / "journal.jsonl");
  for (std::size_t newline = 0; (newline = text.find('\n', journal_bytes_)) != std::string::npos; journal_bytes_ = newline + 1)
    replay(text.substr(journal_bytes_, newline - journal_bytes_));
  journal_->cut(journal_bytes_);
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    for (const File file : {File::kTokens, File::kDocuments}) {
      const std::uint64_t bytes = parts_[part].bytes[static_cast<int>(file)];
      if (output(part, file).size() < bytes)
        damaged(fmt::format("{} has fewer than the {} bytes that were written", file_of(part, file).string(), bytes));
    }
  }
}

void PreparedStage::replay(const std::string& line) {
  try {
    const json j = json::parse(line);
    Entry entry;
    entry.part = j.at("part");
    entry.bytes[0] = j.at("token_bytes"), entry.bytes[1] = j.at("document_bytes");
    entry.checksums[0] = j.at("token_checksum"), entry.checksums[1] = j.at("document_checksum");
    if (entry.part >= parts_.size()) parts_.resize(entry.part + 1);
    Part& part = parts_[entry.part];
    part.tokens += j.at("tokens").get<std::int64_t>();
    part.documents += j.at("documents").get<std::int64_t>();
    part.bytes[0] += entry.bytes[0], part.bytes[1] += entry.bytes[1];
    part.done = j.at("last");
    part.position = {.bytes = j.at("bytes"),
                     .checksum = j.at("checksum"),
                     .line = j.at("line"),
                     .column = j.at("column"),
                     .open = j.at("open")};
    entries_.push_back(entry);
  } catch (const json::exception& e) {
    damaged(fmt::format("line {} of journal.jsonl is not what was written ({})", entries_.size() + 1, e.what()));
  }
}

void PreparedStage::keep_tokenizer(const json& tokenizer) {
  write_file_durably(folder_ / "tokenizer.json", tokenizer.dump());
  tokenizer_ = tokenizer;
}

const PreparedStage::Part& PreparedStage::part(std::size_t number) {
  if (number >= parts_.size()) parts_.resize(number + 1);
  return parts_[number];
}

void PreparedStage::append(std::size_t number, const Batch& batch) {
  part(number);
  const std::vector<std::string_view> documents = {
      {reinterpret_cast<const char*>(batch.documents.data()), batch.documents.size() * sizeof(std::int64_t)}};
  Entry entry{.part = number};
  for (const File file : {File::kTokens, File::kDocuments}) {
    const auto& pieces = file == File::kTokens ? batch.tokens : documents;
    std::uint64_t at = parts_[number].bytes[static_cast<int>(file)];
    for (const std::string_view piece : pieces) {
      output(number, file).write(at, piece);
      at += piece.size();
    }
    entry.bytes[static_cast<int>(file)] = size_of_pieces(pieces);
    entry.checksums[static_cast<int>(file)] = checksum_of_pieces(pieces);
    output(number, file).sync();
  }
  const auto& p = batch.position;
  const json line = {{"part", number},
                     {"tokens", batch.token_count},
                     {"documents", batch.documents.size()},
                     {"token_bytes", entry.bytes[0]},
                     {"document_bytes", entry.bytes[1]},
                     {"token_checksum", entry.checksums[0]},
                     {"document_checksum", entry.checksums[1]},
                     {"bytes", p.bytes},
                     {"checksum", p.checksum},
                     {"line", p.line},
                     {"column", p.column},
                     {"open", p.open},
                     {"last", batch.last}};
  const std::string text = line.dump() + '\n';
  journal_->write(journal_bytes_, text);
  journal_->sync();
  journal_bytes_ += text.size();
  replay(line.dump());
}

void PreparedStage::read(std::size_t part, File file, const std::function<void(std::span<const char>)>& take) const {
  std::ifstream in(file_of(part, file), std::ios::binary);
  std::vector<char> piece(std::size_t{1} << 20);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  for (const Entry& entry : entries_) {
    if (entry.part != part) continue;
    XXH3_64bits_reset(state.get());
    for (std::uint64_t left = entry.bytes[static_cast<int>(file)]; left > 0;) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
      if (!in.read(piece.data(), static_cast<std::streamsize>(count)))
        damaged(file_of(part, file).string() + " cannot be read");
      XXH3_64bits_update(state.get(), piece.data(), count);
      take({piece.data(), count});
      left -= count;
    }
    if (XXH3_64bits_digest(state.get()) != entry.checksums[static_cast<int>(file)])
      damaged(file_of(part, file).string() + " is not what was written");
  }
}

void PreparedStage::remove() {
  outputs_.clear();
  std::error_code ignored;                    // what stays is found by the next call
  fs::remove(folder_ / "key.json", ignored);  // first: without it the rest counts for nothing
  fs::remove_all(folder_, ignored);
}

PreparedStage::Output& PreparedStage::output(std::size_t part, File file) {
  const std::size_t index = 2 * part + static_cast<std::size_t>(file);
  if (index >= outputs_.size()) outputs_.resize(index + 1);
  if (!outputs_[index]) outputs_[index] = std::make_unique<Output>(file_of(part, file));
  return *outputs_[index];
}

void PreparedStage::damaged(const std::string& what) const {
  throw DataError(fmt::format("{}: {}. Begin anew with --fresh", folder_.string(), what));
}

fs::path PreparedStage::file_of(std::size_t part, File file) const {
  return folder_ / fmt::format("{}.{}", part, file == File::kTokens ? "tokens" : "documents");
}

}  // namespace tradewind::runtime
