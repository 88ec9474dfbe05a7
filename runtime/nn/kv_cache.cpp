#include "runtime/nn/kv_cache.h"

#include <algorithm>

#include "runtime/core/transfer.h"

namespace tradewind::runtime {

KvCache::KvCache(Context& context, std::int64_t layers, std::int64_t sequences, std::int64_t capacity,
                 const AttentionHeads& heads)
    : heads_(heads), dtype_(context.compute_type()), capacity_(capacity), lengths_(static_cast<std::size_t>(sequences), 0) {
  const std::int64_t width = heads.key_value * heads.size;
  for (std::int64_t i = 0; i < layers; ++i) {
    keys_.push_back(context.tensor({sequences, capacity, width}, dtype_, Purpose::kCache));
    values_.push_back(context.tensor({sequences, capacity, width}, dtype_, Purpose::kCache));
  }
}

KvCache::Extent KvCache::extent_of(Context& context, const Sequences& rows) const {
  const auto* offsets = rows.host_offsets.data<std::int64_t>();
  const Tensor begins(host_allocator(), {sequences() + 1}, DType::kInt64),
      lengths(host_allocator(), {sequences()}, DType::kInt64);
  for (std::int64_t s = 0; s < sequences(); ++s) {
    begins.data<std::int64_t>()[s] = s * capacity_;
    lengths.data<std::int64_t>()[s] = length(s) + offsets[s + 1] - offsets[s];
    require(lengths.data<std::int64_t>()[s] <= capacity_, "KvCache", "more positions than it has room for");
  }
  begins.data<std::int64_t>()[sequences()] = sequences() * capacity_;
  return {.offsets = on_device(context, begins), .lengths = on_device(context, lengths)};
}

Variable KvCache::attend(Tape& tape, std::int64_t layer, const Variable& qkv, const Sequences& rows,
                         const kernels::AttentionOptions& options) {
  require(!tape.recording(), "KvCache", "a cache is for evaluation");
  require(rows.count() == sequences(), "KvCache", "another number of sequences than the cache was made for");
  Context& context = tape.context();
  if (!extent_.offsets.defined()) extent_ = extent_of(context, rows);
  const std::int64_t width = heads_.width(), kv_width = heads_.key_value * heads_.size;
  const std::int64_t k_at = heads_.query * heads_.size, v_at = k_at + kv_width;
  const auto* offsets = rows.host_offsets.data<std::int64_t>();
  const Tensor &keys = keys_[static_cast<std::size_t>(layer)], &values = values_[static_cast<std::size_t>(layer)];
  const Tensor& x = qkv.value();
  const std::size_t size = kernels::size_of(dtype_), bytes = static_cast<std::size_t>(kv_width) * size,
                    row_bytes = static_cast<std::size_t>(width) * size;
  for (std::int64_t s = 0; s < sequences(); ++s) {
    const auto fresh = static_cast<std::size_t>(offsets[s + 1] - offsets[s]);
    if (fresh == 0) continue;
    const std::int64_t from = offsets[s] * width, to = (s * capacity_ + length(s)) * kv_width;
    copy_rows(keys.at(to), bytes, x.at(from + k_at), row_bytes, bytes, fresh, context);
    copy_rows(values.at(to), bytes, x.at(from + v_at), row_bytes, bytes, fresh, context);
  }
  const kernels::AttentionShape shape{.B = sequences(),
                                      .q_offsets = rows.offsets.data<std::int64_t>(),
                                      .k_offsets = extent_.offsets.data<std::int64_t>(),
                                      .k_lengths = extent_.lengths.data<std::int64_t>(),
                                      .max_q = rows.max_length,
                                      .max_k = capacity_,
                                      .H = heads_.query,
                                      .H_kv = heads_.key_value,
                                      .D = heads_.size,
                                      .q_stride = width,
                                      .k_stride = kv_width,
                                      .v_stride = kv_width,
                                      .out_stride = k_at};
  kernels::AttentionOptions typed = options;
  typed.dtype = dtype_;
  Variable out = tape.constant(context.tensor({qkv.size(0), k_at}, dtype_));
  kernels::attention_forward(out.value().raw(), nullptr, x.raw(), keys.raw(), values.raw(), shape, typed, context.launch());
  return out;
}

void KvCache::advance(const Sequences& rows) {
  const auto* offsets = rows.host_offsets.data<std::int64_t>();
  for (std::int64_t s = 0; s < sequences(); ++s) lengths_[static_cast<std::size_t>(s)] += offsets[s + 1] - offsets[s];
  extent_ = {};
}

}  // namespace tradewind::runtime
