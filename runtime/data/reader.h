// Documents of text and JSON lines files, plain or compressed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/byte_stream.h"

namespace tradewind::runtime {

/// How a text file is cut into documents. JSON lines hold one a line.
enum class DocumentCut { kWhole, kLine, kBlankLine };

struct ReadOptions {
  bool json_lines = false;
  std::string text_key = "text";  // of JSON lines: where the text is
  DocumentCut cut = DocumentCut::kWhole;
  std::string path_key = "data.path";  // config key that named the file, for messages
};

/// Some of a file's documents, or of a long one some of its text.
struct TextPiece {
  struct Segment {
    std::size_t begin, end;  // in text
    std::int64_t line;       // of the file where it begins, from 1
    bool begins_document;    // false: it goes on with the document of the segment before it
  };
  std::string text;  // valid UTF-8
  std::vector<Segment> segments;

  std::string_view operator[](const Segment& segment) const {
    return std::string_view(text).substr(segment.begin, segment.end - segment.begin);
  }
};

/// Reads a file piece by piece, so that one larger than memory can be read. A byte order mark is dropped; empty lines and empty
/// documents are skipped. Throws DataError with file and line: missing or empty file, broken archive, invalid UTF-8.
class DocumentStream {
 public:
  /// Where a text may be cut: Tokenizer::cut.
  using Cut = std::function<std::size_t(std::string_view)>;

  /// Pieces are about `piece_bytes` long. A document that is longer is cut by `cut` (one whole line of JSON lines is read
  /// always); where `cut` finds no place, more is read until it does.
  DocumentStream(const std::filesystem::path& file, const ReadOptions& options, std::size_t piece_bytes, Cut cut);
  ~DocumentStream();

  /// False at the end of the file. The segments of JSON lines are the lines as they are until decode().
  bool next(TextPiece& piece);
  /// Makes the lines of JSON lines the texts in them; nothing else to do for a text. From any thread. Throws DataError with
  /// file and line: a line that is no JSON object, has no `text_key` or no string there.
  void decode(TextPiece& piece) const;

  /// What lies behind the pieces that next() gave.
  struct Position {
    std::uint64_t bytes = 0;     // of the contents after decompression
    std::uint64_t checksum = 0;  // XXH3-64 of them
    std::int64_t line = 1, column = 1;
    bool open = false;  // in the middle of a document
  };
  Position position() const;
  /// Before the first next(): goes on behind `position`. False where the contents up to there are not those of then.
  bool skip_to(const Position& position);

  const std::string& name() const { return stream_->name(); }
  std::string compression() const { return stream_->compression(); }

 private:
  struct Hash;
  void fill(std::size_t bytes);
  std::size_t scan_whole(TextPiece& piece);
  std::size_t scan_documents(TextPiece& piece);
  std::size_t scan_json_lines(TextPiece& piece) const;
  void take(TextPiece& piece, std::size_t bytes);

  std::unique_ptr<ByteStream> stream_;
  ReadOptions options_;
  std::size_t piece_bytes_;
  Cut cut_;
  std::unique_ptr<Hash> hash_;
  std::string pending_;  // read, but not given out yet
  bool ended_ = false;   // all is read
  Position position_;    // of pending_; its checksum is in hash_
};

/// A file's documents, in order.
struct Documents {
  struct Entry {
    std::size_t begin, end;  // in text
    std::int64_t line;       // of the file where it begins, from 1
  };
  std::string file;
  std::string compression;  // "", "gzip", "zstd", "xz"
  std::string text;         // one document behind the other; valid UTF-8
  std::vector<Entry> entries;
  std::uint64_t checksum = 0;  // XXH3-64 of the file's contents after decompression
  std::uint64_t bytes = 0;     // of these contents

  std::string_view operator[](std::size_t i) const {
    return std::string_view(text).substr(entries[i].begin, entries[i].end - entries[i].begin);
  }
};

/// True where the name, without .gz, .zst or .xz, ends in .jsonl or .ndjson.
bool named_json_lines(const std::filesystem::path& file);

/// Throws DataError as DocumentStream does, and where there is no document.
Documents read_documents(const std::filesystem::path& file, const ReadOptions& options);

}  // namespace tradewind::runtime
