#include "runtime/text/huggingface_files.h"

#include <fstream>
#include <iterator>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/text/bpe_vocabulary.h"

namespace tradewind::runtime {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kOurs = "tradewind_tokenizer.json";

/// {"!": 0, ...}: every token by what stands for it. `printable`: of GPT-2's kind; else the text itself.
Json vocabulary_of(const Tokenizer& tokenizer, bool printable) {
  Json out = Json::object();
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    std::string text;
    if (id == tokenizer.end_of_text())
      text = kEndOfTextName;
    else if (printable)
      text = characters_of(tokenizer.bytes(id));
    else
      text = tokenizer.bytes(id);
    out.get_ref<Json::object_t&>().emplace_back(text, id);  // by operator[] it would search all before it
  }
  return out;
}

Json added_tokens(const Tokenizer& tokenizer) {
  if (!tokenizer.end_of_text()) return Json::array();
  return {{{"id", *tokenizer.end_of_text()},
           {"content", kEndOfTextName},
           {"single_word", false},
           {"lstrip", false},
           {"rstrip", false},
           {"normalized", false},
           {"special", true}}};
}

Json tokenizer_json(const Tokenizer& tokenizer, const Json& pre_tokenizer, const Json& decoder, const Json& model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added_tokens(tokenizer)},
          {"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer},
          {"post_processor", nullptr},
          {"decoder", decoder},
          {"model", model}};
}

/// Byte-level BPE. `merges`: one a line, "left right".
void add_byte_level(std::map<std::string, std::string>& files, const Tokenizer& tokenizer, const std::string& merges) {
  Json list = Json::array();
  std::istringstream lines(merges);
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) list.push_back(line);
  const Json vocabulary = vocabulary_of(tokenizer, true);
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json model = {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", nullptr},
                      {"continuing_subword_prefix", ""},
                      {"end_of_word_suffix", ""},
                      {"fuse_unk", false},
                      {"byte_fallback", false},
                      {"vocab", vocabulary},
                      {"merges", list}};
  files["tokenizer.json"] = tokenizer_json(tokenizer, byte_level, byte_level, model).dump() + "\n";
  files["vocab.json"] = vocabulary.dump() + "\n";
  files["merges.txt"] = "#version: 0.2\n" + merges + (merges.empty() || merges.ends_with('\n') ? "" : "\n");
}

/// One token a character: a vocabulary of words, after cutting the text between all characters.
void add_characters(std::map<std::string, std::string>& files, const Tokenizer& tokenizer) {
  const Json model = {{"type", "WordLevel"}, {"vocab", vocabulary_of(tokenizer, false)}, {"unk_token", kEndOfTextName}};
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", "[\\s\\S]"}}}, {"behavior", "Isolated"}, {"invert", false}};
  files["tokenizer.json"] = tokenizer_json(tokenizer, split, {{"type", "Fuse"}}, model).dump() + "\n";
}

std::string text_of_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw ConfigError("cannot read " + file.string() + "; is there permission?");
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::map<std::string, std::string> huggingface_files(const Tokenizer& tokenizer, std::int64_t context) {
  std::map<std::string, std::string> files;
  if (tokenizer.name() == "byte")
    add_byte_level(files, tokenizer, "");
  else if (tokenizer.name() == "bpe")
    add_byte_level(files, tokenizer, tokenizer.to_json().at("merges").get<std::string>());
  else if (tokenizer.name() == "char")
    add_characters(files, tokenizer);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"model_max_length", context},
                 {"clean_up_tokenization_spaces", false},
                 {"add_prefix_space", false}};
  if (tokenizer.end_of_text()) config["bos_token"] = config["eos_token"] = config["unk_token"] = kEndOfTextName;
  files["tokenizer_config.json"] = config.dump(2) + "\n";
  files[kOurs] = tokenizer.to_json().dump() + "\n";
  return files;
}

std::unique_ptr<Tokenizer> read_huggingface_tokenizer(const fs::path& directory) {
  const fs::path ours = directory / kOurs;
  if (!fs::exists(ours) && (fs::exists(directory / "vocab.json") || fs::exists(directory / "encoder.json")))
    return make_bpe_tokenizer(read_bpe_vocabulary(directory, "DIR"));
  if (!fs::exists(ours))
    throw ConfigError(directory.string() +
                      " holds no tokenizer that this version reads (vocab.json and merges.txt); where the "
                      "model's ids are bytes, add --tokenizer byte");
  try {
    return Tokenizer::from_json(nlohmann::json::parse(text_of_file(ours)));
  } catch (const nlohmann::json::exception& e) {
    throw DataError("reading " + ours.string() + ": it is no JSON: " + e.what());
  }
}

}  // namespace tradewind::runtime
