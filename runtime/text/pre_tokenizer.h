// Where GPT-2 cuts a text into words before it merges bytes:
//
//     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// (Radford et al. 2019; the pattern is in the code that was published with it.) Written out as a scanner, as a regular
// expression engine would take most of the time. Categories are those of ICU's Unicode. A byte that is no UTF-8 is a character
// that is neither letter, number nor space.
#pragma once

#include <cstddef>
#include <string_view>

namespace tradewind::runtime {

/// Bytes of the word that begins at `at`. Needs at < end. The words that follow each other from the beginning of a text to its
/// end are all of its bytes. A word is never looked for across `end`.
std::size_t word_length(const char* at, const char* end);

/// The last place in `text` where it may be cut without changing its words, whatever comes after it: between a character that
/// is no space and a space (the pattern crosses no such place and looks at nothing before it). 0 where there is none.
std::size_t last_word_boundary(std::string_view text);

}  // namespace tradewind::runtime
