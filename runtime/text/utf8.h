// UTF-8 as Unicode 15 section 3.9 (table 3-7) defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tradewind::runtime {

enum class Utf8Status { kOk, kMalformed, kTruncated };

/// What stands at one place of a text. `length` is the bytes of the character, or of the longest valid beginning of one (at
/// least 1): what U+FFFD replaces.
struct Utf8Character {
  char32_t point;
  int length;
  Utf8Status status;
};

/// The character at `at`. Needs at < end. kTruncated: what is there could go on to be a character, but the text ends.
inline Utf8Character decode_utf8(const char* at, const char* end) {
  const auto lead = static_cast<unsigned char>(*at);
  if (lead < 0x80) return {lead, 1, Utf8Status::kOk};
  if (lead < 0xC2 || lead > 0xF4) return {0, 1, Utf8Status::kMalformed};
  const int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;   // shortest form only
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;  // no surrogates, at most U+10FFFF
  char32_t point = lead & (0x7FU >> length);
  for (int i = 1; i < length; ++i) {
    if (at + i == end) return {0, i, Utf8Status::kTruncated};
    const auto next = static_cast<unsigned char>(at[i]);
    if (next < low || next > high) return {0, i, Utf8Status::kMalformed};
    low = 0x80, high = 0xBF;
    point = point << 6 | (next & 0x3FU);
  }
  return {point, length, Utf8Status::kOk};
}

void append_utf8(std::string& text, char32_t point);

/// UTF-8 bytes of a code point.
inline int utf8_length(char32_t point) { return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4; }

/// Offset of the first byte that is no UTF-8, npos where all of it is.
std::size_t find_invalid_utf8(std::string_view text);

/// Length of `text` without a character that its end cuts off.
std::size_t whole_characters(std::string_view text);

/// Line and column (in characters) of a byte offset, both from 1.
struct TextPosition {
  std::int64_t line, column;
};
TextPosition position_of(std::string_view text, std::size_t offset);

/// "U+20AC"
std::string code_point_name(char32_t point);

}  // namespace tradewind::runtime
