// The tokens of a corpus before they are split into data sets: encoded from files, or read from a prepared one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/data/reader.h"
#include "runtime/data/text_dataset.h"

namespace tradewind::runtime {

struct TextPart {
  std::shared_ptr<const TokenSource> tokens;  // the stream of text_dataset.h
  std::string file;                           // for messages
  std::string description;                    // a line for the run log
  std::uint64_t checksum = 0;                 // XXH3-64 of the file's contents
};

struct CorpusParts {
  std::shared_ptr<Tokenizer> tokenizer;
  TextPart text;
  std::optional<TextPart> validation;  // of a file of its own
};

/// Encodes data.path and data.validation_path. `existing` is the tokenizer of a run or checkpoint, or null. Throws DataError,
/// or ConfigError where keys do not go together.
CorpusParts encode_corpus(const DataConfig& config, const Tokenizer* existing);

/// Opens data.prepared, which must have been made as `config` says. Throws DataError, or ConfigError where it was made
/// otherwise.
CorpusParts open_prepared_corpus(const DataConfig& config, const Tokenizer* existing);

/// data.format, or where it is "auto" the one of the name.
TextFormat text_format(const DataConfig& config, const std::string& path);

/// How a text of that format is cut: "json_lines", "csv", or data.documents.
std::string documents_of(const DataConfig& config, TextFormat format);

/// How files are read. `key` named `path`.
ReadOptions read_options(const DataConfig& config, const std::string& path, const std::string& key);

/// The tokenizer that `config` names; null where it is to be made from the text: "char", or "bpe" without a vocabulary. Throws
/// ConfigError or DataError.
std::shared_ptr<Tokenizer> named_tokenizer(const DataConfig& config);

/// "1,234,567"
std::string with_commas(std::int64_t n);

}  // namespace tradewind::runtime
