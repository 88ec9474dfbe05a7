// Text as next-token samples.
//
// The tokens of a corpus are one stream. Cut into documents, it is
//     <end> a1 .. an <end> b1 .. bm <end>
// with <end> the end-of-text token: a document's first input, and the target of the last token before it. With
// data.documents = "whole" it is the text's tokens and nothing else. A sample is a block of `context` neighbours with, for
// each, the token that follows. Inside a block every document is a sequence of its own (positions start at 0, attention stays
// inside), so documents packed together give the losses of each alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/config/fields.h"
#include "runtime/core/allocator.h"
#include "runtime/data/batch.h"
#include "runtime/data/token_source.h"
#include "runtime/text/tokenizer.h"

namespace tradewind::runtime {

/// The section [data].
struct DataConfig {
  std::string path = {};
  std::string prepared = {};
  std::string validation_path = {};
  double validation_fraction = 0.1;
  std::string format = "auto";
  std::string text_key = "text";
  std::string documents = "whole";
  std::string tokenizer = "char";
  std::string vocabulary = {};
  bool shuffle = true;

  void describe(Fields& f);
  /// The text is cut into documents, so the stream has end-of-text tokens.
  bool separates() const;
};

/// Blocks of tokens [begin, end) of a stream.
class TextDataset final : public Dataset {
 public:
  struct Options {
    std::int64_t context = 0;
    std::optional<std::int32_t> separator = {};  // the token that begins a document in this stream
    /// Set for training: epoch e begins at a random token below `context`, so that blocks differ between epochs. Else every
    /// epoch is the consecutive windows from the first token on.
    std::optional<std::uint64_t> offset_seed = {};
    std::uint64_t checksum = 0;
    std::string what = "text";  // for messages
  };

  /// `token_bytes[id]`: UTF-8 bytes of a token. Throws DataError where there are no more than `context` tokens.
  TextDataset(std::shared_ptr<const TokenSource> stream, std::int64_t begin, std::int64_t end,
              std::shared_ptr<const std::vector<std::int32_t>> token_bytes, const Options& options,
              Allocator& allocator = host_allocator());

  std::int64_t samples_per_epoch() const override { return samples_; }
  /// The fields that batch.h lists, for packed token rows. Every target counts.
  Batch collate(std::span<const SampleRef> samples) const override;
  std::uint64_t checksum() const override { return options_.checksum; }

  std::int64_t tokens() const { return end_ - begin_; }
  std::int64_t context() const { return options_.context; }
  /// Where block `index` of `epoch` begins, counted from the part's first token.
  std::int64_t first_token(std::int64_t epoch, std::int64_t index) const;

 private:
  std::shared_ptr<const TokenSource> stream_;
  std::int64_t begin_, end_;
  std::shared_ptr<const std::vector<std::int32_t>> token_bytes_;
  Options options_;
  Allocator& allocator_;
  std::int64_t samples_;
  std::int64_t offsets_;  // how many beginnings an epoch can have
};

struct TextCorpus {
  std::shared_ptr<Tokenizer> tokenizer;
  std::shared_ptr<TextDataset> train;
  std::shared_ptr<TextDataset> validation;  // null where data.validation_fraction = 0 and no data.validation_path
  std::string summary;                      // lines for the run log
};

/// Reads what `config` names: data.prepared where it is set, with the same samples as of the text it was made of. `existing` is
/// the tokenizer of a run or checkpoint; null makes one: the characters of all the text that is read, so that validation text
/// has no unknown ones. Validation is the last part of data.path: the last `validation_fraction` of the tokens of a whole text,
/// else whole documents. Throws DataError, or ConfigError where keys do not go together.
TextCorpus load_text_corpus(const DataConfig& config, std::int64_t context, std::uint64_t seed,
                            const Tokenizer* existing = nullptr);

}  // namespace tradewind::runtime
