#include "runtime/data/text_dataset.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/reader.h"
#include "runtime/data/shuffle.h"

namespace tradewind::runtime {
namespace {

constexpr std::uint64_t kOffsetPurpose = 0x4F4646534554;  // "OFFSET"

}  // namespace

void DataConfig::describe(Fields& f) {
  f.field("path", path, "Training text: a text, JSON lines, CSV or TSV file, plain or compressed with gzip, zstd or xz.");
  f.field("prepared", prepared,
          "The HDF5 file that `tradewind prepare` makes of the text; where it is set, training reads it and not data.path.");
  f.field("validation_path", validation_path, "A file to validate on; empty: the last part of data.path.");
  f.field("validation_fraction", validation_fraction, "The part of data.path to validate on; 0: none.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("format", format,
          "auto: by the name, JSON lines for .jsonl and .ndjson, CSV for .csv and .tsv, else text. csv: the first line names "
          "the columns.",
          {"auto", "text", "jsonl", "csv"});
  f.field("text_key", text_key, "JSON lines: the key that holds the text; CSV: the column.");
  f.field("documents", documents,
          "How a text file is cut into documents: not at all, at every line, at blank lines. JSON lines hold one a line, CSV "
          "one a record.",
          {"whole", "line", "blank_line"});
  f.field("tokenizer", tokenizer, "One token a character, a byte, or byte-level BPE.", {"char", "byte", "bpe"});
  f.field("vocabulary", vocabulary,
          "bpe: the folder of its files, vocab.json and merges.txt (GPT-2's: encoder.json, vocab.bpe).");
  f.field("shuffle", shuffle, "Shuffle the blocks of text, differently each epoch.");
}

bool DataConfig::separates() const { return documents != "whole" || text_format(*this, path) != TextFormat::kText; }

TextDataset::TextDataset(std::shared_ptr<const TokenSource> stream, std::int64_t begin, std::int64_t end,
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
  std::vector<std::int32_t> neighbours(static_cast<std::size_t>(context) + 1);
  std::vector<std::int64_t> offsets{0};
  std::int64_t row = 0;
  const auto close = [&] {
    if (row == offsets.back()) return;
    batch.max_length = std::max(batch.max_length, row - offsets.back());
    offsets.push_back(row);
  };
  for (const SampleRef& reference : samples) {
    const std::int64_t first = begin_ + first_token(reference.epoch, reference.index);
    stream_->read(first, neighbours);
    for (std::int64_t t = 0; t < context; ++t, ++row) {
      id[row] = neighbours[static_cast<std::size_t>(t)];
      if (t > 0 && options_.separator && id[row] == *options_.separator) close();
      target[row] = neighbours[static_cast<std::size_t>(t) + 1];
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

// From parts to data sets.

namespace {

/// The first place from `begin` on where the token is `sought`; `end` where there is none before it.
std::int64_t find_token(const TokenSource& source, std::int32_t sought, std::int64_t begin, std::int64_t end) {
  std::vector<std::int32_t> ids;
  for (std::int64_t at = begin; at < end; at += static_cast<std::int64_t>(ids.size())) {
    ids.resize(static_cast<std::size_t>(std::min<std::int64_t>(end - at, 1 << 16)));
    source.read(at, ids);
    const auto found = std::find(ids.begin(), ids.end(), sought);
    if (found != ids.end()) return at + (found - ids.begin());
  }
  return end;
}

/// The last place before `end` where the token is `sought`; 0 where there is none.
std::int64_t find_last_token(const TokenSource& source, std::int32_t sought, std::int64_t end) {
  std::vector<std::int32_t> ids;
  for (std::int64_t at = end; at > 0; at -= static_cast<std::int64_t>(ids.size())) {
    ids.resize(static_cast<std::size_t>(std::min<std::int64_t>(at, 1 << 16)));
    source.read(at - static_cast<std::int64_t>(ids.size()), ids);
    const auto found = std::find(ids.rbegin(), ids.rend(), sought);
    if (found != ids.rend()) return at - 1 - (found - ids.rbegin());
  }
  return 0;
}

/// The first token of validation: int(size * (1 - fraction)) in a whole text, else the separator nearest after it (before it,
/// where none but the last follows).
std::int64_t split_point(const TokenSource& source, double fraction, std::optional<std::int32_t> separator,
                         const std::string& file) {
  const auto wanted = static_cast<std::int64_t>(static_cast<double>(source.size()) * (1 - fraction));
  if (!separator) return wanted;
  const std::int64_t last = source.size() - 1;  // a separator, and so is 0
  std::int64_t at = find_token(source, *separator, std::max<std::int64_t>(wanted, 1), last);
  if (at >= last) at = find_last_token(source, *separator, last);
  if (at <= 0)
    throw DataError(
        fmt::format("{} holds one document, which cannot be split into training and validation. Set data.validation_path, "
                    "data.validation_fraction = 0 or, for a text file, data.documents = \"whole\"",
                    file));
  return at;
}

}  // namespace

TextCorpus load_text_corpus(const DataConfig& config, std::int64_t context, std::uint64_t seed, const Tokenizer* existing) {
  const bool separate = config.separates();
  const CorpusParts parts = config.prepared.empty() ? encode_corpus(config, existing) : open_prepared_corpus(config, existing);
  TextCorpus corpus;
  corpus.tokenizer = parts.tokenizer;
  const Tokenizer& tokenizer = *corpus.tokenizer;
  auto token_bytes = std::make_shared<std::vector<std::int32_t>>();
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id)
    token_bytes->push_back(static_cast<std::int32_t>(tokenizer.bytes_of(id)));

  const TextPart& text = parts.text;
  const TokenSource& stream = *text.tokens;
  TextDataset::Options options{.context = context};
  if (separate) options.separator = tokenizer.end_of_text();
  const auto make = [&](const TextPart& from, std::int64_t begin, std::int64_t end) {
    options.checksum = from.checksum;
    return std::make_shared<TextDataset>(from.tokens, begin, end, token_bytes, options);
  };
  const bool split = !parts.validation && config.validation_fraction > 0;
  const std::int64_t cut =
      split ? split_point(stream, config.validation_fraction, options.separator, text.file) : stream.size();
  options.what = "the training part of " + text.file;
  options.offset_seed = seed;
  // The separator at the cut is the last target of one part and the first input of the other.
  corpus.train = make(text, 0, split && separate ? cut + 1 : cut);
  options.offset_seed.reset();
  if (split) {
    options.what =
        fmt::format("the validation part of {} (data.validation_fraction = {})", text.file, config.validation_fraction);
    corpus.validation = make(text, cut, stream.size());
  } else if (parts.validation) {
    options.what = parts.validation->file;
    corpus.validation = make(*parts.validation, 0, parts.validation->tokens->size());
  }

  corpus.summary = fmt::format("{}{}\ntokenizer {}, vocabulary {}\ntraining: {} tokens, {} blocks of {} an epoch",
                               text.description, parts.validation ? "\n" + parts.validation->description : "", tokenizer.name(),
                               with_commas(tokenizer.vocabulary_size()), with_commas(corpus.train->tokens()),
                               with_commas(corpus.train->samples_per_epoch()), context);
  if (corpus.validation)
    corpus.summary += fmt::format("\nvalidation: {} tokens, {} windows of {}", with_commas(corpus.validation->tokens()),
                                  with_commas(corpus.validation->samples_per_epoch()), context);
  return corpus;
}

}  // namespace tradewind::runtime
