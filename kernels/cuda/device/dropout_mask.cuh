// Dropout masks in the layout of kernels/base/philox.h: 64 columns share 8 counters, counter r has columns r, r + 8, ..., r
// + 56.
//
// Kernels over rows give a thread 8 neighbouring columns, a packet, which all 8 counters have a bit of. Eight threads that have
// 64 columns together each compute one counter, and swap bits as an 8 x 8 matrix is transposed: three shuffles. So an element
// costs an eighth of a Philox block, as it must, about 12 integer instructions.
#pragma once

#include "kernels/base/launch.h"
#include "kernels/base/philox.h"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/reduce.cuh"

namespace tradewind::kernels {

/// Which counters a row has.
struct DropoutRow {
  std::uint64_t sample;
  std::uint32_t position;
};

/// A dropout site as a kernel takes it. threshold 0: nothing is dropped, and nothing else is looked at.
struct DropoutView {
  const StepState* step;
  const std::uint64_t* sample;
  const std::int32_t* position;
  std::uint64_t purpose;
  std::uint32_t threshold;

  TRADEWIND_DEVICE bool drops() const { return threshold != 0; }
  TRADEWIND_DEVICE PhiloxKey key() const { return philox_key(load(&step->seed), purpose); }
  TRADEWIND_DEVICE DropoutRow row(std::int64_t n) const {
    return {load(sample + n), static_cast<std::uint32_t>(load(position + n))};
  }
};
inline DropoutView dropout_view(const Dropout& dropout, const RowKeys& keys, const Launch& launch) {
  return {launch.step, keys.sample, keys.position, dropout.purpose, dropout_threshold(dropout.p)};
}

/// Which of the columns 64 s + r, r + 8, ..., r + 56 are kept, a bit each: one counter.
TRADEWIND_DEVICE std::uint32_t kept_of(PhiloxKey key, DropoutRow row, int s, int r, std::uint32_t threshold) {
  const PhiloxBlock block =
      philox(key, {{static_cast<std::uint32_t>(8 * s + r), row.position, static_cast<std::uint32_t>(row.sample),
                    static_cast<std::uint32_t>(row.sample >> 32)}});
  std::uint32_t kept = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if ((block.w[i] & 0xFFFFU) >= threshold) kept |= 1U << i;
    if (block.w[i] >> 16 >= threshold) kept |= 16U << i;
  }
  return kept;
}

/// Swaps the bits of `columns`' complement with the bits of `columns` of the lane `distance` away, in each pair of lanes.
TRADEWIND_DEVICE std::uint32_t swapped_bits(std::uint32_t x, int distance, std::uint32_t columns) {
  const std::uint32_t other = shuffle_xor(x, distance, lanes_mask<8>());
  return (lane() & distance) == 0 ? (x & columns) | (other & columns) << distance
                                  : (x & ~columns) | (other & ~columns) >> distance;
}

/// Which of the columns `column` to `column` + 7 are kept, a bit each. Lanes 8 i to 8 i + 7 of a warp call together, with 64
/// columns of one row between them.
TRADEWIND_DEVICE std::uint32_t kept_packet(PhiloxKey key, DropoutRow row, std::int64_t column, std::uint32_t threshold) {
  std::uint32_t kept = kept_of(key, row, static_cast<int>(column / 64), lane() % 8, threshold);
  kept = swapped_bits(kept, 1, 0x55U);
  kept = swapped_bits(kept, 2, 0x33U);
  return swapped_bits(kept, 4, 0x0FU);
}

/// x = kept ? x * scale : 0, also where x is no number.
TRADEWIND_DEVICE void drop(float (&x)[kPacket], std::uint32_t kept, float scale) {
#pragma unroll
  for (int i = 0; i < kPacket; ++i) x[i] = (kept >> i & 1U) != 0 ? x[i] * scale : 0.0F;
}

}  // namespace tradewind::kernels
