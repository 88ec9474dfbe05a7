// simt.cuh for g++: the meaning of each function, on the running thread of Block::current(). simt.cuh says what each one is
// for.
//
// Every function knows where it was called (the defaulted Where), which is what faults name.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/cuda/device/simt.cuh"
#include "tests/simt/block.h"

#define TRADEWIND_KERNEL static
#define TRADEWIND_KERNEL_BOUNDS(threads, blocks) static
#define TRADEWIND_DEVICE inline

namespace tradewind::kernels {

using simt::Where;

inline Index3 thread_index() { return simt::Block::current().thread_index(); }
inline Index3 block_index() { return simt::Block::current().index(); }
inline Index3 block_size() { return simt::Block::current().kernel().block; }
inline Index3 grid_size() { return simt::Block::current().kernel().grid; }
inline int linear_thread() { return simt::Block::current().linear_thread(); }
inline int lane() { return linear_thread() % kWarpSize; }
inline int warp() { return linear_thread() / kWarpSize; }
inline std::byte* shared_arena() { return simt::Machine::current().shared().base(); }

template <class T>
T load(const T* p, const Where& where = Where::current()) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) & (sizeof(T) - 1)) == 0 && sizeof(T) <= 16);
  simt::Block::current().check_read(p, sizeof(T), sizeof(T), where);
  T x;
  std::memcpy(&x, p, sizeof(T));
  return x;
}
template <class T>
void store(T* p, std::type_identity_t<T> x, const Where& where = Where::current()) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) & (sizeof(T) - 1)) == 0 && sizeof(T) <= 16);
  simt::Block::current().check_write(p, sizeof(T), sizeof(T), where);
  std::memcpy(p, &x, sizeof(T));
}

inline void sync_block(const Where& where = Where::current()) { simt::Block::current().sync_block(where); }
inline void sync_warp(std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  simt::Block::current().meet(
      simt::Meeting::kSync, mask, {}, [](std::uint32_t, std::array<simt::Brought, 32>&) {}, where);
}
template <int kId>
void sync_named(int threads, const Where& where = Where::current()) {
  static_assert(kId >= 1 && kId <= 15, "barrier 0 is sync_block's");
  simt::Block::current().sync_named(kId, threads, true, where);
}
template <int kId>
void arrive_named(int threads, const Where& where = Where::current()) {
  static_assert(kId >= 1 && kId <= 15, "barrier 0 is sync_block's");
  simt::Block::current().sync_named(kId, threads, false, where);
}

/// x of lane `from`, which must be in the mask.
template <class T>
T shuffle_from(T x, int from, std::uint32_t mask, const Where& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  if ((mask >> from & 1U) == 0)
    simt::Block::current().fault("shuffle from lane " + std::to_string(from) + ", which is not in the mask", where);
  T result = x;
  simt::Block::current().meet(
      simt::Meeting::kShuffle, mask, {&x, &result, from},
      [](std::uint32_t among, std::array<simt::Brought, 32>& lanes) {
        for (std::size_t l = 0; l < 32; ++l)
          if ((among >> l & 1U) != 0) std::memcpy(lanes[l].out, lanes[static_cast<std::size_t>(lanes[l].number)].in, sizeof(T));
      },
      where);
  return result;
}
template <class T>
T shuffle(T x, int from, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  return shuffle_from(x, from & 31, mask, where);
}
template <class T>
T shuffle_xor(T x, int bits, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  return shuffle_from(x, (lane() ^ bits) & 31, mask, where);
}
template <class T>
T shuffle_up(T x, int by, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  return shuffle_from(x, lane() - by < 0 ? lane() : lane() - by, mask, where);
}
template <class T>
T shuffle_down(T x, int by, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  return shuffle_from(x, lane() + by > 31 ? lane() : lane() + by, mask, where);
}

inline std::uint32_t ballot(bool x, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  std::uint32_t result = 0;
  simt::Block::current().meet(
      simt::Meeting::kVote, mask, {nullptr, &result, x ? 1 : 0},
      [](std::uint32_t among, std::array<simt::Brought, 32>& lanes) {
        std::uint32_t votes = 0;
        for (std::size_t l = 0; l < 32; ++l)
          if ((among >> l & 1U) != 0 && lanes[l].number != 0) votes |= 1U << l;
        for (std::size_t l = 0; l < 32; ++l)
          if ((among >> l & 1U) != 0) std::memcpy(lanes[l].out, &votes, 4);
      },
      where);
  return result;
}
inline bool vote_any(bool x, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  return ballot(x, mask, where) != 0;
}
inline bool vote_all(bool x, std::uint32_t mask = kFullWarp, const Where& where = Where::current()) {
  return ballot(x, mask, where) == mask;
}

inline void copy_async(void* shared, const void* global, bool valid = true, const Where& where = Where::current()) {
  simt::Block::current().copy_async(shared, global, valid, where);
}
inline void copy_async_commit() { simt::Block::current().copy_async_commit(); }
template <int kLeft>
void copy_async_wait() {
  simt::Block::current().copy_async_wait(kLeft);
}

/// ldmatrix: matrix i has its 8 rows of 16 bytes at the addresses of lanes 8 i to 8 i + 7 (at `number` registers, 1, 2 or 4).
/// Lane l gets elements (l / 4, 2 (l % 4)) and the next; transposed: (2 (l % 4), l / 4) and the one below.
template <bool kTransposed, int kCount>
void matrices(std::uint32_t (&r)[kCount], const void* row, const Where& where) {
  simt::Block& block = simt::Block::current();
  if (lane() < 8 * kCount) block.check_read(row, 16, 16, where);
  block.meet(
      simt::Meeting::kMatrices, kFullWarp, {row, r, kCount},
      [](std::uint32_t, std::array<simt::Brought, 32>& lanes) {
        for (std::size_t l = 0; l < 32; ++l)
          for (std::size_t i = 0; i < kCount; ++i) {
            const auto element = [&](std::size_t at_row, std::size_t column) {
              std::uint16_t x = 0;
              std::memcpy(&x, static_cast<const std::byte*>(lanes[8 * i + at_row].in) + 2 * column, 2);
              return std::uint32_t{x};
            };
            const std::size_t a = l / 4, b = 2 * (l % 4);
            const std::uint32_t x =
                kTransposed ? element(b, a) | element(b + 1, a) << 16 : element(a, b) | element(a, b + 1) << 16;
            std::memcpy(static_cast<std::uint32_t*>(lanes[l].out) + i, &x, 4);
          }
      },
      where);
}
template <int kCount>
void load_matrices(std::uint32_t (&r)[kCount], const void* row, const Where& where = Where::current()) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4);
  matrices<false>(r, row, where);
}
template <int kCount>
void load_matrices_transposed(std::uint32_t (&r)[kCount], const void* row, const Where& where = Where::current()) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4);
  matrices<true>(r, row, where);
}

inline std::uint32_t float_bits(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float from_bits(std::uint32_t bits) {
  float x = 0;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float to_float(BFloat16 x) { return from_bits(std::uint32_t{x.bits} << 16); }
inline float to_float(float x) { return x; }
inline BFloat16 to_bfloat16(float x) {
  if (std::isnan(x)) return {0x7FFF};
  const std::uint32_t bits = float_bits(x);
  return {static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16)};
}
inline std::uint32_t pack_bfloat16(float low, float high) {
  return std::uint32_t{to_bfloat16(low).bits} | std::uint32_t{to_bfloat16(high).bits} << 16;
}

namespace detail {

/// What a lane brings to an mma.
struct MmaOperands {
  const std::uint32_t* a;
  const std::uint32_t* b;
};

/// d += a b. `kPerWord` elements in a 32-bit register: 2 of bf16 (k 16), 1 of tf32 (k 8). PTX manual, "Matrix fragments for
/// mma.m16n8k16" and "m16n8k8": with g = lane / 4 and t = lane % 4, register words of a are at (g, t) (g + 8, t) (g, t + 4) (g
/// + 8, t + 4) of 16 rows of 8 words, of b at (t, g) (t + 4, g) of 8 words of k by 8 columns; d is (g, 2 t) (g, 2 t + 1) (g +
/// 8, 2 t) (g + 8, 2 t + 1).
template <int kPerWord>
void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const Where& where) {
  const MmaOperands operands{a, b};
  simt::Block::current().meet(
      simt::Meeting::kMma, kFullWarp, {&operands, d, 0},
      [](std::uint32_t, std::array<simt::Brought, 32>& lanes) {
        float left[8 * kPerWord][16], right[8 * kPerWord][8];
        const auto widen = [](std::uint32_t word, int part) {
          return from_bits(kPerWord == 1 ? word & 0xFFFFE000U : part == 0 ? word << 16 : word & 0xFFFF0000U);
        };
        for (int l = 0; l < 32; ++l) {
          const auto* o = static_cast<const MmaOperands*>(lanes[static_cast<std::size_t>(l)].in);
          const int g = l / 4, t = l % 4;
          for (int part = 0; part < kPerWord; ++part) {
            for (int i = 0; i < 4; ++i) left[(t + 4 * (i / 2)) * kPerWord + part][g + 8 * (i % 2)] = widen(o->a[i], part);
            for (int i = 0; i < 2; ++i) right[(t + 4 * i) * kPerWord + part][g] = widen(o->b[i], part);
          }
        }
        float sum[16][8] = {};
        for (int k = 0; k < 8 * kPerWord; ++k)
          for (int m = 0; m < 16; ++m)
            for (int n = 0; n < 8; ++n) sum[m][n] += left[k][m] * right[k][n];
        for (int l = 0; l < 32; ++l) {
          auto* out = static_cast<float*>(lanes[static_cast<std::size_t>(l)].out);
          for (int i = 0; i < 4; ++i) out[i] += sum[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2];
        }
      },
      where);
}

}  // namespace detail

inline void mma_bfloat16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                         const Where& where = Where::current()) {
  detail::mma<2>(d, a, b, where);
}
inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const Where& where = Where::current()) {
  detail::mma<1>(d, a, b, where);
}

inline std::uint32_t round_tf32(float x) {
  const std::uint32_t bits = float_bits(x);
  if (std::isnan(x)) return 0x7FFFFFFFU;
  return (bits + 0x1000U) & 0xFFFFE000U;
}
inline float exp2_approximate(float x) { return std::exp2(x); }
inline float log2_approximate(float x) { return std::log2(x); }
inline float reciprocal_approximate(float x) {
  const float y = 1.0F / x;
  return std::abs(y) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x) : y;
}

}  // namespace tradewind::kernels
