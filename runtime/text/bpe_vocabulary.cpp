#include "runtime/text/bpe_vocabulary.h"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;

constexpr bool shows_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/// The character that stands for each byte.
constexpr std::array<char32_t, 256> kCharacters = [] {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    characters[static_cast<std::size_t>(byte)] = shows_itself(byte) ? static_cast<char32_t>(byte) : next++;
  return characters;
}();

/// The byte that each character below 0x144 stands for, -1 where it stands for none.
constexpr std::array<int, 0x144> kBytes = [] {
  std::array<int, 0x144> bytes{};
  bytes.fill(-1);
  for (int byte = 0; byte < 256; ++byte) bytes[kCharacters[static_cast<std::size_t>(byte)]] = byte;
  return bytes;
}();

/// Nothing where a character stands for no byte.
std::optional<std::string> bytes_of(std::string_view characters) {
  std::string out;
  for (const char *at = characters.data(), *end = at + characters.size(); at < end;) {
    const Utf8Character character = decode_utf8(at, end);
    if (character.status != Utf8Status::kOk || character.point >= kBytes.size() || kBytes[character.point] < 0) return {};
    out += static_cast<char>(kBytes[character.point]);
    at += character.length;
  }
  return out;
}

/// The merges of a text with one a line, "left right". `name` is the file, for messages. `complete`: all tokens are known
/// already.
void read_merges(BpeVocabulary& vocabulary, std::string_view text, const std::string& name, bool complete) {
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const auto fail = [&](const std::string& what) {
      throw DataError(fmt::format("{}:{}: \"{}\": {}. Fetch the vocabulary's files again", name, number, line, what));
    };
    const std::size_t blank = line.find(' ');
    if (blank == std::string_view::npos || line.find(' ', blank + 1) != std::string_view::npos)
      fail("a merge is two tokens with a blank between them");
    const auto token = [&](std::string_view characters) {
      const auto bytes = bytes_of(characters);
      const auto id = bytes ? vocabulary.find(*bytes) : std::nullopt;
      if (!id) fail(fmt::format("\"{}\" is no token of the vocabulary", characters));
      return *id;
    };
    const std::int32_t left = token(line.substr(0, blank)), right = token(line.substr(blank + 1));
    const std::int64_t known = vocabulary.size();
    vocabulary.merge(left, right);
    if (complete && vocabulary.size() != known) fail("what it makes is no token of the vocabulary");
  }
}

std::string contents_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream || !text) throw DataError(fmt::format("{} cannot be read", file.string()));
  return std::move(text).str();
}

/// The keys of vocab.json by their ids.
std::vector<std::string> read_tokens(const fs::path& file) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(contents_of(file));
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: {}. Fetch the vocabulary's files again", file.string(), e.what()));
  }
  const auto fail = [&](const std::string& what) { throw DataError(fmt::format("{}: {}", file.string(), what)); };
  if (!json.is_object() || json.empty()) fail("expected a JSON object of tokens and their ids");
  std::vector<std::string> tokens(json.size());
  std::vector<bool> seen(json.size(), false);
  for (const auto& [characters, value] : json.items()) {
    const auto id = value.is_number_unsigned() ? value.get<std::uint64_t>() : tokens.size();
    if (id >= tokens.size() || seen[id])
      fail(fmt::format("token \"{}\" has the id {}; {} tokens must have the ids 0 to {}, each once", characters, value.dump(),
                       tokens.size(), tokens.size() - 1));
    // A special token of another model, which no text comes to: it stands for its name.
    tokens[id] = bytes_of(characters).value_or(characters);
    seen[id] = true;
  }
  return tokens;
}

}  // namespace

std::string characters_of(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) append_utf8(out, kCharacters[static_cast<unsigned char>(c)]);
  return out;
}

BpeVocabulary BpeVocabulary::of_bytes() {
  std::vector<std::string> tokens;
  for (const int byte : kBytes)
    if (byte >= 0) tokens.emplace_back(1, static_cast<char>(byte));
  return of_tokens(std::move(tokens));
}

BpeVocabulary BpeVocabulary::of_tokens(std::vector<std::string> tokens) {
  BpeVocabulary out;
  for (std::string& token : tokens) {
    const auto id = static_cast<std::int32_t>(out.tokens_.size());
    if (token == kEndOfTextName) out.end_of_text_ = id;
    if (out.add(std::move(token)) != id) throw DataError(fmt::format("tokenizer: token {} is there twice", id));
  }
  for (int byte = 0; byte < 256; ++byte)
    if (!out.find(std::string(1, static_cast<char>(byte))))
      throw DataError(fmt::format("tokenizer: the byte 0x{:02X} (\"{}\") is no token; a byte-level BPE has all 256", byte,
                                  characters_of(std::string(1, static_cast<char>(byte)))));
  return out;
}

std::optional<std::int32_t> BpeVocabulary::find(std::string_view bytes) const {
  const auto found = ids_.find(std::string(bytes));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::int32_t BpeVocabulary::merge(std::int32_t left, std::int32_t right) {
  const std::int32_t result = add(tokens_[static_cast<std::size_t>(left)] + tokens_[static_cast<std::size_t>(right)]);
  merges_.push_back({left, right, result});
  return result;
}

void BpeVocabulary::add_end_of_text() { end_of_text_ = add(std::string(kEndOfTextName)); }

std::int32_t BpeVocabulary::add(std::string bytes) {
  const auto [found, added] = ids_.try_emplace(bytes, static_cast<std::int32_t>(tokens_.size()));
  if (added) tokens_.push_back(std::move(bytes));
  return found->second;
}

BpeVocabulary read_bpe_vocabulary(const fs::path& folder, const std::string& key) {
  std::error_code ignored;
  for (const auto& [tokens, merges] : {std::pair("vocab.json", "merges.txt"), std::pair("encoder.json", "vocab.bpe")}) {
    if (!fs::exists(folder / tokens, ignored) || !fs::exists(folder / merges, ignored)) continue;
    BpeVocabulary vocabulary = BpeVocabulary::of_tokens(read_tokens(folder / tokens));
    read_merges(vocabulary, contents_of(folder / merges), (folder / merges).string(), true);
    return vocabulary;
  }
  throw ConfigError(
      fmt::format("{} = \"{}\" has neither vocab.json and merges.txt nor encoder.json and vocab.bpe (working directory {}). "
                  "Name the folder "
                  "of GPT-2's vocabulary",
                  key, folder.string(), fs::current_path(ignored).string()));
}

nlohmann::json to_json(const BpeVocabulary& vocabulary) {
  BpeVocabulary canonical = BpeVocabulary::of_bytes();
  const auto& tokens = vocabulary.tokens();
  std::string merges;
  for (const BpeVocabulary::Merge& merge : vocabulary.merges()) {
    const std::string &left = tokens[static_cast<std::size_t>(merge.left)],
                      &right = tokens[static_cast<std::size_t>(merge.right)];
    merges += fmt::format("{}{} {}", merges.empty() ? "" : "\n", characters_of(left), characters_of(right));
    const auto first = canonical.find(left), second = canonical.find(right);
    if (first && second) canonical.merge(*first, *second);
  }
  if (vocabulary.end_of_text()) canonical.add_end_of_text();
  nlohmann::json out = {{"type", "bpe"}, {"merges", merges}, {"end_of_text", vocabulary.end_of_text().has_value()}};
  if (canonical.tokens() == tokens) return out;
  std::string all;
  for (const std::string& token : tokens) {
    if (!all.empty()) all += '\n';
    all += characters_of(token);
  }
  out["tokens"] = all;
  return out;
}

BpeVocabulary bpe_vocabulary_from_json(const nlohmann::json& json) {
  const auto merges = json.find("merges"), end_of_text = json.find("end_of_text"), tokens = json.find("tokens");
  if (merges == json.end() || !merges->is_string())
    throw DataError("tokenizer: type \"bpe\" needs \"merges\", a string with one merge a line");
  if (end_of_text == json.end() || !end_of_text->is_boolean())
    throw DataError("tokenizer: type \"bpe\" needs \"end_of_text\", true or false");
  BpeVocabulary out = BpeVocabulary::of_bytes();
  if (tokens != json.end()) {
    if (!tokens->is_string()) throw DataError("tokenizer: \"tokens\" must be a string with one token a line");
    std::vector<std::string> all;
    std::istringstream lines(tokens->get<std::string>());
    for (std::string line; std::getline(lines, line);) {
      const auto bytes = bytes_of(line);
      if (!bytes)
        throw DataError(fmt::format("tokenizer: \"{}\" in \"tokens\" is not written in the characters of bytes", line));
      all.push_back(*bytes);
    }
    out = BpeVocabulary::of_tokens(std::move(all));
  }
  read_merges(out, merges->get_ref<const std::string&>(), "tokenizer", tokens != json.end());
  if (end_of_text->get<bool>()) out.add_end_of_text();
  return out;
}

}  // namespace tradewind::runtime
