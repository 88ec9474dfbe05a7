// Elements of memory as floats in registers, 16 bytes at a time where that is possible: for kernels that live on bandwidth.
//
//   load_values(x, p, left, aligned)      x[i] = p[i] for i < left, 0 beyond
//   store_values(p, x, left, aligned)     p[i] = x[i] for i < left, rounded to nearest even
//   load_vector, channel, store_vector    the same for rows whose alignment is known when the kernel is compiled
//   vectors_fit({pointers}, {strides}, dtype)     host: what `aligned` is
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/base/dtype.h"
#include "kernels/cuda/device/simt.cuh"

namespace tradewind::kernels {

template <class T>
inline constexpr int kPerVector = 16 / static_cast<int>(sizeof(T));

TRADEWIND_DEVICE std::uint32_t bits_of(float x) { return float_bits(x); }
TRADEWIND_DEVICE std::uint32_t bits_of(std::int32_t x) { return static_cast<std::uint32_t>(x); }
TRADEWIND_DEVICE std::uint32_t bits_of(BFloat16 x) { return x.bits; }

TRADEWIND_DEVICE void store_one(float* p, float x) { store(p, x); }
TRADEWIND_DEVICE void store_one(BFloat16* p, float x) { store(p, to_bfloat16(x)); }

/// x as it comes back from memory as a T.
template <class T>
TRADEWIND_DEVICE float rounded_to(float x) {
  if constexpr (sizeof(T) == 4)
    return x;
  else
    return to_float(to_bfloat16(x));
}

/// 16 bytes of a row from `channel` on; zero bits past C.
template <bool kAligned, class T>
TRADEWIND_DEVICE Vector16 load_vector(const T* row, int channel, int C) {
  Vector16 v{};
  if constexpr (kAligned) {
    if (channel < C) v = load(reinterpret_cast<const Vector16*>(row + channel));
  } else {
    constexpr int kPer = kPerVector<T>, kInWord = kPer / 4;
#pragma unroll
    for (int j = 0; j < kPer; ++j)
      if (channel + j < C) v.w[j / kInWord] |= bits_of(load(row + channel + j)) << (j % kInWord * 16);
  }
  return v;
}

/// Channel j of a vector of T, as float.
template <class T>
TRADEWIND_DEVICE float channel(const Vector16& v, int j) {
  if constexpr (sizeof(T) == 4)
    return from_bits(v.w[j]);
  else
    return from_bits(j % 2 == 0 ? v.w[j / 2] << 16 : v.w[j / 2] & 0xFFFF0000U);
}

/// x[0, kPerVector<T>) as the 16 bytes that a row of T holds.
template <class T>
TRADEWIND_DEVICE Vector16 packed(const float* x) {
  Vector16 v;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if constexpr (sizeof(T) == 4)
      v.w[j] = float_bits(x[j]);
    else
      v.w[j] = pack_bfloat16(x[2 * j], x[2 * j + 1]);
  }
  return v;
}

/// Writes as many of x[0, kPerVector<T>) to `channel` and on as there are channels below C.
template <bool kAligned, class T>
TRADEWIND_DEVICE void store_vector(T* row, int channel, int C, const float* x) {
  if constexpr (kAligned) {
    if (channel < C) store(reinterpret_cast<Vector16*>(row + channel), packed<T>(x));
  } else {
#pragma unroll
    for (int j = 0; j < kPerVector<T>; ++j)
      if (channel + j < C) store_one(row + channel + j, x[j]);
  }
}

/// kCount is a multiple of kPerVector<T>; `left` may be negative. `aligned`, the same in all threads: p is a multiple of 16
/// bytes. The last elements of a row or array, and all where nothing is aligned, go one by one.
template <int kCount, class T>
TRADEWIND_DEVICE void load_values(float (&x)[kCount], const T* p, std::int64_t left, bool aligned) {
  constexpr int kPer = kPerVector<T>;
  static_assert(kCount % kPer == 0);
  if (aligned && left >= kCount) {
#pragma unroll
    for (int i = 0; i < kCount; i += kPer) {
      const Vector16 v = load(reinterpret_cast<const Vector16*>(p + i));
#pragma unroll
      for (int j = 0; j < kPer; ++j) x[i + j] = channel<T>(v, j);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) x[i] = i < left ? to_float(load(p + i)) : 0.0F;
}

template <int kCount, class T>
TRADEWIND_DEVICE void store_values(T* p, const float (&x)[kCount], std::int64_t left, bool aligned) {
  constexpr int kPer = kPerVector<T>;
  static_assert(kCount % kPer == 0);
  if (aligned && left >= kCount) {
#pragma unroll
    for (int i = 0; i < kCount; i += kPer) store(reinterpret_cast<Vector16*>(p + i), packed<T>(x + i));
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    if (i < left) store_one(p + i, x[i]);
}

/// Host: whether rows `strides` elements apart that begin at the pointers (null: not there) all begin at whole vectors.
inline bool vectors_fit(std::initializer_list<const void*> pointers, std::initializer_list<std::int64_t> strides, DType dtype) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }) &&
         std::all_of(strides.begin(), strides.end(),
                     [&](std::int64_t stride) { return stride * static_cast<std::int64_t>(size_of(dtype)) % 16 == 0; });
}

}  // namespace tradewind::kernels
