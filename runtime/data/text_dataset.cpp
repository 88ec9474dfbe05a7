#include "runtime/data/text_dataset.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "runtime/data/reader.h"
#include "runtime/data/shuffle.h"
#include "runtime/text/bpe_vocabulary.h"

namespace tradewind::runtime {
namespace {

constexpr std::uint64_t kOffsetPurpose = 0x4F4646534554;  // "OFFSET"

}  // namespace

void DataConfig::describe(Fields& f) {
  f.field("path", path, "Training text: a text or JSON lines file, plain or compressed with gzip, zstd or xz.");
  f.field("validation_path", validation_path, "A file to validate on; empty: the last part of data.path.");
  f.field("validation_fraction", validation_fraction, "The part of data.path to validate on; 0: none.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("format", format, "auto: JSON lines where the name ends in .jsonl or .ndjson, else text.", {"auto", "text", "jsonl"});
  f.field("text_key", text_key, "JSON lines: the key that holds the text.");
  f.field("documents", documents,
          "How a text file is cut into documents: not at all, at every line, at blank lines. JSON lines hold one a line.",
          {"whole", "line", "blank_line"});
  f.field("tokenizer", tokenizer, "One token a character, a byte, or byte-level BPE.", {"char", "byte", "bpe"});
  f.field("vocabulary", vocabulary,
          "bpe: the folder of its files, vocab.json and merges.txt (GPT-2's: encoder.json, vocab.bpe).");
  f.field("shuffle", shuffle, "Shuffle the blocks of text, differently each epoch.");
}

bool DataConfig::json_lines() const { return format == "jsonl" || (format == "auto" && named_json_lines(path)); }

void TokenArray::append(std::span<const std::int32_t> ids) {
  if (narrow_)
    for (const std::int32_t id : ids) short_.push_back(static_cast<std::uint16_t>(id));
  else
    long_.insert(long_.end(), ids.begin(), ids.end());
}

TextDataset::TextDataset(std::shared_ptr<const TokenArray> stream, std::int64_t begin, std::int64_t end,
                         std::shared_ptr<const std::vector<std::int32_t>> token_bytes, const Options& options,
                         Allocator& allocator)
    : stream_(std::move(stream)),
      begin_(begin),
      end_(end),
      token_bytes_(std::move(token_bytes)),
      options_(options),
      allocator_(allocator) {
  const std::int64_t context = options_.context;
  require(context >= 1 && begin_ >= 0 && end_ <= stream_->size(), "TextDataset", "context or token range is out of bounds");
  if (tokens() <= context)
    throw DataError(
        fmt::format("model.context = {} is too long for {}: it has {} tokens, and a block needs context + 1. Lower "
                    "model.context, or give more text",
                    context, options_.what, std::max<std::int64_t>(tokens(), 0)));
  // The last token is a target only. Training keeps context - 1 tokens free, so that every offset gives as many blocks; a text
  // too short for that still gives one.
  const bool moves = options_.offset_seed.has_value();
  samples_ = moves ? std::max<std::int64_t>((tokens() - context) / context, 1) : (tokens() - 1) / context;
  offsets_ = moves ? std::min(context, tokens() - samples_ * context) : 1;
}

std::int64_t TextDataset::first_token(std::int64_t epoch, std::int64_t index) const {
  require(index >= 0 && index < samples_, "TextDataset", "no such sample");
  const std::int64_t offset =
      options_.offset_seed ? random_below(*options_.offset_seed, kOffsetPurpose, static_cast<std::uint64_t>(epoch), offsets_)
                           : 0;
  return offset + index * options_.context;
}

Batch TextDataset::collate(std::span<const SampleRef> samples) const {
  const std::int64_t context = options_.context;
  const auto count = static_cast<std::int64_t>(samples.size());
  const std::int64_t rows = count * context;
  const Tensor ids(allocator_, {rows}, DType::kInt32), targets(allocator_, {rows}, DType::kInt32);
  const Tensor positions(allocator_, {rows}, DType::kInt32), slots(allocator_, {rows}, DType::kInt32);
  const Tensor running(allocator_, {rows}, DType::kUInt64);
  auto* const id = ids.data<std::int32_t>();
  auto* const target = targets.data<std::int32_t>();
  auto* const position = positions.data<std::int32_t>();
  auto* const slot = slots.data<std::int32_t>();
  auto* const sample = running.data<std::uint64_t>();

  Batch batch;
  std::vector<std::int64_t> offsets{0};
  std::int64_t row = 0;
  const auto close = [&] {
    if (row == offsets.back()) return;
    batch.max_length = std::max(batch.max_length, row - offsets.back());
    offsets.push_back(row);
  };
  for (const SampleRef& reference : samples) {
    const std::int64_t first = begin_ + first_token(reference.epoch, reference.index);
    for (std::int64_t t = 0; t < context; ++t, ++row) {
      id[row] = (*stream_)[first + t];
      if (t > 0 && options_.separator && id[row] == *options_.separator) close();
      target[row] = (*stream_)[first + t + 1];
      position[row] = static_cast<std::int32_t>(row - offsets.back());
      slot[row] = static_cast<std::int32_t>(t);
      sample[row] = reference.running;
      batch.bytes_of_text += (*token_bytes_)[static_cast<std::size_t>(target[row])];
    }
    close();
  }
  const Tensor boundaries(allocator_, {static_cast<std::int64_t>(offsets.size())}, DType::kInt64);
  std::copy(offsets.begin(), offsets.end(), boundaries.data<std::int64_t>());
  batch.fields = {{"ids", ids},         {"targets", targets}, {"offsets", boundaries}, {"positions", positions},
                  {"samples", running}, {"slots", slots}};
  batch.samples = count;
  batch.tokens = batch.valid = rows;
  return batch;
}

// From files to data sets: read, tokenise, split.

namespace {

Documents read_part(const DataConfig& config, const std::string& path, const std::string& key) {
  ReadOptions options;
  options.json_lines = config.format == "jsonl" || (config.format == "auto" && named_json_lines(path));
  options.text_key = config.text_key;
  options.path_key = key;
  options.cut = config.documents == "line"         ? DocumentCut::kLine
                : config.documents == "blank_line" ? DocumentCut::kBlankLine
                                                   : DocumentCut::kWhole;
  return read_documents(path, options);
}

std::shared_ptr<Tokenizer> read_bpe_tokenizer(const DataConfig& config, bool separate) {
  if (config.vocabulary.empty())
    throw ConfigError(
        "data.tokenizer = \"bpe\" needs a vocabulary: set data.vocabulary to a folder with vocab.json and merges.txt, as "
        "GPT-2's");
  BpeVocabulary vocabulary = read_bpe_vocabulary(config.vocabulary, "data.vocabulary");
  if (separate && !vocabulary.end_of_text())
    throw ConfigError(
        fmt::format("the text is cut into documents (data.documents, JSON lines), but the vocabulary in {} has no {} to set "
                    "between them. Take "
                    "another vocabulary, or data.documents = \"whole\" and a text file",
                    config.vocabulary, kEndOfTextName));
  return make_bpe_tokenizer(std::move(vocabulary));
}

std::shared_ptr<Tokenizer> choose_tokenizer(const DataConfig& config, std::span<const std::string_view> texts, bool separate,
                                            const Tokenizer* existing) {
  if (!config.vocabulary.empty() && config.tokenizer != "bpe")
    throw ConfigError(
        fmt::format("data.vocabulary is for data.tokenizer = \"bpe\", which is \"{}\". Leave one out", config.tokenizer));
  if (existing != nullptr) {
    if (existing->name() != config.tokenizer)
      throw ConfigError(fmt::format("data.tokenizer = \"{}\", but the model was trained with \"{}\". Set it back",
                                    config.tokenizer, existing->name()));
    if (separate && !existing->end_of_text())
      throw ConfigError(
          "data.documents cuts the text into documents, but the model was trained without an end-of-text token. Set "
          "data.documents "
          "= \"whole\" and use a text file");
    return Tokenizer::from_json(existing->to_json());
  }
  if (config.tokenizer == "byte") return make_byte_tokenizer();
  if (config.tokenizer == "bpe") return read_bpe_tokenizer(config, separate);
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

/// The first token of validation: int(size * (1 - fraction)) in a whole text, else the separator nearest after it (before it,
/// where none but the last follows).
std::int64_t split_point(const TokenArray& stream, double fraction, std::optional<std::int32_t> separator,
                         const std::string& file) {
  const auto wanted = static_cast<std::int64_t>(static_cast<double>(stream.size()) * (1 - fraction));
  if (!separator) return wanted;
  const std::int64_t last = stream.size() - 1;  // a separator, and so is 0
  std::int64_t at = std::max<std::int64_t>(wanted, 1);
  while (at < last && stream[at] != *separator) ++at;
  if (at >= last)
    for (at = last - 1; at > 0 && stream[at] != *separator;) --at;
  if (at <= 0)
    throw DataError(
        fmt::format("{} holds one document, which cannot be split into training and validation. Set data.validation_path, "
                    "data.validation_fraction = 0 or, for a text file, data.documents = \"whole\"",
                    file));
  return at;
}

std::string with_commas(std::int64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

std::string describe_file(const Documents& documents, bool separate) {
  std::string out = fmt::format("{}: {} bytes", documents.file, with_commas(static_cast<std::int64_t>(documents.bytes)));
  if (!documents.compression.empty()) out += " in " + documents.compression;
  if (separate) out += fmt::format(", {} documents", with_commas(static_cast<std::int64_t>(documents.entries.size())));
  return out;
}

}  // namespace

TextCorpus load_text_corpus(const DataConfig& config, std::int64_t context, std::uint64_t seed, const Tokenizer* existing) {
  if (config.path.empty()) throw ConfigError("data.path is not set. Name a text or JSON lines file: --set data.path=FILE");
  const bool separate = config.separates();
  Documents text = read_part(config, config.path, "data.path");
  std::optional<Documents> other;
  if (!config.validation_path.empty()) other = read_part(config, config.validation_path, "data.validation_path");

  TextCorpus corpus;
  std::vector<std::string_view> texts;
  for (const Documents* documents : {&text, other ? &*other : nullptr})
    for (std::size_t i = 0; documents != nullptr && i < documents->entries.size(); ++i) texts.push_back((*documents)[i]);
  corpus.tokenizer = choose_tokenizer(config, texts, separate, existing);
  const Tokenizer& tokenizer = *corpus.tokenizer;
  auto token_bytes = std::make_shared<std::vector<std::int32_t>>();
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id)
    token_bytes->push_back(static_cast<std::int32_t>(tokenizer.bytes_of(id)));

  const auto stream = tokenise(text, tokenizer, separate);
  std::string files = describe_file(text, separate);
  text.text = {};  // it may be large
  TextDataset::Options options{.context = context};
  if (separate) options.separator = tokenizer.end_of_text();
  const auto make = [&](const std::shared_ptr<const TokenArray>& from, std::int64_t begin, std::int64_t end,
                        const Documents& documents) {
    options.checksum = documents.checksum;
    return std::make_shared<TextDataset>(from, begin, end, token_bytes, options);
  };
  const bool split = !other && config.validation_fraction > 0;
  const std::int64_t cut =
      split ? split_point(*stream, config.validation_fraction, options.separator, text.file) : stream->size();
  options.what = "the training part of " + text.file;
  options.offset_seed = seed;
  // The separator at the cut is the last target of one part and the first input of the other.
  corpus.train = make(stream, 0, split && separate ? cut + 1 : cut, text);
  options.offset_seed.reset();
  if (split) {
    options.what =
        fmt::format("the validation part of {} (data.validation_fraction = {})", text.file, config.validation_fraction);
    corpus.validation = make(stream, cut, stream->size(), text);
  } else if (other) {
    options.what = other->file;
    const auto validation_stream = tokenise(*other, tokenizer, separate);
    corpus.validation = make(validation_stream, 0, validation_stream->size(), *other);
    files += "\n" + describe_file(*other, separate);
  }

  corpus.summary = fmt::format("{}\ntokenizer {}, vocabulary {}\ntraining: {} tokens, {} blocks of {} an epoch", files,
                               tokenizer.name(), with_commas(tokenizer.vocabulary_size()), with_commas(corpus.train->tokens()),
                               with_commas(corpus.train->samples_per_epoch()), context);
  if (corpus.validation)
    corpus.summary += fmt::format("\nvalidation: {} tokens, {} windows of {}", with_commas(corpus.validation->tokens()),
                                  with_commas(corpus.validation->samples_per_epoch()), context);
  return corpus;
}

}  // namespace tradewind::runtime
