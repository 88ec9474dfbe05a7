#include "runtime/nn/kv_cache.h"

#include <algorithm>
#include <cstring>

namespace tradewind::runtime {

KvCache::KvCache(Context& context, std::int64_t layers, std::int64_t sequences, std::int64_t capacity,
                 const AttentionHeads& heads)
    : heads_(heads), capacity_(capacity), lengths_(static_cast<std::size_t>(sequences), 0) {
  const std::int64_t width = heads.key_value * heads.size;
  for (std::int64_t i = 0; i < layers; ++i) {
    keys_.push_back(context.tensor({sequences, capacity, width}));
    values_.push_back(context.tensor({sequences, capacity, width}));
  }
}

Variable KvCache::attend(Tape& tape, std::int64_t layer, const Variable& qkv, const Sequences& rows,
                         const kernels::AttentionOptions& options) {
  require(!tape.recording(), "KvCache", "a cache is for evaluation");
  require(rows.count() == sequences(), "KvCache", "another number of sequences than the cache was made for");
  const std::int64_t width = heads_.width(), kv_width = heads_.key_value * heads_.size;
  const std::int64_t k_at = heads_.query * heads_.size, v_at = k_at + kv_width;
  const auto* offsets = rows.offsets.data<std::int64_t>();
  auto* keys = keys_[static_cast<std::size_t>(layer)].data<float>();
  auto* values = values_[static_cast<std::size_t>(layer)].data<float>();
  const float* x = qkv.value().data<float>();
  std::vector<std::int64_t> k_offsets, k_lengths;
  const auto bytes = static_cast<std::size_t>(kv_width) * sizeof(float);
  for (std::int64_t s = 0; s < sequences(); ++s) {
    const std::int64_t fresh = offsets[s + 1] - offsets[s], old = length(s);
    require(old + fresh <= capacity_, "KvCache", "more positions than it has room for");
    for (std::int64_t i = 0; i < fresh; ++i) {
      const float* row = x + (offsets[s] + i) * width;
      const std::int64_t to = (s * capacity_ + old + i) * kv_width;
      std::memcpy(keys + to, row + k_at, bytes);
      std::memcpy(values + to, row + v_at, bytes);
    }
    k_offsets.push_back(s * capacity_);
    k_lengths.push_back(old + fresh);
  }
  k_offsets.push_back(sequences() * capacity_);
  const kernels::AttentionShape shape{.B = sequences(),
                                      .q_offsets = offsets,
                                      .k_offsets = k_offsets.data(),
                                      .k_lengths = k_lengths.data(),
                                      .max_q = rows.max_length,
                                      .max_k = capacity_,
                                      .H = heads_.query,
                                      .H_kv = heads_.key_value,
                                      .D = heads_.size,
                                      .q_stride = width,
                                      .k_stride = kv_width,
                                      .v_stride = kv_width,
                                      .out_stride = k_at};
  Variable out = tape.constant(tape.context().tensor({qkv.size(0), k_at}));
  kernels::attention_forward(out.value().raw(), nullptr, x, keys, values, shape, options, tape.context().launch());
  return out;
}

void KvCache::advance(const Sequences& rows) {
  const auto* offsets = rows.offsets.data<std::int64_t>();
  for (std::int64_t s = 0; s < sequences(); ++s) lengths_[static_cast<std::size_t>(s)] += offsets[s + 1] - offsets[s];
}

}  // namespace tradewind::runtime
