// Where the sums of a hot row's chunks are kept until they are added up, on every device.
#pragma once

#include <cstdint>

#include "kernels/base/philox.h"
#include "kernels/embedding_bag.h"

namespace tradewind::kernels {

/// Terms stand sorted by row; a row's chunks begin at its first term and every kBagChunk after it. The chunk that begins at
/// term `begin` of a row of more than one chunk has a slot of its own in [0, partial_slots(N)): begin / (kBagChunk / 2), or for
/// the row's last chunk, which may be short, the slot after that of the chunk before it. That one is free: full chunks are two
/// slots apart, and the next row's first begins later, in a slot at least as high as begin / (kBagChunk / 2).
TRADEWIND_HOST_DEVICE inline std::int64_t partial_slot(std::int64_t begin, bool last) {
  return begin / (kBagChunk / 2) - (last ? 1 : 0);
}
TRADEWIND_HOST_DEVICE inline std::int64_t partial_slots(std::int64_t N) { return N > kBagChunk ? N / (kBagChunk / 2) + 1 : 0; }

/// Every row of more than one chunk has a term at a multiple of kBagChunk, and exactly one such term is in its first chunk:
/// who looks at all multiples finds each such row once.
TRADEWIND_HOST_DEVICE inline bool finds_row(std::int64_t term, std::int64_t row_begin, std::int64_t row_end) {
  return row_end - row_begin > kBagChunk && term - row_begin < kBagChunk;
}

}  // namespace tradewind::kernels
