// Dropout on the CPU: masks are made 64 columns at a time and used from the first-level cache.
#include "kernels/cpu/dropout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/philox-inl.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

template <bool kAdd>
HWY_INLINE void rows(float* y, const float* x, std::size_t N, std::size_t C, PhiloxKey key, std::uint32_t threshold,
                     const std::uint64_t* sample, const std::int32_t* position) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const std::size_t L = hn::Lanes(d);
  const auto scale = hn::Set(d, dropout_scale(threshold));
  HWY_ALIGN std::uint32_t keep[64];
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t c = 0; c < C; c += 64) {
      dropout_keep_64(keep, key, threshold, sample[n], static_cast<std::uint32_t>(position[n]),
                      static_cast<std::uint32_t>(c / 64));
      const std::size_t width = HWY_MIN(C - c, 64);
      std::size_t i = 0;
      for (; i + L <= width; i += L) {
        auto out = hn::And(hn::Mul(hn::LoadU(d, x + i), scale), hn::BitCast(d, hn::Load(du, keep + i)));
        if constexpr (kAdd) out = hn::Add(out, hn::LoadU(d, y + i));
        hn::StoreU(out, d, y + i);
      }
      if (const std::size_t k = width - i; k != 0) {
        auto out = hn::And(hn::Mul(load_n(d, x + i, k), scale), hn::BitCast(d, hn::Load(du, keep + i)));
        if constexpr (kAdd) out = hn::Add(out, load_n(d, y + i, k));
        store_n(out, d, y + i, k);
      }
      x += width;
      y += width;
    }
  }
}

void dropout_rows(float* y, const float* x, std::size_t N, std::size_t C, PhiloxKey key, std::uint32_t threshold,
                  const std::uint64_t* sample, const std::int32_t* position, bool add) {
  if (add)
    rows<true>(y, x, N, C, key, threshold, sample, position);
  else
    rows<false>(y, x, N, C, key, threshold, sample, position);
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(dropout_rows);

void dropout_apply(float* y, const float* x, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                   Write write, const Launch& launch) {
  const std::uint32_t threshold = dropout_threshold(dropout.p);
  if (threshold == 0) {
    if (write == Write::kAccumulate) {
      parallel_pieces(N * C, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) y[i] += x[i];
      });
    } else if (y != x) {
      parallel_pieces(N * C, kGrain, launch.threads,
                      [&](std::int64_t begin, std::int64_t end) { std::copy(x + begin, x + end, y + begin); });
    }
    return;
  }
  const PhiloxKey key = philox_key(launch.step->seed, dropout.purpose);
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(dropout_rows)
    (y + begin * C, x + begin * C, static_cast<std::size_t>(end - begin), static_cast<std::size_t>(C), key, threshold,
     keys.sample + begin, keys.position + begin, write == Write::kAccumulate);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
