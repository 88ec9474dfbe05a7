#include "runtime/data/corpus_parts.h"

#include <fmt/format.h>

#include "kernels/base/error.h"
#include "runtime/data/prepared_file.h"
#include "runtime/text/bpe_vocabulary.h"

namespace tradewind::runtime {
namespace {

[[noreturn]] void refuse_without_end(const std::string& what, const std::string& remedy) {
  throw ConfigError(fmt::format("the text is cut into documents (data.documents, JSON lines, CSV), but {}. {}", what, remedy));
}

std::shared_ptr<Tokenizer> choose_tokenizer(const DataConfig& config, std::span<const std::string_view> texts, bool separate,
                                            const Tokenizer* existing) {
  if (existing != nullptr) {
    if (existing->name() != config.tokenizer)
      throw ConfigError(fmt::format("data.tokenizer = \"{}\", but the model was trained with \"{}\". Set it back",
                                    config.tokenizer, existing->name()));
    if (separate && !existing->end_of_text())
      refuse_without_end("the model was trained without an end-of-text token",
                         "Set data.documents = \"whole\" and use a text file");
    return Tokenizer::from_json(existing->to_json());
  }
  if (auto named = named_tokenizer(config)) return named;
  if (config.tokenizer == "bpe")
    throw ConfigError(
        "data.tokenizer = \"bpe\" needs a vocabulary: set data.vocabulary to a folder with vocab.json and merges.txt, as "
        "GPT-2's, or "
        "let `tradewind prepare --vocabulary-size N` make one of the text");
  return make_char_tokenizer(distinct_characters(texts), separate);
}

/// The stream of text_dataset.h.
std::shared_ptr<const TokenArray> tokenise(const Documents& documents, const Tokenizer& tokenizer, bool separate) {
  auto stream = std::make_shared<TokenArray>(tokenizer.vocabulary_size());
  const auto encoder = tokenizer.encoder();
  std::vector<std::int32_t> ids;
  const std::int32_t separator = separate ? *tokenizer.end_of_text() : 0;
  for (std::size_t i = 0; i < documents.entries.size(); ++i) {
    if (separate) stream->append({&separator, 1});
    ids.clear();
    try {
      encoder->append(documents[i], ids);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}, the document at line {}: {}", documents.file, documents.entries[i].line, error.what()));
    }
    stream->append(ids);
  }
  if (separate) stream->append({&separator, 1});
  return stream;
}

std::string describe_file(const Documents& documents, bool separate) {
  std::string out = fmt::format("{}: {} bytes", documents.file, with_commas(static_cast<std::int64_t>(documents.bytes)));
  if (!documents.compression.empty()) out += " in " + documents.compression;
  if (separate) out += fmt::format(", {} documents", with_commas(static_cast<std::int64_t>(documents.entries.size())));
  return out;
}

TextPart encode_part(const Documents& documents, const Tokenizer& tokenizer, bool separate) {
  return {.tokens = tokenise(documents, tokenizer, separate),
          .file = documents.file,
          .description = describe_file(documents, separate),
          .checksum = documents.checksum};
}

}  // namespace

std::string with_commas(std::int64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

TextFormat text_format(const DataConfig& config, const std::string& path) {
  if (config.format == "auto") return format_of_name(path);
  return config.format == "jsonl" ? TextFormat::kJsonLines : config.format == "csv" ? TextFormat::kCsv : TextFormat::kText;
}

std::string documents_of(const DataConfig& config, TextFormat format) {
  return format == TextFormat::kJsonLines ? "json_lines" : format == TextFormat::kCsv ? "csv" : config.documents;
}

ReadOptions read_options(const DataConfig& config, const std::string& path, const std::string& key) {
  return {.format = text_format(config, path),
          .text_key = config.text_key,
          .cut = config.documents == "line"         ? DocumentCut::kLine
                 : config.documents == "blank_line" ? DocumentCut::kBlankLine
                                                    : DocumentCut::kWhole,
          .path_key = key};
}

std::shared_ptr<Tokenizer> named_tokenizer(const DataConfig& config) {
  if (!config.vocabulary.empty() && config.tokenizer != "bpe")
    throw ConfigError(
        fmt::format("data.vocabulary is for data.tokenizer = \"bpe\", which is \"{}\". Leave one out", config.tokenizer));
  if (config.tokenizer == "byte") return make_byte_tokenizer();
  if (config.vocabulary.empty()) return nullptr;
  BpeVocabulary vocabulary = read_bpe_vocabulary(config.vocabulary, "data.vocabulary");
  if (config.separates() && !vocabulary.end_of_text())
    refuse_without_end(fmt::format("the vocabulary in {} has no {} to set between them", config.vocabulary, kEndOfTextName),
                       "Take another vocabulary, or data.documents = \"whole\" and a text file");
  return make_bpe_tokenizer(std::move(vocabulary));
}

CorpusParts encode_corpus(const DataConfig& config, const Tokenizer* existing) {
  if (config.path.empty()) throw ConfigError("data.path is not set. Name a text, JSON lines or CSV file: --set data.path=FILE");
  if (is_prepared(config.path))
    throw ConfigError(
        fmt::format("data.path = \"{}\" is a prepared file. Set data.prepared to it, and data.path to the text that it "
                    "was made of, or to nothing",
                    config.path));
  const bool separate = config.separates();
  Documents text = read_documents(config.path, read_options(config, config.path, "data.path"));
  std::optional<Documents> other;
  if (!config.validation_path.empty())
    other = read_documents(config.validation_path, read_options(config, config.validation_path, "data.validation_path"));

  std::vector<std::string_view> texts;
  for (const Documents* documents : {&text, other ? &*other : nullptr})
    for (std::size_t i = 0; documents != nullptr && i < documents->entries.size(); ++i) texts.push_back((*documents)[i]);
  CorpusParts parts;
  parts.tokenizer = choose_tokenizer(config, texts, separate, existing);
  parts.text = encode_part(text, *parts.tokenizer, separate);
  text.text = {};  // it may be large
  if (other) parts.validation = encode_part(*other, *parts.tokenizer, separate);
  return parts;
}

}  // namespace tradewind::runtime
