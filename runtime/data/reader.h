// Documents of text and JSON lines files, plain or compressed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tradewind::runtime {

/// How a text file is cut into documents. JSON lines hold one a line.
enum class DocumentCut { kWhole, kLine, kBlankLine };

struct ReadOptions {
  bool json_lines = false;
  std::string text_key = "text";  // of JSON lines: where the text is
  DocumentCut cut = DocumentCut::kWhole;
  std::string path_key = "data.path";  // config key that named the file, for messages
};

/// A file's documents, in order. A byte order mark is dropped; empty lines and empty documents are skipped.
struct Documents {
  struct Entry {
    std::size_t begin, end;  // in text
    std::int64_t line;       // of the file where it begins, from 1
  };
  std::string file;
  std::string compression;  // "", "gzip", "zstd", "xz"
  std::string text;         // valid UTF-8
  std::vector<Entry> entries;
  std::uint64_t checksum = 0;  // XXH3-64 of the file's contents after decompression

  std::string_view operator[](std::size_t i) const {
    return std::string_view(text).substr(entries[i].begin, entries[i].end - entries[i].begin);
  }
};

/// True where the name, without .gz, .zst or .xz, ends in .jsonl or .ndjson.
bool named_json_lines(const std::filesystem::path& file);

/// Throws DataError with file and line: missing or empty file, broken archive, invalid UTF-8, a line that is no JSON object,
/// has no `text_key` or no string there; no document in it.
Documents read_documents(const std::filesystem::path& file, const ReadOptions& options);

}  // namespace tradewind::runtime
