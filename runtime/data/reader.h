// Documents of text, JSON lines and CSV files, plain or compressed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/byte_stream.h"
#include "runtime/data/csv.h"

namespace tradewind::runtime {

enum class TextFormat { kText, kJsonLines, kCsv };

/// By the name without .gz, .zst or .xz: JSON lines are .jsonl and .ndjson, CSV is .csv and .tsv, all else is text.
TextFormat format_of_name(const std::filesystem::path& file);

/// How a text file is cut into documents. JSON lines hold one a line, CSV one a record.
enum class DocumentCut { kWhole, kLine, kBlankLine };

struct ReadOptions {
  TextFormat format = TextFormat::kText;
  std::string text_key = "text";  // of JSON lines and CSV: where the text is
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

  /// Pieces are about `piece_bytes` long. A document that is longer is cut by `cut` (a line of JSON lines and a record of CSV
  /// are always read whole); where `cut` finds no place, more is read until it does.
  DocumentStream(const std::filesystem::path& file, const ReadOptions& options, std::size_t piece_bytes, Cut cut);
  ~DocumentStream();

  /// False at the end of the file. The segments of JSON lines and CSV are lines and records as they are until decode().
  bool next(TextPiece& piece);
  /// Makes these the texts in them; nothing else to do for a text. From any thread. Throws DataError with file and line: a line
  /// that is no JSON object, has no `text_key` or no string there, a record that is not as its header.
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
  std::size_t scan_records(TextPiece& piece);
  void take(TextPiece& piece, std::size_t bytes);

  std::unique_ptr<ByteStream> stream_;
  ReadOptions options_;
  CsvHeader header_;             // of CSV
  std::size_t text_column_ = 0;  // of it
  bool header_passed_ = false;
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

/// Throws DataError as DocumentStream does, and where there is no document.
Documents read_documents(const std::filesystem::path& file, const ReadOptions& options);

}  // namespace tradewind::runtime
