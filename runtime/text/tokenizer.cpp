#include "runtime/text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "runtime/text/bpe_vocabulary.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

std::u32string characters_of(const nlohmann::json& json) {
  const auto found = json.find("characters");
  if (found == json.end() || !found->is_string())
    throw DataError("tokenizer: type \"char\" needs \"characters\", a string of all its characters");
  const std::string text = *found;
  if (find_invalid_utf8(text) != std::string::npos) throw DataError("tokenizer: \"characters\" is not valid UTF-8");
  std::u32string characters;
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    const Utf8Character character = decode_utf8(at, end);
    characters += character.point;
    at += character.length;
  }
  return characters;
}

}  // namespace

std::vector<std::int32_t> Tokenizer::encode(std::string_view utf8) const {
  std::vector<std::int32_t> ids;
  encoder()->append(utf8, ids);
  return ids;
}

std::size_t Tokenizer::cut(std::string_view text) const { return whole_characters(text); }

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool name_ends) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int32_t id : ids) text += name_ends && id == end_of_text() ? end_of_text_name() : bytes(id);
  return text;
}

std::unique_ptr<Tokenizer> Tokenizer::from_json(const nlohmann::json& json) {
  if (!json.is_object()) throw DataError("tokenizer: expected a JSON object with a \"type\"");
  const auto type = json.find("type");
  if (type == json.end() || !type->is_string()) throw DataError("tokenizer: \"type\" is missing or no string");
  if (*type == "byte") return make_byte_tokenizer();
  if (*type == "bpe") return make_bpe_tokenizer(bpe_vocabulary_from_json(json));
  if (*type != "char")
    throw DataError(fmt::format("tokenizer: unknown type {} (known: \"char\", \"byte\", \"bpe\")", type->dump()));
  const auto end_of_text = json.find("end_of_text");
  if (end_of_text == json.end() || !end_of_text->is_boolean())
    throw DataError("tokenizer: type \"char\" needs \"end_of_text\", true or false");
  return make_char_tokenizer(characters_of(json), end_of_text->get<bool>());
}

std::string StreamDecoder::push(std::int32_t id) {
  pending_ += tokenizer_.bytes(id);
  std::string out;
  const char* at = pending_.data();
  const char* const end = at + pending_.size();
  while (at < end) {
    const Utf8Character character = decode_utf8(at, end);
    if (character.status == Utf8Status::kTruncated) break;
    if (character.status == Utf8Status::kOk)
      out.append(at, static_cast<std::size_t>(character.length));
    else
      out += kReplacement;
    at += character.length;
  }
  pending_.erase(0, static_cast<std::size_t>(at - pending_.data()));
  return out;
}

std::string StreamDecoder::finish() {
  if (pending_.empty()) return "";
  pending_.clear();
  return kReplacement;
}

}  // namespace tradewind::runtime
