// Norms on the CPU. A row is read from memory once and visited again in the first-level cache: sum, squared deviations
// (with the rounding error of the mean taken out, so that values far from 0 keep their digits), output.
//
// Four rows go side by side, so that their four chains of sums along the row overlap, weights are loaded once for the four,
// and in backward dweight and dbias are loaded and stored once for the four:
//   xhat = (x - mean) rstd, g = dy * weight, dx = rstd (g - mean(g) - xhat mean(g xhat)); RMS norm has no mean(g).
#include "kernels/cpu/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include <cmath>

#include "kernels/cpu/philox-inl.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// f(c, k) for each whole vector at column c of [begin, end) with k = Lanes, then once with what is left.
template <class F>
HWY_INLINE void for_columns(std::size_t begin, std::size_t end, const F& f) {
  const D d;
  const std::size_t L = hn::Lanes(d);
  std::size_t c = begin;
  for (; c + L <= end; c += L) f(c, L);
  if (c < end) f(c, end - c);
}
HWY_INLINE V load(const float* p, std::size_t k) {
  const D d;
  return HWY_LIKELY(k == hn::Lanes(d)) ? hn::LoadU(d, p) : load_n(d, p, k);
}
HWY_INLINE void store(V v, float* p, std::size_t k) {
  const D d;
  if (HWY_LIKELY(k == hn::Lanes(d)))
    hn::StoreU(v, d, p);
  else
    store_n(v, d, p, k);
}
// The weights of column c and on: ones where there are none.
template <class Rows>
HWY_INLINE V weight_of(const Rows& a, std::size_t c, std::size_t k) {
  return a.weight != nullptr ? load(a.weight + c, k) : hn::Set(D(), 1.0F);
}
HWY_INLINE float total(V v) { return hn::GetLane(hn::SumOfLanes(D(), v)); }

// The mask bits of column c: all ones where there is no dropout.
HWY_INLINE V apply_keep(V v, const std::uint32_t* keep, std::size_t c) {
  const D d;
  return hn::And(v, hn::BitCast(d, hn::LoadU(hn::RebindToUnsigned<D>(), keep + c % 64)));
}

// s = residual + dropout(x) of row n.
HWY_INLINE void add_branch(const cpu::NormForwardRows& a, std::size_t n) {
  float* s = a.s + n * a.C;
  const float *residual = a.residual + n * a.C, *x = a.x + n * a.C;
  if (a.threshold == 0)
    return for_columns(0, a.C, [&](std::size_t c, std::size_t k) HWY_ATTR {
      store(hn::Add(load(residual + c, k), load(x + c, k)), s + c, k);
    });
  HWY_ALIGN std::uint32_t keep[64];
  const V scale = hn::Set(D(), dropout_scale(a.threshold));
  for (std::size_t from = 0; from < a.C; from += 64) {
    dropout_keep_64(keep, a.key, a.threshold, a.sample[n], static_cast<std::uint32_t>(a.position[n]),
                    static_cast<std::uint32_t>(from / 64));
    for_columns(from, HWY_MIN(a.C, from + 64), [&](std::size_t c, std::size_t k) HWY_ATTR {
      store(hn::Add(load(residual + c, k), apply_keep(hn::Mul(load(x + c, k), scale), keep, c)), s + c, k);
    });
  }
}

// R rows from row n on, x being the first.
template <int R, bool kLayer>
HWY_INLINE void normalise(const cpu::NormForwardRows& a, const float* x, std::size_t n) {
  const D d;
  const std::size_t C = a.C;
  const float inverse = 1.0F / static_cast<float>(C);
  V mean[R], sum[R], square[R], rstd[R], shift[R];
  for (int r = 0; r < R; ++r) mean[r] = sum[r] = square[r] = hn::Zero(d);
  if constexpr (kLayer) {
    for_columns(0, C, [&](std::size_t c, std::size_t k) HWY_ATTR {
      HWY_UNROLL(4)
      for (int r = 0; r < R; ++r) sum[r] = hn::Add(sum[r], load(x + static_cast<std::size_t>(r) * C + c, k));
    });
    for (int r = 0; r < R; ++r) {
      mean[r] = hn::Mul(hn::SumOfLanes(d, sum[r]), hn::Set(d, inverse));
      sum[r] = hn::Zero(d);
    }
  }
  for_columns(0, C, [&](std::size_t c, std::size_t k) HWY_ATTR {
    HWY_UNROLL(4)
    for (int r = 0; r < R; ++r) {
      V deviation = hn::Sub(load(x + static_cast<std::size_t>(r) * C + c, k), mean[r]);
      if (HWY_UNLIKELY(k != hn::Lanes(d))) deviation = hn::IfThenElseZero(hn::FirstN(d, k), deviation);
      if constexpr (kLayer) sum[r] = hn::Add(sum[r], deviation);
      square[r] = hn::MulAdd(deviation, deviation, square[r]);
    }
  });
  for (int r = 0; r < R; ++r) {
    // What is left of the mean after its rounding: deviations from it sum to C * rest.
    const float rest = kLayer ? total(sum[r]) * inverse : 0.0F;
    const float variance = total(square[r]) * inverse - rest * rest;
    const float scale = 1.0F / std::sqrt((variance < 0.0F ? 0.0F : variance) + a.epsilon);  // a NaN stays
    const std::size_t row = n + static_cast<std::size_t>(r);
    a.rstd[row] = scale;
    if constexpr (kLayer) a.mean[row] = hn::GetLane(mean[r]) + rest;
    rstd[r] = hn::Set(d, scale);
    shift[r] = hn::Set(d, -rest * scale);
  }
  float* y = a.y + n * C;
  for_columns(0, C, [&](std::size_t c, std::size_t k) HWY_ATTR {
    const V w = weight_of(a, c, k), b = a.bias != nullptr ? load(a.bias + c, k) : hn::Zero(d);
    HWY_UNROLL(4)
    for (int r = 0; r < R; ++r) {
      const std::size_t at = static_cast<std::size_t>(r) * C + c;
      const V in = load(x + at, k);
      const V xhat = kLayer ? hn::MulAdd(hn::Sub(in, mean[r]), rstd[r], shift[r]) : hn::Mul(in, rstd[r]);
      const V out = hn::MulAdd(xhat, w, b);
      if (a.stream)
        hn::Stream(out, d, y + at);  // only where C is a multiple of the vector
      else
        store(out, y + at, k);
    }
  });
}

template <bool kLayer>
HWY_INLINE void forward_all(const cpu::NormForwardRows& a) {
  const float* x = a.residual != nullptr ? a.s : a.x;
  std::size_t n = 0;
  for (; n + 4 <= a.N; n += 4) {
    if (a.residual != nullptr)
      for (std::size_t r = 0; r < 4; ++r) add_branch(a, n + r);
    normalise<4, kLayer>(a, x + n * a.C, n);
  }
  for (; n < a.N; ++n) {
    if (a.residual != nullptr) add_branch(a, n);
    normalise<1, kLayer>(a, x + n * a.C, n);
  }
}

HWY_FLATTEN void forward_rows(const cpu::NormForwardRows& a, bool layer) {
  if (a.y == nullptr)
    for (std::size_t n = 0; n < a.N; ++n) add_branch(a, n);
  else if (layer)
    forward_all<true>(a);
  else
    forward_all<false>(a);
  if (a.stream) hwy::FlushStream();
}

// out and masked of row n; gradient(c, k) is what comes through the norm.
template <class F>
HWY_INLINE void write_row(const cpu::NormBackwardRows& a, std::size_t n, const F& gradient) {
  const D d;
  float* out = a.out + n * a.C;
  const float* add = a.add == nullptr ? nullptr : a.add + n * a.C;
  const auto value = [&](std::size_t c, std::size_t k) HWY_ATTR {
    const V g = gradient(c, k);
    return add == nullptr ? g : hn::Add(g, load(add + c, k));
  };
  if (a.masked == nullptr) {
    if (a.stream)
      for (std::size_t c = 0; c < a.C; c += hn::Lanes(d)) hn::Stream(value(c, hn::Lanes(d)), d, out + c);
    else
      for_columns(0, a.C, [&](std::size_t c, std::size_t k) HWY_ATTR { store(value(c, k), out + c, k); });
    return;
  }
  float* masked = a.masked + n * a.C;
  if (a.threshold == 0)
    return for_columns(0, a.C, [&](std::size_t c, std::size_t k) HWY_ATTR {
      const V v = value(c, k);
      store(v, out + c, k);
      store(v, masked + c, k);
    });
  HWY_ALIGN std::uint32_t keep[64];
  const V scale = hn::Set(d, dropout_scale(a.threshold));
  for (std::size_t from = 0; from < a.C; from += 64) {
    dropout_keep_64(keep, a.key, a.threshold, a.sample[n], static_cast<std::uint32_t>(a.position[n]),
                    static_cast<std::uint32_t>(from / 64));
    for_columns(from, HWY_MIN(a.C, from + 64), [&](std::size_t c, std::size_t k) HWY_ATTR {
      const V v = value(c, k);
      store(v, out + c, k);
      store(apply_keep(hn::Mul(v, scale), keep, c), masked + c, k);
    });
  }
}

// R rows from row n on.
template <int R, bool kLayer, bool kWeights>
HWY_INLINE void backward_block(const cpu::NormBackwardRows& a, std::size_t n) {
  const D d;
  const std::size_t C = a.C;
  const float *dy = a.dy + n * C, *x = a.x + n * C;
  V sum[R], product[R], mean[R], rstd[R];
  for (int r = 0; r < R; ++r) {
    sum[r] = product[r] = hn::Zero(d);
    mean[r] = hn::Set(d, kLayer ? a.mean[n + static_cast<std::size_t>(r)] : 0.0F);
    rstd[r] = hn::Set(d, a.rstd[n + static_cast<std::size_t>(r)]);
  }
  for_columns(0, C, [&](std::size_t c, std::size_t k) HWY_ATTR {
    const V w = weight_of(a, c, k);
    V dw = hn::Zero(d), db = hn::Zero(d);
    HWY_UNROLL(4)
    for (int r = 0; r < R; ++r) {
      const std::size_t at = static_cast<std::size_t>(r) * C + c;
      const V up = load(dy + at, k), in = load(x + at, k);
      const V xhat = hn::Mul(kLayer ? hn::Sub(in, mean[r]) : in, rstd[r]);
      const V g = hn::Mul(up, w);  // 0 past the end of the row, so the sums need no mask
      if constexpr (kLayer) sum[r] = hn::Add(sum[r], g);
      product[r] = hn::MulAdd(g, xhat, product[r]);
      if constexpr (kWeights) {
        dw = hn::MulAdd(up, xhat, dw);
        db = hn::Add(db, up);
      }
    }
    if constexpr (kWeights) {
      store(hn::Add(dw, load(a.dweight + c, k)), a.dweight + c, k);
      store(hn::Add(db, load(a.dbias + c, k)), a.dbias + c, k);
    }
  });
  const float inverse = 1.0F / static_cast<float>(C);
  for (int r = 0; r < R; ++r) {
    const std::size_t row = n + static_cast<std::size_t>(r);
    const float scale = a.rstd[row], g = kLayer ? total(sum[r]) * inverse : 0.0F, gx = total(product[r]) * inverse;
    // dx = g rstd + (x - mean) slope + offset
    const V slope = hn::Set(d, -gx * scale * scale), offset = hn::Set(d, -g * scale);
    const float *dy_row = a.dy + row * C, *x_row = a.x + row * C;
    write_row(a, row, [&](std::size_t c, std::size_t k) HWY_ATTR {
      const V scaled = hn::Mul(load(dy_row + c, k), weight_of(a, c, k));
      const V centred = kLayer ? hn::Sub(load(x_row + c, k), mean[r]) : load(x_row + c, k);
      return hn::MulAdd(scaled, rstd[r], kLayer ? hn::MulAdd(centred, slope, offset) : hn::Mul(centred, slope));
    });
  }
}

template <bool kLayer, bool kWeights>
HWY_INLINE void backward_all(const cpu::NormBackwardRows& a) {
  std::size_t n = 0;
  for (; n + 4 <= a.N; n += 4) backward_block<4, kLayer, kWeights>(a, n);
  for (; n < a.N; ++n) backward_block<1, kLayer, kWeights>(a, n);
}

HWY_FLATTEN void backward_rows(const cpu::NormBackwardRows& a, bool layer) {
  if (a.dy == nullptr) {
    for (std::size_t n = 0; n < a.N; ++n) write_row(a, n, [](std::size_t, std::size_t) HWY_ATTR { return hn::Zero(D()); });
  } else if (layer) {
    if (a.dweight != nullptr)
      backward_all<true, true>(a);
    else
      backward_all<true, false>(a);
  } else {
    if (a.dweight != nullptr)
      backward_all<false, true>(a);
    else
      backward_all<false, false>(a);
  }
  if (a.stream) hwy::FlushStream();
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

namespace {

template <class T>
T* from_row(T* p, std::int64_t offset) {
  return p == nullptr ? nullptr : p + offset;
}

// The rows [begin, end) of `all`.
template <class Rows>
Rows part_of(const Rows& all, std::int64_t begin, std::int64_t end) {
  Rows part = all;
  part.N = static_cast<std::size_t>(end - begin);
  part.x = from_row(all.x, begin * static_cast<std::int64_t>(all.C));
  part.mean = from_row(all.mean, begin);
  part.rstd = from_row(all.rstd, begin);
  part.sample = from_row(all.sample, begin);
  part.position = from_row(all.position, begin);
  return part;
}

// output [C] (=, +=) the parts' sums, in the order of the parts.
void merge(float* output, const float* parts, int count, std::size_t stride, std::size_t C, Write write) {
  if (output == nullptr) return;
  if (write == Write::kAssign) std::fill(output, output + C, 0.0F);
  for (int part = 0; part < count; ++part)
    for (std::size_t c = 0; c < C; ++c) output[c] += parts[static_cast<std::size_t>(part) * stride + c];
}

}  // namespace

void norm_forward(const NormForwardRows& rows, NormKind kind, const Launch& launch) {
  const auto N = static_cast<std::int64_t>(rows.N), C = static_cast<std::int64_t>(rows.C);
  const bool stream = rows.y != nullptr && rows.y != rows.x && C % 16 == 0 && pays_to_stream(rows.y, N * C);
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    NormForwardRows part = part_of(rows, begin, end);
    part.s = from_row(rows.s, begin * C);
    part.y = from_row(rows.y, begin * C);
    part.residual = from_row(rows.residual, begin * C);
    part.stream = stream;
    HWY_DYNAMIC_DISPATCH(forward_rows)(part, kind == NormKind::kLayerNorm);
  });
}

void norm_backward(const NormBackwardRows& rows, NormKind kind, Write write, const Launch& launch) {
  const auto N = static_cast<std::int64_t>(rows.N), C = static_cast<std::int64_t>(rows.C);
  const bool stream =
      rows.masked == nullptr && rows.out != rows.dy && rows.add != rows.out && C % 16 == 0 && pays_to_stream(rows.out, N * C);
  const bool weights = rows.dy != nullptr && (rows.dweight != nullptr || rows.dbias != nullptr);
  // A thread's sums: dweight, then dbias, on cache lines of their own.
  const std::size_t width = (rows.C + 15) / 16 * 16, stride = 2 * width;
  const ScratchArray<float> sums(launch, weights ? stride * static_cast<std::size_t>(launch.threads) : 0);
  if (weights) std::fill(sums.get(), sums.get() + stride * static_cast<std::size_t>(launch.threads), 0.0F);
  parallel_ranges(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end, int thread) {
    NormBackwardRows part = part_of(rows, begin, end);
    part.out = rows.out + begin * C;
    part.masked = from_row(rows.masked, begin * C);
    part.dy = from_row(rows.dy, begin * C);
    part.add = from_row(rows.add, begin * C);
    part.dweight = weights ? sums.get() + static_cast<std::size_t>(thread) * stride : nullptr;
    part.dbias = weights ? part.dweight + width : nullptr;
    part.stream = stream;
    HWY_DYNAMIC_DISPATCH(backward_rows)(part, kind == NormKind::kLayerNorm);
  });
  const int parts = weights ? launch.threads : 0;
  merge(rows.dweight, sums.get(), parts, stride, rows.C, write);
  merge(rows.dbias, weights ? sums.get() + width : nullptr, parts, stride, rows.C, write);
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
