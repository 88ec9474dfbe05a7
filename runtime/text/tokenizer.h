// Text to token ids and back.
//
// "char": one token a Unicode code point of the training text, in code point order; as the last id, where documents are to be
// told apart, an end-of-text token. "byte": ids 0 to 255 are bytes, 256 is the end-of-text token; knows every text. "bpe":
// bytes merged as a vocabulary says, GPT-2's or one trained on the text; knows every text. A tokenizer is immutable and may be
// used from several threads.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tradewind::runtime {

class BpeVocabulary;

/// Encodes text after text; what it remembers of one makes the next one faster. One thread.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  /// Appends the tokens of `utf8`. The end-of-text token comes only from a "bpe" that has one, for a literal <|endoftext|>.
  /// Throws DataError, with byte offset, line and column, where the text has no tokens.
  virtual void append(std::string_view utf8, std::vector<std::int32_t>& ids) = 0;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;  // "char", "byte", "bpe": the value of data.tokenizer
  virtual std::int64_t vocabulary_size() const = 0;
  /// Must not outlive the tokenizer.
  virtual std::unique_ptr<TextEncoder> encoder() const = 0;
  /// As TextEncoder.
  std::vector<std::int32_t> encode(std::string_view utf8) const;
  /// The last place where `text` may be cut so that the two parts have the tokens of the whole, whatever comes after it. 0
  /// where there is none.
  virtual std::size_t cut(std::string_view text) const;
  /// The bytes that one token stands for, nothing for the end-of-text token. Throws DataError where there is no such id.
  virtual std::string_view bytes(std::int32_t id) const = 0;
  /// The token that separates documents, where there is one.
  virtual std::optional<std::int32_t> end_of_text() const = 0;
  /// How a text writes it, where it has a name.
  virtual std::string_view end_of_text_name() const { return {}; }
  /// What from_json makes an equal tokenizer of.
  virtual nlohmann::json to_json() const = 0;

  /// The bytes of all tokens in turn. Byte tokens can form invalid UTF-8; for showing text use StreamDecoder. `name_ends`: the
  /// end-of-text token is its name rather than nothing.
  std::string decode(std::span<const std::int32_t> ids, bool name_ends = false) const;
  /// Length of bytes(id).
  std::int64_t bytes_of(std::int32_t id) const { return static_cast<std::int64_t>(bytes(id).size()); }

  /// Throws DataError saying what is wrong with it.
  static std::unique_ptr<Tokenizer> from_json(const nlohmann::json& json);
};

/// The distinct characters of the texts, ascending. Throws DataError where one is not UTF-8.
std::u32string distinct_characters(std::span<const std::string_view> texts);

/// `characters` must ascend and not be empty (DataError).
std::unique_ptr<Tokenizer> make_char_tokenizer(std::u32string characters, bool end_of_text);
std::unique_ptr<Tokenizer> make_byte_tokenizer();
std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeVocabulary vocabulary);

/// Turns tokens into text as they come, for `generate --stream`: gives out whole characters only, and U+FFFD for what is none.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// The text that is complete with this token; may be empty.
  std::string push(std::int32_t id);
  /// What the tokens left unfinished: U+FFFD or nothing.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;  // the beginning of a character
};

}  // namespace tradewind::runtime
