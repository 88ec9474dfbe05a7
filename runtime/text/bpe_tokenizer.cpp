// Byte-level BPE (Sennrich et al. 2016; on bytes: Radford et al. 2019). A text is cut into words (pre_tokenizer.h); in each
// word the pair of neighbours whose merge comes first in the vocabulary is merged, again and again, the leftmost one where it
// is there several times. Most words come again, so an encoder remembers what it made of short ones.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <queue>

#include "kernels/base/error.h"
#include "runtime/text/bpe_vocabulary.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

constexpr std::int32_t kNoMerge = std::numeric_limits<std::int32_t>::max();

/// Spreads keys over the low bits.
constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDULL;
  return x ^ (x >> 29);
}

/// The number of each merge (its rank) by the two ids, in a table with open addressing, at most half full.
class MergeTable {
 public:
  explicit MergeTable(const std::vector<BpeVocabulary::Merge>& merges) {
    std::size_t slots = 16;
    while (slots < 2 * merges.size()) slots *= 2;
    mask_ = slots - 1;
    slots_.resize(slots, {.pair = kEmpty, .rank = kNoMerge});
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
      std::size_t at = mix(pair) & mask_;
      while (slots_[at].pair != kEmpty && slots_[at].pair != pair) at = (at + 1) & mask_;
      slots_[at] = {.pair = pair, .rank = static_cast<std::int32_t>(rank)};  // of two the later counts
    }
  }

  std::int32_t rank(std::int32_t left, std::int32_t right) const {
    const std::uint64_t pair = pair_of(left, right);
    for (std::size_t at = mix(pair) & mask_;; at = (at + 1) & mask_) {
      if (slots_[at].pair == pair) return slots_[at].rank;
      if (slots_[at].pair == kEmpty) return kNoMerge;
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  struct Slot {
    std::uint64_t pair;
    std::int32_t rank;
  };
  std::vector<Slot> slots_;
  std::size_t mask_;
};

/// What encoders share.
struct BpeModel {
  explicit BpeModel(BpeVocabulary from) : vocabulary(std::move(from)), table(vocabulary.merges()) {
    for (std::size_t byte = 0; byte < bytes.size(); ++byte)
      bytes[byte] = *vocabulary.find(std::string(1, static_cast<char>(byte)));
  }
  std::int32_t result(std::int32_t rank) const { return vocabulary.merges()[static_cast<std::size_t>(rank)].result; }

  BpeVocabulary vocabulary;
  MergeTable table;
  std::array<std::int32_t, 256> bytes;
};

/// Merges one word.
class WordMerger {
 public:
  explicit WordMerger(const BpeModel& model) : model_(model) {}

  /// Valid until the next call.
  std::span<const std::int32_t> merge(std::string_view word) {
    ids_.resize(word.size());
    for (std::size_t i = 0; i < word.size(); ++i) ids_[i] = model_.bytes[static_cast<unsigned char>(word[i])];
    word.size() <= kShort ? merge_short() : merge_long();
    return ids_;
  }

 private:
  static constexpr std::size_t kShort = 128;

  /// Looks at all ranks for the smallest: short words are done before a heap is set up.
  void merge_short() {
    std::size_t count = ids_.size();
    ranks_.resize(count);
    for (std::size_t i = 0; i + 1 < count; ++i) ranks_[i] = model_.table.rank(ids_[i], ids_[i + 1]);
    while (count > 1) {
      const auto last = ranks_.begin() + static_cast<std::ptrdiff_t>(count - 1);
      const auto best = std::min_element(ranks_.begin(), last);
      if (*best == kNoMerge) break;
      const auto at = static_cast<std::size_t>(best - ranks_.begin());
      ids_[at] = model_.result(*best);
      const auto gone = static_cast<std::ptrdiff_t>(at + 1);
      std::copy(ids_.begin() + gone + 1, ids_.begin() + static_cast<std::ptrdiff_t>(count), ids_.begin() + gone);
      if (best + 1 < last) std::copy(best + 2, last, best + 1);
      --count;
      if (at + 1 < count) ranks_[at] = model_.table.rank(ids_[at], ids_[at + 1]);
      if (at > 0) ranks_[at - 1] = model_.table.rank(ids_[at - 1], ids_[at]);
    }
    ids_.resize(count);
  }

  /// A heap of merges and a list of neighbours: n log n, for words without end (a megabyte of one letter).
  void merge_long() {
    struct Candidate {
      std::int32_t rank;
      std::size_t at;
      bool operator<(const Candidate& other) const {  // the top of the heap is the largest
        return rank != other.rank ? rank > other.rank : at > other.at;
      }
    };
    const std::size_t count = ids_.size();
    std::vector<std::size_t> previous(count), next(count);
    ranks_.assign(count, kNoMerge);
    std::priority_queue<Candidate> queue;
    const auto look = [&](std::size_t at) {
      ranks_[at] = next[at] < count ? model_.table.rank(ids_[at], ids_[next[at]]) : kNoMerge;
      if (ranks_[at] != kNoMerge) queue.push({ranks_[at], at});
    };
    for (std::size_t i = 0; i < count; ++i) previous[i] = i - 1, next[i] = i + 1;
    for (std::size_t i = 0; i < count; ++i) look(i);
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      if (ranks_[best.at] != best.rank) continue;  // something was merged there since
      const std::size_t gone = next[best.at];
      ids_[best.at] = model_.result(best.rank);
      ranks_[gone] = kNoMerge;
      next[best.at] = next[gone];
      if (next[gone] < count) previous[next[gone]] = best.at;
      look(best.at);
      if (best.at > 0) look(previous[best.at]);
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; i = next[i]) ids_[kept++] = ids_[i];
    ids_.resize(kept);
  }

  const BpeModel& model_;
  std::vector<std::int32_t> ids_, ranks_;
};

class BpeEncoder final : public TextEncoder {
 public:
  explicit BpeEncoder(std::shared_ptr<const BpeModel> model) : model_(std::move(model)), merger_(*model_) {}

  void append(std::string_view text, std::vector<std::int32_t>& ids) override {
    if (!model_->vocabulary.end_of_text()) return append_words(text, ids);
    for (;;) {
      const std::size_t at = text.find(kEndOfTextName);
      append_words(text.substr(0, at), ids);
      if (at == std::string_view::npos) return;
      ids.push_back(*model_->vocabulary.end_of_text());
      text.remove_prefix(at + kEndOfTextName.size());
    }
  }

 private:
  static constexpr std::size_t kKey = 15;  // the longest word that is remembered
  static constexpr std::size_t kMostSlots = std::size_t{1} << 18;

  /// A word of at most 15 bytes with its length behind it, and its ids: up to three, or where they are among many_. 32 bytes.
  struct Slot {
    std::array<std::uint64_t, 2> key{};
    std::array<std::int32_t, 3> ids{};
    std::int32_t count = 0;
  };

  void append_words(std::string_view text, std::vector<std::int32_t>& ids) {
    for (const char *at = text.data(), *end = at + text.size(); at < end;) {
      const std::size_t length = word_length(at, end);
      append_word({at, length}, ids);
      at += length;
    }
  }

  void append_word(std::string_view word, std::vector<std::int32_t>& ids) {
    if (word.size() > kKey) {
      const auto merged = merger_.merge(word);
      ids.insert(ids.end(), merged.begin(), merged.end());
      return;
    }
    std::array<std::uint64_t, 2> key{};
    std::memcpy(key.data(), word.data(), word.size());
    key[1] |= static_cast<std::uint64_t>(word.size()) << 56;
    std::size_t at = hash(key) & (slots_.size() - 1);
    while (slots_[at].count != 0 && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    if (slots_[at].count == 0) return remember(word, key, at, ids);
    const Slot& slot = slots_[at];
    const std::int32_t* from = slot.count <= 3 ? slot.ids.data() : many_.data() + static_cast<std::size_t>(slot.ids[0]);
    ids.insert(ids.end(), from, from + slot.count);
  }

  static std::size_t hash(const std::array<std::uint64_t, 2>& key) { return mix(key[0] * 0x9E3779B97F4A7C15ULL + key[1]); }

  void remember(std::string_view word, const std::array<std::uint64_t, 2>& key, std::size_t at,
                std::vector<std::int32_t>& ids) {
    const auto merged = merger_.merge(word);
    ids.insert(ids.end(), merged.begin(), merged.end());
    Slot slot{.key = key, .ids = {}, .count = static_cast<std::int32_t>(merged.size())};
    if (merged.size() <= 3) {
      std::copy(merged.begin(), merged.end(), slot.ids.begin());
    } else {
      slot.ids[0] = static_cast<std::int32_t>(many_.size());
      many_.insert(many_.end(), merged.begin(), merged.end());
    }
    slots_[at] = slot;
    if (2 * ++used_ > slots_.size()) grow();
  }

  /// Twice as many slots; where there are enough, what was remembered is forgotten: texts change, and the frequent words are
  /// soon back.
  void grow() {
    std::vector<Slot> old(std::exchange(slots_, {}));
    if (old.size() == kMostSlots) {
      slots_.resize(old.size());
      many_.clear();
      used_ = 0;
      return;
    }
    slots_.resize(2 * old.size());
    for (const Slot& slot : old) {
      if (slot.count == 0) continue;
      std::size_t at = hash(slot.key) & (slots_.size() - 1);
      while (slots_[at].count != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  std::shared_ptr<const BpeModel> model_;
  WordMerger merger_;
  std::vector<Slot> slots_ = std::vector<Slot>(256);
  std::vector<std::int32_t> many_;
  std::size_t used_ = 0;
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeVocabulary vocabulary) : model_(std::make_shared<const BpeModel>(std::move(vocabulary))) {}

  std::string name() const override { return "bpe"; }
  std::int64_t vocabulary_size() const override { return model_->vocabulary.size(); }
  std::optional<std::int32_t> end_of_text() const override { return model_->vocabulary.end_of_text(); }
  std::string_view end_of_text_name() const override { return end_of_text() ? kEndOfTextName : std::string_view(); }
  nlohmann::json to_json() const override { return runtime::to_json(model_->vocabulary); }
  std::unique_ptr<TextEncoder> encoder() const override { return std::make_unique<BpeEncoder>(model_); }
  std::size_t cut(std::string_view text) const override { return last_word_boundary(text); }

  std::string_view bytes(std::int32_t id) const override {
    if (id < 0 || id >= vocabulary_size())
      throw DataError(fmt::format("bpe tokenizer: no token {} (ids are 0 to {})", id, vocabulary_size() - 1));
    if (id == end_of_text()) return {};
    return model_->vocabulary.tokens()[static_cast<std::size_t>(id)];
  }

 private:
  std::shared_ptr<const BpeModel> model_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeVocabulary vocabulary) {
  return std::make_unique<BpeTokenizer>(std::move(vocabulary));
}

}  // namespace tradewind::runtime
