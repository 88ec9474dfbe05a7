// Loading and storing the last `count` < Lanes(d) elements of an array, compiled once an instruction set.
//
// Never touches memory past them: the neighbour may belong to another thread or to an unmapped page.

// Include guard, toggled: this file is read once a target.
#if defined(TRADEWIND_KERNELS_CPU_TAIL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRADEWIND_KERNELS_CPU_TAIL_INL_H_
#undef TRADEWIND_KERNELS_CPU_TAIL_INL_H_
#else
#define TRADEWIND_KERNELS_CPU_TAIL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// p[0, count) in the first lanes, zero in the others. count may be 0 to Lanes(d).
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_n(D d, const T* p, std::size_t count) {
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#elif HWY_TARGET == HWY_SCALAR
  return count != 0 ? hn::LoadU(d, p) : hn::Zero(d);
#else
  HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
  std::memcpy(lanes, p, count * sizeof(T));
  return hn::Load(d, lanes);
#endif
}

/// Writes the first `count` lanes of v.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_n(hn::Vec<D> v, D d, T* p, std::size_t count) {
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#elif HWY_TARGET == HWY_SCALAR
  if (count != 0) hn::StoreU(v, d, p);
#else
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  std::memcpy(p, lanes, count * sizeof(T));
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels
HWY_AFTER_NAMESPACE();

#endif  // TRADEWIND_KERNELS_CPU_TAIL_INL_H_
