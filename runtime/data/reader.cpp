#include "runtime/data/reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kLongestHeader = std::size_t{1} << 20;
constexpr std::size_t kLongestRecord = std::size_t{1} << 28;

/// `text` begins at `from` in the contents.
void check_utf8(const std::string& name, std::string_view text, const DocumentStream::Position& from) {
  const std::size_t at = find_invalid_utf8(text);
  if (at == std::string_view::npos) return;
  const TextPosition position = position_of(text, at);
  throw DataError(
      fmt::format("{}:{}:{}: byte 0x{:02X} (byte {} of the contents) is not valid UTF-8. Convert the file, e.g. iconv -f "
                  "WINDOWS-1252 -t UTF-8 {} > FILE",
                  name, from.line + position.line - 1, position.column + (position.line == 1 ? from.column - 1 : 0),
                  static_cast<unsigned char>(text[at]), from.bytes + at, name));
}

bool blank(std::string_view line) { return line.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

std::string text_of(const std::string& name, std::int64_t number, std::string_view line, const std::string& key) {
  const auto fail = [&](const std::string& what) { throw DataError(fmt::format("{}:{}: {}", name, number, what)); };
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    fail(fmt::format(
        "not valid JSON at byte {} of the line. JSON lines hold one object a line; for a text file set data.format = \"text\"",
        error.byte));
  }
  if (!object.is_object())
    fail(fmt::format("a JSON {}, where an object is expected, e.g. {{\"{}\": \"...\"}}", object.type_name(), key));
  const auto found = object.find(key);
  if (found == object.end()) {
    std::vector<std::string> keys;
    for (const auto& [name_of_key, value] : object.items()) keys.push_back(name_of_key);
    fail(fmt::format("no key \"{}\". Set data.text_key to one of: {}", key, fmt::join(keys, ", ")));
  }
  if (!found->is_string())
    fail(fmt::format("\"{}\" is a {}, where a string is expected (data.text_key)", key, found->type_name()));
  return *found;
}

/// The end of the line [begin, newline) without a carriage return.
std::size_t without_return(std::string_view text, std::size_t begin, std::size_t newline) {
  return newline > begin && text[newline - 1] == '\r' ? newline - 1 : newline;
}

/// Where the first record begins: behind a byte order mark and blank lines.
std::size_t beginning_of_records(std::string_view text) {
  std::size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  for (std::size_t newline; (newline = text.find('\n', at)) != std::string_view::npos && blank(text.substr(at, newline - at));)
    at = newline + 1;
  return at;
}

CsvHeader read_csv_header(const std::filesystem::path& file, const std::string& path_key) {
  const auto stream = ByteStream::open(file, path_key);
  std::string head;
  for (std::size_t wanted = 4096;; wanted *= 4) {
    const std::size_t before = head.size();
    head.resize(wanted);
    head.resize(before + stream->read({head.data() + before, wanted - before}));
    const bool ended = head.size() < wanted;
    check_text_beginning(stream->name(), head, path_key);
    const std::size_t begin = beginning_of_records(head);
    const std::string_view records = std::string_view(head).substr(begin);
    // It matters only where it leaves no room for quotes.
    const std::string_view separator = csv_separator(records.substr(0, records.find('\n')));
    const std::size_t length = csv_record_length(records, separator, ended || head.size() >= kLongestHeader);
    if (length == std::string_view::npos) continue;
    const std::string_view record = records.substr(0, length);
    if (blank(record))
      throw DataError(fmt::format("{} holds only blank lines, where the first must name the columns", stream->name()));
    check_utf8(stream->name(), record, {.bytes = begin, .line = position_of(head, begin).line, .column = 1});
    return {stream->name(), record, position_of(head, begin).line};
  }
}

}  // namespace

struct DocumentStream::Hash {
  Hash() : state(XXH3_createState()) { XXH3_64bits_reset(state); }
  ~Hash() { XXH3_freeState(state); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  XXH3_state_t* state;
};

DocumentStream::DocumentStream(const std::filesystem::path& file, const ReadOptions& options, std::size_t piece_bytes, Cut cut)
    : stream_(ByteStream::open(file, options.path_key)),
      options_(options),
      piece_bytes_(std::max<std::size_t>(piece_bytes, 1)),
      cut_(std::move(cut)),
      hash_(std::make_unique<Hash>()) {
  if (options_.format != TextFormat::kCsv) return;
  header_ = read_csv_header(file, options_.path_key);
  text_column_ = header_.find(options_.text_key, "data.text_key", "; for a plain text set data.format = \"text\"");
}

DocumentStream::~DocumentStream() = default;

DocumentStream::Position DocumentStream::position() const {
  Position position = position_;
  position.checksum = XXH3_64bits_digest(hash_->state);
  return position;
}

bool DocumentStream::skip_to(const Position& position) {
  std::string skipped;
  for (std::uint64_t left = position.bytes; left > 0; left -= skipped.size()) {
    skipped.resize(static_cast<std::size_t>(std::min<std::uint64_t>(left, kChunk)));
    if (stream_->read(skipped) < skipped.size()) return false;
    XXH3_64bits_update(hash_->state, skipped.data(), skipped.size());
  }
  position_ = position;
  header_passed_ = position.bytes > 0;  // there was a piece before
  return position.bytes == 0 || XXH3_64bits_digest(hash_->state) == position.checksum;
}

/// Reads until so many bytes are pending or the file has ended.
void DocumentStream::fill(std::size_t bytes) {
  const std::size_t kept = pending_.size();
  if (ended_ || kept >= bytes) return;
  pending_.resize(bytes);
  pending_.resize(kept + stream_->read({pending_.data() + kept, bytes - kept}));
  ended_ = pending_.size() < bytes;
}

bool DocumentStream::next(TextPiece& piece) {
  piece.segments.clear();
  if (position_.bytes == 0) {
    fill(std::max<std::size_t>(piece_bytes_, 4));
    check_text_beginning(name(), pending_, options_.path_key);
    if (std::string_view(pending_).starts_with(kByteOrderMark)) take(piece, kByteOrderMark.size());
    position_.column = 1;
  }
  for (std::size_t wanted = piece_bytes_;;) {
    fill(wanted);
    if (pending_.empty()) return false;
    const std::size_t done = options_.format == TextFormat::kJsonLines ? scan_json_lines(piece)
                             : options_.format == TextFormat::kCsv     ? scan_records(piece)
                             : options_.cut == DocumentCut::kWhole     ? scan_whole(piece)
                                                                       : scan_documents(piece);
    if (done == 0) {  // a document longer than what is pending
      wanted = 2 * std::max(pending_.size(), piece_bytes_);
      continue;
    }
    take(piece, done);
    if (!piece.segments.empty()) return true;
    wanted = piece_bytes_;
  }
}

/// Moves the first `bytes` of what is pending into the piece.
void DocumentStream::take(TextPiece& piece, std::size_t bytes) {
  piece.text.assign(pending_, 0, bytes);
  check_utf8(name(), piece.text, position_);
  XXH3_64bits_update(hash_->state, piece.text.data(), bytes);
  pending_.erase(0, bytes);
  const TextPosition end = position_of(piece.text, bytes);
  position_.column = end.column + (end.line == 1 ? position_.column - 1 : 0);
  position_.line += end.line - 1;
  position_.bytes += bytes;
}

// Each scan gives the segments of what is pending, and how many bytes of it they settle.

std::size_t DocumentStream::scan_whole(TextPiece& piece) {
  const std::size_t end = ended_ ? pending_.size() : cut_(pending_);
  if (end > 0) piece.segments.push_back({0, end, position_.line, !std::exchange(position_.open, true)});
  return end;
}

std::size_t DocumentStream::scan_json_lines(TextPiece& piece) const {
  std::size_t done = 0;
  for (std::int64_t number = position_.line; done < pending_.size(); ++number) {
    std::size_t newline = pending_.find('\n', done);
    if (newline == std::string::npos && !ended_) break;
    newline = std::min(newline, pending_.size());
    const std::size_t end = without_return(pending_, done, newline);
    if (!blank(std::string_view(pending_).substr(done, end - done))) piece.segments.push_back({done, end, number, true});
    done = std::min(newline + 1, pending_.size());
  }
  return done;
}

std::size_t DocumentStream::scan_records(TextPiece& piece) {
  const std::string_view text = pending_;
  std::size_t done = 0;
  for (std::int64_t number = position_.line; done < text.size();) {
    const std::size_t length =
        csv_record_length(text.substr(done), header_.separator(), ended_ || text.size() - done >= kLongestRecord);
    if (length == std::string_view::npos) break;
    const std::string_view record = text.substr(done, length);
    if (!blank(record) && std::exchange(header_passed_, true)) piece.segments.push_back({done, done + length, number, true});
    number += std::ranges::count(record, '\n');
    done += length;
  }
  return done;
}

std::size_t DocumentStream::scan_documents(TextPiece& piece) {
  const std::string_view text = pending_;
  const bool lines = options_.cut == DocumentCut::kLine;
  std::optional<TextPiece::Segment> document;  // that goes on, perhaps
  bool inside_line = position_.open;           // the first line began before
  if (inside_line) document = {0, 0, position_.line, false};
  std::size_t at = 0, done = 0;
  const auto close = [&] {
    if (document && document->end > document->begin) piece.segments.push_back(*document);
    document.reset();
  };
  for (std::int64_t number = position_.line; at < text.size(); ++number) {
    std::size_t newline = text.find('\n', at);
    if (newline == std::string_view::npos && !ended_) break;
    newline = std::min(newline, text.size());
    const std::size_t end = without_return(text, at, newline);
    if (!std::exchange(inside_line, false) && blank(text.substr(at, end - at))) {
      close();
    } else if (document) {
      document->end = end;
    } else {
      document = {at, end, number, true};
    }
    if (lines) close();
    at = std::min(newline + 1, text.size());
    if (!document) done = at;
  }
  if (ended_) {
    close();
    done = text.size();
  }
  if (done > 0) {
    position_.open = false;
    return done;
  }
  if (text.size() < piece_bytes_) return 0;
  // One document that is longer than the piece: what is known to belong to it, as far as it may be cut.
  const bool more = inside_line || !blank(text.substr(at));  // of a line that has no end yet
  if (!document && more) document = {at, at, position_.line, true};
  if (!document) return 0;
  const std::size_t known = more ? without_return(text, at, text.size()) : document->end;
  document->end = document->begin + cut_(text.substr(document->begin, known - document->begin));
  if (document->end == document->begin) return 0;
  piece.segments.push_back(*document);
  position_.open = true;
  return document->end;
}

void DocumentStream::decode(TextPiece& piece) const {
  if (options_.format == TextFormat::kText) return;
  std::string texts;
  std::vector<TextPiece::Segment> segments;
  std::vector<std::string> fields;
  for (const TextPiece::Segment& line : piece.segments) {
    const std::size_t begin = texts.size();
    if (options_.format == TextFormat::kCsv) {
      header_.parse(piece[line], line.line, fields);
      texts += fields[text_column_];
    } else {
      texts += text_of(name(), line.line, piece[line], options_.text_key);
    }
    if (texts.size() > begin) segments.push_back({begin, texts.size(), line.line, true});
  }
  piece.text = std::move(texts);
  piece.segments = std::move(segments);
}

TextFormat format_of_name(const std::filesystem::path& file) {
  std::filesystem::path name = file.filename();
  const std::string last = name.extension().string();
  if (last == ".gz" || last == ".zst" || last == ".xz") name = name.stem();
  const std::string kind = name.extension().string();
  if (kind == ".jsonl" || kind == ".ndjson") return TextFormat::kJsonLines;
  return kind == ".csv" || kind == ".tsv" ? TextFormat::kCsv : TextFormat::kText;
}

Documents read_documents(const std::filesystem::path& file, const ReadOptions& options) {
  DocumentStream stream(file, options, kChunk, whole_characters);
  Documents documents;
  documents.file = file.string();
  documents.compression = stream.compression();
  for (TextPiece piece; stream.next(piece);) {
    stream.decode(piece);
    for (const TextPiece::Segment& segment : piece.segments) {
      const std::size_t begin = documents.text.size();
      documents.text += piece[segment];
      if (segment.begins_document)
        documents.entries.push_back({begin, documents.text.size(), segment.line});
      else
        documents.entries.back().end = documents.text.size();
    }
  }
  documents.checksum = stream.position().checksum;
  documents.bytes = stream.position().bytes;
  if (documents.entries.empty())
    throw DataError(fmt::format("{} holds no text, only blank lines or empty strings", documents.file));
  return documents;
}

}  // namespace tradewind::runtime
