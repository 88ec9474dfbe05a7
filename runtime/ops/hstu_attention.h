// What one HSTU layer does between its two matrices (Zhai et al. 2024, eq. 1 to 3).
#pragma once

#include "kernels/hstu_attention.h"
#include "kernels/norm.h"
#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

struct HstuHeads {
  std::int64_t count, query, value;  // H; columns of a head of q and k, and of u and v
  std::int64_t out() const { return count * value; }
  std::int64_t width() const { return 2 * count * (query + value); }
};

struct HstuBias {
  Parameter* position = nullptr;  // [positions], see kernels/hstu_attention.h; or null
  Parameter* time = nullptr;      // [buckets] or null
  Tensor query_times, key_times;  // [N] int64 seconds, with `time`
};

/// x [N, heads.width()]: u, v, q, k side by side, before their SiLU. Returns u * norm(attention(q, k, v)) [N, heads.out()] of
/// their SiLU, norm being over the whole row, without weights. `scale`: of the attention, 1 / N.
Variable hstu_attention(Tape& tape, const Variable& x, const HstuHeads& heads, const HstuBias& bias, const Sequences& rows,
                        float scale, const kernels::NormOptions& norm);

}  // namespace tradewind::runtime
