// Self-attention over packed rows with q, k and v side by side.
#pragma once

#include "kernels/attention.h"
#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

struct AttentionHeads {
  std::int64_t query, key_value, size;  // H, H_kv, D
  std::int64_t width() const { return (query + 2 * key_value) * size; }
};

/// qkv [N, (H + 2 H_kv) D]: the query heads, then the key heads, then the value heads. Returns [N, H D].
Variable self_attention(Tape& tape, const Variable& qkv, const AttentionHeads& heads, const Sequences& rows,
                        const kernels::AttentionOptions& options);

}  // namespace tradewind::runtime
