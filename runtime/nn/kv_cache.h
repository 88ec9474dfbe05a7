// Keys and values of what was read so far, for generation token by token.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/ops/attention.h"

namespace tradewind::runtime {

class KvCache {
 public:
  /// Room for `capacity` positions of each of `sequences` in every layer.
  KvCache(Context& context, std::int64_t layers, std::int64_t sequences, std::int64_t capacity, const AttentionHeads& heads);

  std::int64_t sequences() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::int64_t capacity() const { return capacity_; }
  std::int64_t length(std::int64_t sequence) const { return lengths_[static_cast<std::size_t>(sequence)]; }

  /// Attention of new rows (qkv as in self_attention; rows.offsets says how many each sequence has) over the cache and
  /// themselves, in one layer. Evaluation only. Throws InternalError where a sequence would exceed the capacity.
  Variable attend(Tape& tape, std::int64_t layer, const Variable& qkv, const Sequences& rows,
                  const kernels::AttentionOptions& options);

  /// After every layer has seen the rows: they count from now on.
  void advance(const Sequences& rows);
  void clear(std::int64_t sequence) {
    lengths_[static_cast<std::size_t>(sequence)] = 0;
    extent_ = {};
  }

 private:
  /// Where the keys of each sequence begin, [sequences + 1], and how many there are with the new rows, [sequences]: on the
  /// device.
  struct Extent {
    Tensor offsets, lengths;
  };
  Extent extent_of(Context& context, const Sequences& rows) const;

  AttentionHeads heads_;
  DType dtype_;
  std::int64_t capacity_;
  std::vector<std::int64_t> lengths_;
  std::vector<Tensor> keys_, values_;  // a layer: [sequences, capacity, H_kv D]
  Extent extent_;                      // of the rows under way: the same in every layer
};

}  // namespace tradewind::runtime
