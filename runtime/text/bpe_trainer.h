// Making a vocabulary for byte-level BPE from a text (Sennrich et al. 2016, algorithm 1, on bytes).
//
// Ids 0 to 255 are the bytes. Then, again and again, the pair of neighbours that is most frequent in the words of the text
// becomes a token; of equally frequent ones the pair with the smaller first id, then the smaller second id, as Hugging Face's
// tokenizers break ties. So the result is a function of the text alone. The order of its words does not matter.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/bpe_vocabulary.h"

namespace tradewind::runtime {

/// How often each word of a text occurs.
class WordCounts {
 public:
  /// Words that are new once the distinct ones have `most_bytes` are not counted.
  explicit WordCounts(std::size_t most_bytes = std::size_t{32} << 20) : most_bytes_(most_bytes) {}

  /// Counts the words of `text` (pre_tokenizer.h); a literal <|endoftext|> is none.
  void add(std::string_view text);
  /// As if the texts of `other` had been added.
  void add(const WordCounts& other);

  std::size_t size() const { return words_.size(); }
  std::string_view word(std::size_t i) const { return std::string_view(text_).substr(words_[i].begin, words_[i].length); }
  std::int64_t count(std::size_t i) const { return words_[i].count; }
  /// How many words were not counted.
  std::int64_t left_out() const { return left_out_; }

 private:
  struct Word {
    std::size_t begin, length;  // in text_
    std::int64_t count;
  };
  void count(std::string_view word, std::int64_t times);
  std::uint32_t& slot_of(std::string_view word);
  void grow();

  std::size_t most_bytes_;
  std::string text_;
  std::vector<Word> words_;           // in the order in which they came
  std::vector<std::uint32_t> slots_;  // a hash table of places in words_, from 1
  std::int64_t left_out_ = 0;
};

/// A vocabulary of `size` tokens, the end-of-text token, where there shall be one, the last of them; fewer where the words have
/// no more pairs. Throws ConfigError where `size` has no room for the bytes.
BpeVocabulary train_bpe(const WordCounts& words, std::int64_t size, bool end_of_text);

}  // namespace tradewind::runtime
