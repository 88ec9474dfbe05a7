#include "runtime/text/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace tradewind::runtime {

void append_utf8(std::string& text, char32_t point) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80U | ((point >> shift) & 0x3FU)); };
  switch (utf8_length(point)) {
    case 1: text += static_cast<char>(point); break;
    case 2: text += static_cast<char>(0xC0U | point >> 6), tail(0); break;
    case 3: text += static_cast<char>(0xE0U | point >> 12), tail(6), tail(0); break;
    default: text += static_cast<char>(0xF0U | point >> 18), tail(12), tail(6), tail(0); break;
  }
}

std::size_t find_invalid_utf8(std::string_view text) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  for (const char* at = begin; at < end;) {
    std::uint64_t word;
    if (end - at >= 8 && (std::memcpy(&word, at, 8), (word & 0x8080808080808080ULL) == 0)) {  // eight ASCII characters
      at += 8;
      continue;
    }
    const Utf8Character character = decode_utf8(at, end);
    if (character.status != Utf8Status::kOk) return static_cast<std::size_t>(at - begin);
    at += character.length;
  }
  return std::string_view::npos;
}

std::size_t whole_characters(std::string_view text) {
  std::size_t lead = text.size();  // of the last character
  while (lead > 0 && text.size() - lead < 4)
    if ((static_cast<unsigned char>(text[--lead]) & 0xC0U) != 0x80U) break;
  if (lead == text.size()) return 0;
  const Utf8Character last = decode_utf8(text.data() + lead, text.data() + text.size());
  return last.status == Utf8Status::kTruncated ? lead : text.size();
}

TextPosition position_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::size_t newline = before.rfind('\n');
  const std::string_view line = newline == std::string_view::npos ? before : before.substr(newline + 1);
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  return {1 + std::count(before.begin(), before.end(), '\n'), 1 + std::count_if(line.begin(), line.end(), starts_character)};
}

std::string code_point_name(char32_t point) { return fmt::format("U+{:04X}", static_cast<std::uint32_t>(point)); }

}  // namespace tradewind::runtime
