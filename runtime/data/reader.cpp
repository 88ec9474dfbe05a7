#include "runtime/data/reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "runtime/data/byte_stream.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

void check_beginning(const std::string& name, std::string_view head) {
  if (head.empty()) throw DataError(fmt::format("{} is empty. Point data.path at a file with text in it", name));
  const std::string_view mark = head.substr(0, 2);
  if (mark == "\xFF\xFE" || mark == "\xFE\xFF")
    throw DataError(fmt::format("{} is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 {} > FILE", name, name));
}

void check_utf8(const std::string& name, std::string_view text, std::int64_t first_line, std::size_t first_byte) {
  const std::size_t at = find_invalid_utf8(text);
  if (at == std::string_view::npos) return;
  const TextPosition position = position_of(text, at);
  throw DataError(fmt::format(
      "{}:{}:{}: byte 0x{:02X} (byte {} of the contents) is not valid UTF-8. Convert the file, e.g. iconv -f "
      "WINDOWS-1252 -t UTF-8 {} > FILE",
      name, first_line + position.line - 1, position.column, static_cast<unsigned char>(text[at]), first_byte + at, name));
}

std::string read_all(ByteStream& stream) {
  std::string text;
  std::size_t size = 0;
  for (;;) {
    text.resize(std::max(size + kChunk, size + size / 2));
    const std::size_t room = text.size() - size;
    const std::size_t got = stream.read({text.data() + size, room});
    size += got;
    if (got < room) break;
  }
  text.resize(size);
  check_beginning(stream.name(), text);
  check_utf8(stream.name(), text, 1, 0);
  if (std::string_view(text).substr(0, 3) == kByteOrderMark) text.erase(0, 3);
  return text;
}

/// Calls `line(text without its end, number from 1)` for each line, holding a chunk and the longest line in memory.
void for_each_line(ByteStream& stream, const std::function<void(std::string_view, std::int64_t)>& line) {
  std::string buffer;  // unread bytes
  std::int64_t number = 0;
  std::size_t offset = 0;  // of buffer in the contents
  const auto emit = [&](std::string_view text) {
    check_utf8(stream.name(), text, ++number, offset);
    if (number == 1 && text.substr(0, 3) == kByteOrderMark) text.remove_prefix(3);
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    line(text, number);
  };
  for (bool first = true, more = true; more; first = false) {
    const std::size_t kept = buffer.size();
    buffer.resize(kept + kChunk);
    const std::size_t got = stream.read({buffer.data() + kept, kChunk});
    buffer.resize(kept + got);
    more = got == kChunk;
    if (first) check_beginning(stream.name(), buffer);
    std::size_t begin = 0;
    for (std::size_t newline; (newline = buffer.find('\n', std::max(begin, kept))) != std::string::npos; begin = newline + 1) {
      emit(std::string_view(buffer).substr(begin, newline - begin));
      offset += newline + 1 - begin;
    }
    buffer.erase(0, begin);
  }
  if (!buffer.empty()) emit(buffer);
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

void cut_text(Documents& documents, DocumentCut cut) {
  const std::string_view text = documents.text;
  if (cut == DocumentCut::kWhole) {
    if (!text.empty()) documents.entries.push_back({0, text.size(), 1});
    return;
  }
  std::int64_t number = 0;
  bool open = false;  // the last entry goes on
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = std::min(text.find('\n', begin), text.size());
    std::size_t end = newline;
    if (end > begin && text[end - 1] == '\r') --end;
    ++number;
    if (blank(text.substr(begin, end - begin)))
      open = false;
    else if (open && cut == DocumentCut::kBlankLine)
      documents.entries.back().end = end;
    else
      documents.entries.push_back({begin, end, number}), open = true;
    begin = newline + 1;
  }
}

}  // namespace

bool named_json_lines(const std::filesystem::path& file) {
  std::filesystem::path name = file.filename();
  const std::string last = name.extension().string();
  if (last == ".gz" || last == ".zst" || last == ".xz") name = name.stem();
  return name.extension() == ".jsonl" || name.extension() == ".ndjson";
}

Documents read_documents(const std::filesystem::path& file, const ReadOptions& options) {
  const std::unique_ptr<ByteStream> stream = ByteStream::open(file, options.path_key);
  Documents documents;
  documents.file = file.string();
  documents.compression = stream->compression();
  if (options.json_lines) {
    for_each_line(*stream, [&](std::string_view line, std::int64_t number) {
      if (blank(line)) return;
      const std::size_t begin = documents.text.size();
      documents.text += text_of(documents.file, number, line, options.text_key);
      if (documents.text.size() > begin) documents.entries.push_back({begin, documents.text.size(), number});
    });
  } else {
    documents.text = read_all(*stream);
    cut_text(documents, options.cut);
  }
  documents.checksum = stream->checksum();
  if (documents.entries.empty())
    throw DataError(fmt::format("{} holds no text, only blank lines or empty strings", documents.file));
  return documents;
}

}  // namespace tradewind::runtime
