// Philox4x32-10 on vectors: the dropout mask of 64 columns of a row at a time, compiled once an instruction set.
//
// 64 columns are the 8 counters of one group of base/philox.h. Counters live one in each 64-bit lane, since the
// multiplication reads the low half of a lane and ignores the rest: a round is two multiplications, two shifts and four
// XORs, and nothing is shuffled until the end. Even counters and odd ones are kept apart, so that the end is one shift and
// one blend a word.

// Include guard, toggled: this file is read once a target.
#if defined(TRADEWIND_KERNELS_CPU_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRADEWIND_KERNELS_CPU_PHILOX_INL_H_
#undef TRADEWIND_KERNELS_CPU_PHILOX_INL_H_
#else
#define TRADEWIND_KERNELS_CPU_PHILOX_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/base/philox.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The words of 8 counters {first_group + i, position, sample low, sample high}: words[8 w + i] is word w of counter i.
HWY_INLINE void philox_groups(std::uint32_t* HWY_RESTRICT words, PhiloxKey key, std::uint32_t first_group,
                              std::uint32_t position, std::uint64_t sample) {
#if HWY_TARGET == HWY_SCALAR  // has no 64-bit lanes to widen into
  for (std::uint32_t i = 0; i < 8; ++i) {
    const PhiloxBlock block = philox(
        key, {{first_group + i, position, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}});
    for (std::uint32_t w = 0; w < 4; ++w) words[8 * w + i] = block.w[w];
  }
#else
  const hn::CappedTag<std::uint32_t, 8> d;
  const hn::Repartition<std::uint64_t, decltype(d)> dw;
  using V = hn::Vec<decltype(d)>;
  for (std::size_t i = 0; i < 8; i += hn::Lanes(d)) {
    const auto groups = hn::BitCast(dw, hn::Iota(d, first_group + static_cast<std::uint32_t>(i)));
    V even[4] = {hn::BitCast(d, groups), hn::Set(d, position), hn::Set(d, static_cast<std::uint32_t>(sample)),
                 hn::Set(d, static_cast<std::uint32_t>(sample >> 32))};
    V odd[4] = {hn::BitCast(d, hn::ShiftRight<32>(groups)), even[1], even[2], even[3]};
    const V m0 = hn::Set(d, kPhiloxM0), m1 = hn::Set(d, kPhiloxM1);
    PhiloxKey k = key;
    const auto round = [&](V* w, V k0, V k1) HWY_ATTR {
      const auto p0 = hn::MulEven(w[0], m0), p1 = hn::MulEven(w[2], m1);
      w[0] = hn::Xor(hn::BitCast(d, hn::ShiftRight<32>(p1)), hn::Xor(w[1], k0));
      w[2] = hn::Xor(hn::BitCast(d, hn::ShiftRight<32>(p0)), hn::Xor(w[3], k1));
      w[1] = hn::BitCast(d, p1);
      w[3] = hn::BitCast(d, p0);
    };
    for (int r = 0; r < 10; ++r) {
      const V k0 = hn::Set(d, k.k0), k1 = hn::Set(d, k.k1);
      round(even, k0, k1);
      round(odd, k0, k1);
      k.k0 += kPhiloxW0;
      k.k1 += kPhiloxW1;
    }
    for (std::size_t w = 0; w < 4; ++w) {
      const auto high = hn::BitCast(d, hn::ShiftLeft<32>(hn::BitCast(dw, odd[w])));
      hn::Store(hn::OddEven(high, even[w]), d, words + 8 * w + i);
    }
  }
#endif
}

/// keep[r] = all ones where column 64 `group` + r of the row is kept, 0 where it is dropped, for r in [0, 64).
/// keep is aligned to a vector.
HWY_INLINE void dropout_keep_64(std::uint32_t* HWY_RESTRICT keep, PhiloxKey key, std::uint32_t threshold, std::uint64_t sample,
                                std::uint32_t position, std::uint32_t group) {
  HWY_ALIGN std::uint32_t words[32];
  philox_groups(words, key, 8 * group, position, sample);
  const hn::CappedTag<std::int32_t, 8> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto below = hn::Set(d, static_cast<std::int32_t>(threshold) - 1), low = hn::Set(d, 0xFFFF);
  for (std::size_t i = 0; i < 32; i += hn::Lanes(d)) {
    const auto w = hn::Load(du, words + i);
    const auto first = hn::And(hn::BitCast(d, w), low), second = hn::BitCast(d, hn::ShiftRight<16>(w));
    hn::Store(hn::BitCast(du, hn::VecFromMask(d, hn::Gt(first, below))), du, keep + i);
    hn::Store(hn::BitCast(du, hn::VecFromMask(d, hn::Gt(second, below))), du, keep + 32 + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels
HWY_AFTER_NAMESPACE();

#endif  // TRADEWIND_KERNELS_CPU_PHILOX_INL_H_
