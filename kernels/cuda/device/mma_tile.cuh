// Matrix products of a warp on tiles in shared memory, for bf16 (mma m16n8k16) and float32 (three tf32 products, m16n8k8).
//
// Both have one structure, in 32-bit words: a product step takes 8 words of depth (16 bf16 or 8 floats), ldmatrix fetches 8
// rows of 4 words, and a fragment's words are at the same places. A thread is g = lane / 4, t = lane % 4.
//
// float32 is split as x = big + small, both tf32, and big big' + big small' + small big' are summed, small parts first: 2^-22
// of each product is lost, as in a float32 product, at a third of the tf32 rate, which is 2.5 times the rate of FFMA on an
// H100.
//
// Tiles are rows of kD elements with 16 bytes of padding: an odd number of 16-byte chunks a row, so that the 8 rows of an
// ldmatrix, and the float loads of product_nn, fall into different banks.
#pragma once

#include "kernels/cuda/device/vector.cuh"

namespace tradewind::kernels::detail {

template <class T>
inline constexpr int kPerWord = 4 / static_cast<int>(sizeof(T));
/// Elements from row to row of a tile.
template <class T, int kD>
inline constexpr int kTileStride = kD + 16 / static_cast<int>(sizeof(T));

template <class T>
struct RowFragment;  // 16 rows, 8 words deep: the left operand
template <class T>
struct ColumnFragment;  // 8 columns, 8 words deep: the right operand

template <>
struct RowFragment<BFloat16> {
  std::uint32_t r[4];
  TRADEWIND_DEVICE void set(const std::uint32_t (&words)[4]) {
    for (int i = 0; i < 4; ++i) r[i] = words[i];
  }
};
template <>
struct ColumnFragment<BFloat16> {
  std::uint32_t r[2];
  TRADEWIND_DEVICE void set(std::uint32_t first, std::uint32_t second) { r[0] = first, r[1] = second; }
};

TRADEWIND_DEVICE void split(std::uint32_t bits, std::uint32_t& big, std::uint32_t& small) {
  const float x = from_bits(bits);
  big = round_tf32(x);
  small = round_tf32(x - from_bits(big));
}
template <>
struct RowFragment<float> {
  std::uint32_t big[4], small[4];
  TRADEWIND_DEVICE void set(const std::uint32_t (&words)[4]) {
    for (int i = 0; i < 4; ++i) split(words[i], big[i], small[i]);
  }
};
template <>
struct ColumnFragment<float> {
  std::uint32_t big[2], small[2];
  TRADEWIND_DEVICE void set(std::uint32_t first, std::uint32_t second) {
    split(first, big[0], small[0]);
    split(second, big[1], small[1]);
  }
};

TRADEWIND_DEVICE void multiply(float (&d)[4], const RowFragment<BFloat16>& a, const ColumnFragment<BFloat16>& b) {
  mma_bfloat16(d, a.r, b.r);
}
TRADEWIND_DEVICE void multiply(float (&d)[4], const RowFragment<float>& a, const ColumnFragment<float>& b) {
  mma_tf32(d, a.small, b.big);
  mma_tf32(d, a.big, b.small);
  mma_tf32(d, a.big, b.big);
}

/// acc[m][n] += a b^T: a has 16 kM rows, b 8 kN rows, both kD wide. acc[m][n][e] is row 16 m + g + 8 (e / 2), column 8 n + 2 t
/// + e % 2.
template <class T, int kD, int kM, int kN>
TRADEWIND_DEVICE void product_nt(float (&acc)[kM][kN][4], const T* a, const T* b) {
  static_assert(kN % 2 == 0);
  constexpr int kStride = kTileStride<T, kD>;
  const int l = lane();
  const T* a_row = a + (l % 16) * kStride + l / 16 * 4 * kPerWord<T>;
  const T* b_row = b + (l % 8 + l / 16 * 8) * kStride + l / 8 % 2 * 4 * kPerWord<T>;
  [[maybe_unused]] constexpr int kUnroll = sizeof(T) == 2 ? kD / 16 : 2;  // splitting floats takes registers
#pragma unroll kUnroll
  for (int w = 0; w < kD / kPerWord<T>; w += 8) {
    RowFragment<T> left[kM];
    std::uint32_t r[4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      load_matrices(r, a_row + 16 * m * kStride + w * kPerWord<T>);
      left[m].set(r);
    }
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      load_matrices(r, b_row + 8 * n * kStride + w * kPerWord<T>);
      ColumnFragment<T> first, second;
      first.set(r[0], r[1]);
      second.set(r[2], r[3]);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply(acc[m][n], left[m], first);
        multiply(acc[m][n + 1], left[m], second);
      }
    }
  }
}

/// acc[m][d] += p b: p, 16 kM rows by 8 kN columns, is laid out as product_nt's acc; b has 8 kN rows, kD wide.
template <int kD, int kM, int kN>
TRADEWIND_DEVICE void product_nn(float (&acc)[kM][kD / 8][4], const float (&p)[kM][kN][4], const BFloat16* b) {
  static_assert(kN % 2 == 0);
  constexpr int kStride = kTileStride<BFloat16, kD>;
  const int l = lane();
  const BFloat16* b_row = b + (l % 16) * kStride + l / 16 * 8;
#pragma unroll
  for (int n = 0; n < kN; n += 2) {  // two columns' fragments of acc are one of a left operand
    RowFragment<BFloat16> left[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m)
      left[m].set({pack_bfloat16(p[m][n][0], p[m][n][1]), pack_bfloat16(p[m][n][2], p[m][n][3]),
                   pack_bfloat16(p[m][n + 1][0], p[m][n + 1][1]), pack_bfloat16(p[m][n + 1][2], p[m][n + 1][3])});
#pragma unroll
    for (int d = 0; d < kD / 8; d += 2) {
      std::uint32_t r[4];
      load_matrices_transposed(r, b_row + 8 * n * kStride + 8 * d);
      ColumnFragment<BFloat16> first, second;
      first.set(r[0], r[1]);
      second.set(r[2], r[3]);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply(acc[m][d], left[m], first);
        multiply(acc[m][d + 1], left[m], second);
      }
    }
  }
}
// float32: the depth of a step is permuted, t and t + 4 being columns 2 t and 2 t + 1 of p, where the thread has them.
template <int kD, int kM, int kN>
TRADEWIND_DEVICE void product_nn(float (&acc)[kM][kD / 8][4], const float (&p)[kM][kN][4], const float* b) {
  constexpr int kStride = kTileStride<float, kD>;
  const int l = lane();
  const float* b_at = b + l % 4 * 2 * kStride + l / 4;
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    RowFragment<float> left[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m)
      left[m].set({float_bits(p[m][n][0]), float_bits(p[m][n][2]), float_bits(p[m][n][1]), float_bits(p[m][n][3])});
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) {
      ColumnFragment<float> right;
      right.set(float_bits(load(b_at + 8 * n * kStride + 8 * d)), float_bits(load(b_at + (8 * n + 1) * kStride + 8 * d)));
#pragma unroll
      for (int m = 0; m < kM; ++m) multiply(acc[m][d], left[m], right);
    }
  }
}

/// p is a multiple of two elements.
TRADEWIND_DEVICE void store_pair(float* p, float x, float y) {
  store(reinterpret_cast<std::uint64_t*>(p), float_bits(x) | std::uint64_t{float_bits(y)} << 32);
}
TRADEWIND_DEVICE void store_pair(BFloat16* p, float x, float y) {
  store(reinterpret_cast<std::uint32_t*>(p), pack_bfloat16(x, y));
}

/// Copies kRows rows of a matrix into a tile, 16 bytes at a time: asynchronously where `aligned` (base and stride in multiples
/// of 16 bytes), else element by element. Rows from `limit` on, and columns from D on, become 0. All kThreads threads call it;
/// the caller commits.
template <class T, int kD, int kRows, int kThreads>
TRADEWIND_DEVICE void load_tile(T* tile, const T* matrix, std::int64_t stride, int first, int limit, int D, bool aligned) {
  constexpr int kEach = 16 / static_cast<int>(sizeof(T)), kChunks = kD / kEach;
  if (aligned) {
#pragma unroll 2
    for (int c = linear_thread(); c < kRows * kChunks; c += kThreads) {
      const int row = c / kChunks, column = c % kChunks * kEach;
      const bool inside = first + row < limit && column < D;
      copy_async(tile + row * kTileStride<T, kD> + column, inside ? matrix + (first + row) * stride + column : matrix, inside);
    }
    return;
  }
#pragma unroll 1
  for (int c = linear_thread(); c < kRows * kD; c += kThreads) {
    const int row = c / kD, column = c % kD;
    const bool inside = first + row < limit && column < D;
    store(tile + row * kTileStride<T, kD> + column, inside ? load(matrix + (first + row) * stride + column) : T{});
  }
}

}  // namespace tradewind::kernels::detail
