#include "runtime/text/pre_tokenizer.h"

#include <unicode/uchar.h>

#include <array>
#include <cstdint>

#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

enum Class : std::uint8_t { kOther, kLetter, kNumber, kSpace };

/// \s is Unicode's White_Space: the separators (categories Z*) and U+0009 to U+000D, U+0085.
Class class_of(char32_t point) {
  switch (u_charType(static_cast<UChar32>(point))) {
    case U_UPPERCASE_LETTER:
    case U_LOWERCASE_LETTER:
    case U_TITLECASE_LETTER:
    case U_MODIFIER_LETTER:
    case U_OTHER_LETTER: return kLetter;
    case U_DECIMAL_DIGIT_NUMBER:
    case U_LETTER_NUMBER:
    case U_OTHER_NUMBER: return kNumber;
    case U_SPACE_SEPARATOR:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR: return kSpace;
    default: return (point >= 0x09 && point <= 0x0D) || point == 0x85 ? kSpace : kOther;
  }
}

constexpr std::array<Class, 128> kAscii = [] {
  std::array<Class, 128> classes{};
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= 0x09 && c <= 0x0D);
    classes[c] = letter ? kLetter : c >= '0' && c <= '9' ? kNumber : space ? kSpace : kOther;
  }
  return classes;
}();

struct Character {
  Class kind;
  int length;
};

inline Character character_at(const char* at, const char* end) {
  const auto byte = static_cast<unsigned char>(*at);
  if (byte < 0x80) return {kAscii[byte], 1};
  const Utf8Character character = decode_utf8(at, end);
  return {character.status == Utf8Status::kOk ? class_of(character.point) : kOther, character.length};
}

/// The end of the characters of `kind` from `at` on.
inline const char* run_end(const char* at, const char* end, Class kind) {
  while (at < end) {
    const Character character = character_at(at, end);
    if (character.kind != kind) break;
    at += character.length;
  }
  return at;
}

/// 's 't 'm 'd, 're 've 'll; 0 for anything else behind an apostrophe.
inline std::size_t contraction(const char* at, const char* end) {
  if (end - at < 2) return 0;
  switch (at[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return end - at > 2 && at[2] == 'e' ? 3 : 0;
    case 'l': return end - at > 2 && at[2] == 'l' ? 3 : 0;
    default: return 0;
  }
}

}  // namespace

std::size_t word_length(const char* at, const char* end) {
  if (*at == '\'')
    if (const std::size_t length = contraction(at, end)) return length;
  const Character first = character_at(at, end);
  const char* next = at + first.length;
  if (first.kind != kSpace) return static_cast<std::size_t>(run_end(next, end, first.kind) - at);
  if (*at == ' ' && next < end) {  // one blank belongs to what follows it
    const Character second = character_at(next, end);
    if (second.kind != kSpace) return static_cast<std::size_t>(run_end(next + second.length, end, second.kind) - at);
  }
  // Spaces up to the last one before something else, which is left to it; all of them at the end of the text.
  const char* last = at;
  while (next < end) {
    const Character character = character_at(next, end);
    if (character.kind != kSpace) return static_cast<std::size_t>((last > at ? last : next) - at);
    last = next;
    next += character.length;
  }
  return static_cast<std::size_t>(next - at);
}

std::size_t last_word_boundary(std::string_view text) {
  const char* const begin = text.data();
  for (std::size_t i = text.size(); i-- > 1;) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80 || kAscii[byte] != kSpace) continue;
    std::size_t before = i - 1;  // the beginning of the character before it
    while (before > 0 && i - before < 4 && (static_cast<unsigned char>(text[before]) & 0xC0U) == 0x80U) --before;
    const Character character = character_at(begin + before, begin + i);
    if (character.kind != kSpace && before + static_cast<std::size_t>(character.length) == i) return i;
  }
  return 0;
}

}  // namespace tradewind::runtime
