// Float32 matrix product with a right factor that is packed once and used by many rows, on the calling thread.
//
// oneDNN's product packs both factors in every call, opens a parallel region of its own, and hands C back only when it is
// whole. At a few hundred rows that costs a third of the time, and bias, activation and column sums each read C anew. Here the
// caller holds the parallel region: threads pack panels of the right factor together, meet, and take rows of their own, with
// whatever follows a block of rows done while that block is in the cache.
#pragma once

#include <cstdint>

#include "kernels/cpu/gemm.h"

namespace tradewind::kernels::cpu {

/// Rows of C that are computed before the next ones start: a multiple of every register block's rows.
inline constexpr std::int64_t kBlockRows = 96;

/// A packed op(B) [K, N]. Its rows lie in blocks of equal depth (the last may be shorter); in a block, panels of
/// packed_columns() columns, the last one filled up with zeros; in a panel, row after row.
struct PackedFactor {
  float* data;  // packed_elements(K, N), aligned to 64 bytes
  std::int64_t K, N;
};

/// Columns of a panel: two vectors of the instruction set in use.
std::int64_t packed_columns();
std::int64_t packed_panels(std::int64_t N);
std::int64_t packed_elements(std::int64_t K, std::int64_t N);

/// Packs panels [begin, end) of op(b) [K, N].
void pack_panels(const PackedFactor& to, GemmOperand b, std::int64_t begin, std::int64_t end);

/// Where multiply_packed packs the columns of a transposed left factor.
struct LeftPanel {
  float* data = nullptr;  // left_elements(K), aligned to 64 bytes; unused where a is not transposed
  float* sums = nullptr;  // [M] += the sums of a's stored columns, which pass through registers anyway; null: not wanted
};
std::int64_t left_elements(std::int64_t K);

/// Panels [begin, end) of c [M, N] (row stride ldc) (=, +=) op(a) [M, K] b, plus bias [N] in every row unless it is null. The
/// bits of an element depend on K and the instruction set alone: on no split into rows, panels or threads.
void multiply_packed(float* c, std::int64_t ldc, GemmOperand a, const PackedFactor& b, const float* bias, std::int64_t M,
                     std::int64_t begin, std::int64_t end, Write write, const LeftPanel& left = {});

}  // namespace tradewind::kernels::cpu
