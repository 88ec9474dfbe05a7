#include <fmt/format.h>

#include "kernels/base/error.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

[[noreturn]] void throw_not_utf8(std::string_view text, std::size_t offset) {
  const TextPosition position = position_of(text, offset);
  throw DataError(
      fmt::format("char tokenizer: byte 0x{:02X} at byte {} (line {}, column {}) is not valid UTF-8. Convert the text to UTF-8",
                  static_cast<unsigned char>(text[offset]), offset, position.line, position.column));
}

class CharTokenizer;

class CharEncoder final : public TextEncoder {
 public:
  explicit CharEncoder(const CharTokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void append(std::string_view utf8, std::vector<std::int32_t>& ids) override;

 private:
  const CharTokenizer& tokenizer_;
};

class CharTokenizer final : public Tokenizer {
 public:
  CharTokenizer(std::u32string characters, bool end_of_text) : characters_(std::move(characters)), end_of_text_(end_of_text) {
    if (characters_.empty()) throw DataError("char tokenizer: a vocabulary without characters");
    for (std::size_t i = 0; i + 1 < characters_.size(); ++i)
      if (characters_[i] >= characters_[i + 1])
        throw DataError(fmt::format("char tokenizer: characters must ascend, but {} comes before {}",
                                    code_point_name(characters_[i]), code_point_name(characters_[i + 1])));
    ids_.assign(characters_.back() + std::size_t{1}, -1);
    begins_.push_back(0);
    for (std::size_t i = 0; i < characters_.size(); ++i) {
      ids_[characters_[i]] = static_cast<std::int32_t>(i);
      append_utf8(text_, characters_[i]);
      begins_.push_back(text_.size());
    }
  }

  std::string name() const override { return "char"; }
  std::int64_t vocabulary_size() const override { return count() + (end_of_text_ ? 1 : 0); }
  std::optional<std::int32_t> end_of_text() const override {
    return end_of_text_ ? std::optional(static_cast<std::int32_t>(count())) : std::nullopt;
  }
  nlohmann::json to_json() const override { return {{"type", "char"}, {"characters", text_}, {"end_of_text", end_of_text_}}; }

  std::unique_ptr<TextEncoder> encoder() const override { return std::make_unique<CharEncoder>(*this); }

  void append(std::string_view utf8, std::vector<std::int32_t>& ids) const {
    for (const char *at = utf8.data(), *end = at + utf8.size(); at < end;) {
      const Utf8Character character = decode_utf8(at, end);
      const auto offset = static_cast<std::size_t>(at - utf8.data());
      if (character.status != Utf8Status::kOk) throw_not_utf8(utf8, offset);
      const std::int32_t id = character.point < ids_.size() ? ids_[character.point] : -1;
      if (id < 0) throw_unknown(character.point, utf8, offset);
      ids.push_back(id);
      at += character.length;
    }
  }

  std::string_view bytes(std::int32_t id) const override {
    if (id < 0 || id >= vocabulary_size())
      throw DataError(fmt::format("char tokenizer: no token {} (ids are 0 to {})", id, vocabulary_size() - 1));
    if (id == count()) return {};
    const std::size_t begin = begins_[static_cast<std::size_t>(id)];
    return std::string_view(text_).substr(begin, begins_[static_cast<std::size_t>(id) + 1] - begin);
  }

 private:
  std::int64_t count() const { return static_cast<std::int64_t>(characters_.size()); }

  [[noreturn]] void throw_unknown(char32_t point, std::string_view text, std::size_t offset) const {
    const TextPosition position = position_of(text, offset);
    std::string shown;
    if (point >= U' ' && point != 0x7F) {
      shown = "\"";
      append_utf8(shown, point);
      shown += "\" ";
    }
    throw DataError(
        fmt::format("char tokenizer: the character {}({}) at byte {} (line {}, column {}) is not among the {} that it was made "
                    "from. Replace "
                    "the character, or train with data.tokenizer = \"byte\", which knows every text",
                    shown, code_point_name(point), offset, position.line, position.column, count()));
  }

  std::u32string characters_;
  bool end_of_text_;
  std::vector<std::int32_t> ids_;    // by code point, -1 where it is no token
  std::string text_;                 // the characters in UTF-8
  std::vector<std::size_t> begins_;  // of each in text_, and the end
};

void CharEncoder::append(std::string_view utf8, std::vector<std::int32_t>& ids) { tokenizer_.append(utf8, ids); }

}  // namespace

std::u32string distinct_characters(std::span<const std::string_view> texts) {
  std::vector<bool> seen(0x110000, false);
  for (const std::string_view text : texts) {
    for (const char *at = text.data(), *end = at + text.size(); at < end;) {
      const Utf8Character character = decode_utf8(at, end);
      if (character.status != Utf8Status::kOk) throw_not_utf8(text, static_cast<std::size_t>(at - text.data()));
      seen[character.point] = true;
      at += character.length;
    }
  }
  std::u32string characters;
  for (char32_t point = 0; point < seen.size(); ++point)
    if (seen[point]) characters += point;
  return characters;
}

std::unique_ptr<Tokenizer> make_char_tokenizer(std::u32string characters, bool end_of_text) {
  return std::make_unique<CharTokenizer>(std::move(characters), end_of_text);
}

}  // namespace tradewind::runtime
