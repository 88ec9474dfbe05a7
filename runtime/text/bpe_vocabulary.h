// The vocabulary of a byte-level BPE, and the files that GPT-2's comes in.
//
// Files write a token's bytes as characters that can be seen: '!' to '~', U+00A1 to U+00AC and U+00AE to U+00FF stand for the
// byte of that number, U+0100 and on for the other bytes, ascending (a blank is U+0120). Radford et al. 2019, encoder.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tradewind::runtime {

inline constexpr std::string_view kEndOfTextName = "<|endoftext|>";

/// Bytes as these files write them.
std::string characters_of(std::string_view bytes);

class BpeVocabulary {
 public:
  struct Merge {
    std::int32_t left, right, result;
  };

  /// The bytes, in the order of their characters, as ids 0 to 255.
  static BpeVocabulary of_bytes();
  /// The tokens of `ids`, which has no gaps, without merges yet. Throws DataError where a byte is missing.
  static BpeVocabulary of_tokens(std::vector<std::string> tokens);

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  /// Bytes by id; the end-of-text token's are its name.
  const std::vector<std::string>& tokens() const { return tokens_; }
  /// The first is done first.
  const std::vector<Merge>& merges() const { return merges_; }
  std::optional<std::int32_t> end_of_text() const { return end_of_text_; }
  std::optional<std::int32_t> find(std::string_view bytes) const;

  /// The next merge. Where its result is no token yet, it becomes the last id. Gives the result.
  std::int32_t merge(std::int32_t left, std::int32_t right);
  /// The end-of-text token, which becomes the last id where it is none yet.
  void add_end_of_text();

 private:
  std::int32_t add(std::string bytes);

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<Merge> merges_;
  std::optional<std::int32_t> end_of_text_;
};

/// Reads vocab.json and merges.txt, or encoder.json and vocab.bpe, of `folder`. Throws ConfigError where there are no such
/// files (the config key `key` named the folder), DataError, with file and line or token, where they do not go together.
BpeVocabulary read_bpe_vocabulary(const std::filesystem::path& folder, const std::string& key);

/// {"type": "bpe", "merges": "a b\nc d", "end_of_text": true}, and "tokens" where the ids are not: bytes, merges in turn, end
/// of text. One string each: 50,000 merges are 450 KB so, and three times that as arrays.
nlohmann::json to_json(const BpeVocabulary& vocabulary);
/// Throws DataError saying what is wrong with it.
BpeVocabulary bpe_vocabulary_from_json(const nlohmann::json& json);

}  // namespace tradewind::runtime
