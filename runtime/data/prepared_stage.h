// What `prepare` has done so far, in a folder beside the file that is to come, so that the same command goes on after any end.
//
//   key.json         what the work is a function of: config keys, sizes of files
//   tokenizer.json   the tokenizer that was made of the text, and the checksums of the text
//   N.tokens, N.documents    of part N: tokens as in the prepared file, beginnings of documents
//   journal.jsonl    a line a batch: what has been appended to these, with checksums, and where its text ends
//
// A batch counts once its line is written, which is after its bytes are synced. Bytes without a line are overwritten.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/reader.h"

namespace tradewind::runtime {

class PreparedStage {
 public:
  /// What one part has.
  struct Part {
    DocumentStream::Position position;  // of its text
    std::int64_t tokens = 0, documents = 0;
    std::uint64_t bytes[2] = {0, 0};  // by File
    bool done = false;
  };
  struct Batch {
    DocumentStream::Position position;          // behind it
    std::vector<std::string_view> tokens = {};  // bytes, in pieces
    std::vector<std::int64_t> documents = {};
    std::int64_t token_count = 0;
    bool last = false;  // of the part
  };
  enum class File { kTokens, kDocuments };

  /// Goes on in `folder` or makes it; `fresh` throws away what is there. Throws DataError where the work there has another key
  /// (it says what differs), is damaged, or is being done by another process.
  PreparedStage(const std::filesystem::path& folder, const nlohmann::json& key, bool fresh);
  ~PreparedStage();
  PreparedStage(const PreparedStage&) = delete;
  PreparedStage& operator=(const PreparedStage&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  /// Null until it was kept.
  const nlohmann::json& tokenizer() const { return tokenizer_; }
  void keep_tokenizer(const nlohmann::json& tokenizer);
  /// So far.
  const Part& part(std::size_t number);
  /// Throws DataError where the disk is full; what was done before stays.
  void append(std::size_t part, const Batch& batch);
  /// Calls `take` with all bytes of a file in turn. Throws DataError where they are not what was written.
  void read(std::size_t part, File file, const std::function<void(std::span<const char>)>& take) const;
  /// The folder and all in it.
  void remove();

 private:
  class Output;
  struct Entry {
    std::size_t part = 0;
    std::uint64_t bytes[2] = {0, 0}, checksums[2] = {0, 0};  // by File
  };
  void open_journal();
  void replay(const std::string& line);
  Output& output(std::size_t part, File file);
  [[noreturn]] void damaged(const std::string& what) const;
  std::filesystem::path file_of(std::size_t part, File file) const;

  std::filesystem::path folder_;
  nlohmann::json tokenizer_;
  std::vector<Part> parts_;
  std::vector<Entry> entries_;
  std::unique_ptr<Output> journal_;
  std::uint64_t journal_bytes_ = 0;
  std::vector<std::unique_ptr<Output>> outputs_;
};

/// What differs between two flat objects: "data.tokenizer was \"byte\" and is \"char\"; ...".
std::string describe_difference(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace tradewind::runtime
