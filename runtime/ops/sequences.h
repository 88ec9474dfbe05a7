// The packed rows that a batch's ops share.
#pragma once

#include "kernels/base/philox.h"
#include "runtime/data/batch.h"

namespace tradewind::runtime {

/// N rows in S sequences; the tensors are those of Batch (runtime/data/batch.h).
struct Sequences {
  Tensor offsets;       // [S + 1] int64
  Tensor host_offsets;  // the same, where the host can read it
  Tensor positions;     // [N] int32
  Tensor samples;       // [N] uint64
  Tensor slots;         // [N] int32
  std::int64_t max_length = 0;

  static Sequences of(const Batch& batch) {
    return {batch["offsets"], batch.on_host("offsets"), batch["positions"], batch["samples"], batch["slots"], batch.max_length};
  }
  std::int64_t count() const { return offsets.elements() - 1; }
  kernels::RowKeys keys() const { return {samples.data<std::uint64_t>(), slots.data<std::int32_t>()}; }
};

}  // namespace tradewind::runtime
