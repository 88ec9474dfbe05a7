#include "runtime/text/bpe_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>

#include "kernels/base/error.h"
#include "runtime/text/pre_tokenizer.h"

namespace tradewind::runtime {
namespace {

/// Left id, right id: in this order they break ties.
using Pair = std::uint64_t;
Pair pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<Pair>(left) << 32 | static_cast<std::uint32_t>(right);
}

/// The words as ids, and where each pair occurs in them.
class Training {
 public:
  Training(const WordCounts& words, const BpeVocabulary& bytes) {
    for (std::size_t w = 0; w < words.size(); ++w) {
      words_.push_back({.begin = ids_.size(), .length = words.word(w).size(), .count = words.count(w)});
      for (const char c : words.word(w)) ids_.push_back(*bytes.find(std::string_view(&c, 1)));
    }
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::size_t i = 1; i < words_[w].length; ++i) raise(ids_[words_[w].begin + i - 1], ids_[words_[w].begin + i], w);
    queue_raised();
  }

  /// The next pair to merge; false where none is left.
  bool next(Pair& pair) {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(best.pair);
      const std::int64_t count = found == pairs_.end() ? 0 : found->second.count;
      pair = best.pair;
      if (count == best.count) return true;
      if (count > 0 && count < best.count) queue_.push({count, best.pair});  // it became rarer since
    }
    return false;
  }

  void merge(Pair pair, std::int32_t result) {
    std::vector<std::uint32_t> where = std::move(pairs_[pair].words);
    std::sort(where.begin(), where.end());  // a word may have got the pair more than once
    where.erase(std::unique(where.begin(), where.end()), where.end());
    for (const std::uint32_t w : where)
      merge_in(w, static_cast<std::int32_t>(pair >> 32), static_cast<std::int32_t>(pair & 0xFFFFFFFFU), result);
    pairs_.erase(pair);
    queue_raised();
  }

 private:
  struct Word {
    std::size_t begin, length;  // in ids_
    std::int64_t count;
  };
  struct Occurrences {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // those that have it, and perhaps some that no longer do
  };
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const { return count != other.count ? count < other.count : pair > other.pair; }
  };

  void raise(std::int32_t left, std::int32_t right, std::size_t word) {
    const Pair pair = pair_of(left, right);
    Occurrences& found = pairs_[pair];
    found.count += words_[word].count;
    if (found.words.empty() || found.words.back() != word) found.words.push_back(static_cast<std::uint32_t>(word));
    raised_.push_back(pair);
  }
  void lower(std::int32_t left, std::int32_t right, std::size_t word) {
    pairs_[pair_of(left, right)].count -= words_[word].count;
  }

  void merge_in(std::size_t w, std::int32_t left, std::int32_t right, std::int32_t result) {
    Word& word = words_[w];
    std::int32_t* const ids = ids_.data() + word.begin;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < word.length; ++i) {
      if (ids[i] != left || i + 1 == word.length || ids[i + 1] != right) {
        ids[kept++] = ids[i];
        continue;
      }
      if (kept > 0) lower(ids[kept - 1], left, w), raise(ids[kept - 1], result, w);
      ++i;
      if (i + 1 < word.length) lower(right, ids[i + 1], w), raise(result, ids[i + 1], w);
      ids[kept++] = result;
    }
    word.length = kept;
  }

  void queue_raised() {
    std::sort(raised_.begin(), raised_.end());
    raised_.erase(std::unique(raised_.begin(), raised_.end()), raised_.end());
    for (const Pair pair : raised_)
      if (const auto found = pairs_.find(pair); found != pairs_.end() && found->second.count > 0)
        queue_.push({found->second.count, pair});
    raised_.clear();
  }

  std::vector<Word> words_;
  std::vector<std::int32_t> ids_;
  std::unordered_map<Pair, Occurrences> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> raised_;
};

}  // namespace

void WordCounts::add(std::string_view text) {
  while (!text.empty()) {
    const std::size_t name = std::min(text.find(kEndOfTextName), text.size());
    for (const char *at = text.data(), *end = at + name; at < end;) {
      const std::size_t length = word_length(at, end);
      count({at, length}, 1);
      at += length;
    }
    text.remove_prefix(std::min(name + kEndOfTextName.size(), text.size()));
  }
}

void WordCounts::add(const WordCounts& other) {
  for (std::size_t i = 0; i < other.size(); ++i) count(other.word(i), other.count(i));
  left_out_ += other.left_out_;
}

void WordCounts::count(std::string_view word, std::int64_t times) {
  if (2 * words_.size() >= slots_.size()) grow();
  std::uint32_t& slot = slot_of(word);
  if (slot != 0) {
    words_[slot - 1].count += times;
  } else if (text_.size() + word.size() > most_bytes_) {
    left_out_ += times;
  } else {
    words_.push_back({.begin = text_.size(), .length = word.size(), .count = times});
    text_ += word;
    slot = static_cast<std::uint32_t>(words_.size());
  }
}

std::uint32_t& WordCounts::slot_of(std::string_view sought) {
  std::size_t at = std::hash<std::string_view>{}(sought) & (slots_.size() - 1);
  while (slots_[at] != 0 && word(slots_[at] - 1) != sought) at = (at + 1) & (slots_.size() - 1);
  return slots_[at];
}

void WordCounts::grow() {
  slots_.assign(std::max<std::size_t>(1024, 4 * words_.size()), 0);
  // A power of two: 1024, or four times a half of one.
  for (std::size_t i = 0; i < words_.size(); ++i) slot_of(word(i)) = static_cast<std::uint32_t>(i + 1);
}

BpeVocabulary train_bpe(const WordCounts& words, std::int64_t size, bool end_of_text) {
  BpeVocabulary out = BpeVocabulary::of_bytes();
  const std::int64_t room = size - (end_of_text ? 1 : 0);
  if (room < out.size())
    throw ConfigError(fmt::format("a vocabulary of {} tokens has no room for {} bytes{}. Make it larger", size, out.size(),
                                  end_of_text ? " and the end-of-text token" : ""));
  Training training(words, out);
  for (Pair pair = 0; out.size() < room && training.next(pair);)
    training.merge(pair, out.merge(static_cast<std::int32_t>(pair >> 32), static_cast<std::int32_t>(pair & 0xFFFFFFFFU)));
  if (end_of_text) out.add_end_of_text();
  return out;
}

}  // namespace tradewind::runtime
