// HSTU attention on a CPU (kernels/hstu_attention.h states the mathematics): products in tiles of 64 queries x 64 keys, with
// the packing and the register blocks of attention (attention_tile-inl.h).
//
//   a_ts = silu(z_ts);  out_t = scale sum_s a_ts v_s
//   dv_s = scale sum_t a_ts dout_t;  dz_ts = scale (dout_t . v_s) silu'(z_ts);  dq_t = sum_s dz_ts k_s;  dk_s = sum_t dz_ts q_t
//   dposition[p - 1 - (t - s)] += dz_ts;  dtime[bucket(t, s)] += dz_ts
//
// Without a softmax there is no running maximum and nothing to rescale: a block of 6 query rows goes through scores, biases,
// silu and product in one visit. `scale` rides on out and, going back, on the packed dout. A thread has a whole (sequence,
// head) at a time, so every sum has one order whatever the threads; a single long sequence has only as many threads as it has
// heads.
//
// The biases. Elements of the position table that a row of scores reads, and those that its gradient goes to, lie side by
// side: one vector addition each. A bucket is found with the highest bit of |dt| and three comparisons, exact and free of
// branches: an octave (factor 2) spans ln 2 / 0.301 = 2.3 buckets. Gradients of buckets are sums over scattered pairs, kept in
// four copies by column, since neighbouring columns mostly share a bucket. Every item leaves its tables' gradients in scratch;
// they are added in the order of the items.
//
// Bound by the products, as attention; the time bias costs 1 to 2 ns a pair beside them.
#include "kernels/cpu/hstu_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/hstu_attention.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <bit>

#include "kernels/cpu/attention_tile-inl.h"
#include "kernels/cpu/math-inl.h"

#ifndef TRADEWIND_HSTU_ATTENTION_ONCE
#define TRADEWIND_HSTU_ATTENTION_ONCE
namespace tradewind::kernels::cpu {

constexpr std::int64_t kCopies = 4, kCopy = TimeBuckets::kMost + 3;  // of the sums of time buckets, and floats of one

/// Shapes, options, and what is derived from them.
struct HstuProblem {
  HstuAttentionShape shape;
  HstuAttentionOptions options;
  std::int64_t longest = 0, padded_D, padded_Dv;
  std::int64_t item_floats;  // of an item's gradients of tables: positions of the longest sequence, then time buckets
  TimeBuckets buckets;
  std::array<std::uint8_t, 64> octave{};  // the bucket of 2^e

  HstuProblem(const HstuAttentionShape& s, const HstuAttentionOptions& o)
      : shape(s),
        options(o),
        padded_D((s.D + 15) / 16 * 16),
        padded_Dv((s.Dv + 15) / 16 * 16),
        buckets(o.time_bias == nullptr ? 1 : o.time_buckets) {
    for (std::int64_t b = 0; b < s.B; ++b) longest = std::max(longest, rows(b));
    item_floats = (longest + 15) / 16 * 16 + 16 + (o.time_bias == nullptr ? 0 : kCopies * kCopy);
    for (std::size_t e = 0, b = 0; e < 63; ++e) {
      while (buckets.first[b + 1] <= std::int64_t{1} << e) ++b;
      octave[e] = static_cast<std::uint8_t>(b);
    }
  }
  std::int64_t rows(std::int64_t b) const { return shape.offsets[b + 1] - shape.offsets[b]; }
  std::int64_t items() const { return shape.B * shape.H; }
  std::uint8_t bucket_of(std::int64_t seconds) const {
    const std::int64_t apart = std::max<std::int64_t>(seconds < 0 ? -seconds : seconds, 1);
    const std::uint8_t least = octave[static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(apart)) - 1)];
    const std::int64_t* next = buckets.first.data() + least;
    return static_cast<std::uint8_t>(least + (apart >= next[1]) + (apart >= next[2]) + (apart >= next[3]));
  }
};

/// Workspace of a thread; arrays of a whole head are [tiles * kTile] rows, those of a tile kTile. Forward has no gradients.
struct HstuScratch {
  float *keys_transposed, *values, *queries, *sums, *scores;  // values: transposed going back
  float *keys, *dkeys, *dvalues, *douts, *dscores;            // backward
  std::int64_t lay_out(const HstuProblem& p, bool backward, float* at) {
    const std::int64_t rows = detail::tiles_of(p.longest) * detail::kTile, tile = detail::kTile;
    std::int64_t used = 0;
    const auto take = [&](float*& pointer, std::int64_t count) {
      pointer = at == nullptr ? nullptr : at + used;
      used += (count + 15) / 16 * 16;
    };
    take(keys_transposed, rows * p.shape.D);
    take(values, rows * p.padded_Dv);
    take(queries, tile * p.padded_D);
    take(sums, tile * std::max(p.padded_D, p.padded_Dv));
    take(scores, tile * tile);
    if (!backward) return used;
    for (float** x : {&keys, &dkeys}) take(*x, rows * p.padded_D);
    take(dvalues, rows * p.padded_Dv);
    take(douts, tile * p.padded_Dv);
    take(dscores, tile * tile);
    return used;
  }
};

}  // namespace tradewind::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using cpu::HstuBackwardArrays;
using cpu::HstuForwardArrays;
using cpu::HstuProblem;
using cpu::HstuScratch;

/// One (sequence, head).
struct HstuItem {
  std::int64_t begin, rows, h;
  HstuItem(const HstuProblem& p, std::int64_t item)
      : begin(p.shape.offsets[item / p.shape.H]), rows(p.rows(item / p.shape.H)), h(item % p.shape.H) {}
};

HWY_INLINE void add_to(float* HWY_RESTRICT to, const float* HWY_RESTRICT x, std::int64_t count) {
  const D32 d;
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) hn::StoreU(hn::Add(hn::LoadU(d, to + j), hn::LoadU(d, x + j)), d, to + j);
  for (; j < count; ++j) to[j] += x[j];
}

/// Scores of query t with the first `count` keys from s0 on get their biases; bucket[j] is that of the time bias.
HWY_INLINE void add_biases(const HstuProblem& p, const HstuItem& at, std::int64_t t, std::int64_t s0, std::int64_t count,
                           float* HWY_RESTRICT scores, std::uint8_t* HWY_RESTRICT bucket) {
  const HstuAttentionOptions& o = p.options;
  if (o.position_bias != nullptr) add_to(scores, o.position_bias + o.positions - 1 - (t - s0), count);
  if (o.time_bias == nullptr) return;
  const std::int64_t now = o.query_times[at.begin + t];
  const std::int64_t* then = o.key_times + at.begin + s0;
  for (std::int64_t j = 0; j < count; ++j) bucket[j] = p.bucket_of(now - then[j]);
  for (std::int64_t j = 0; j < count; ++j) scores[j] += o.time_bias[bucket[j]];
}

/// 1 / (1 + 2^(-z log2 e)), relative error 3e-7.
HWY_INLINE V32 sigmoid(V32 z) {
  const D32 d;
  const V32 one = hn::Set(d, 1.0F);
  return hn::Div(one, hn::Add(one, fast_exp2(d, cap(d, hn::Mul(z, hn::Set(d, -kLog2E)), 126.0F))));
}

HWY_INLINE void silu_row(float* HWY_RESTRICT row, std::int64_t count) {
  const D32 d;
  for (std::int64_t j = 0; j < count; j += kLanes) {
    const V32 z = hn::Load(d, row + j);
    hn::Store(hn::Mul(z, sigmoid(z)), d, row + j);
  }
}

/// z to silu(z), and its gradient, which arrives in `gradient`, to that of z.
HWY_INLINE void silu_gradient_row(float* HWY_RESTRICT row, float* HWY_RESTRICT gradient, std::int64_t count) {
  const D32 d;
  const V32 one = hn::Set(d, 1.0F);
  for (std::int64_t j = 0; j < count; j += kLanes) {
    const V32 z = hn::Load(d, row + j), s = sigmoid(z), a = hn::Mul(z, s);
    hn::Store(a, d, row + j);
    hn::Store(hn::Mul(hn::Load(d, gradient + j), hn::MulAdd(a, hn::Sub(one, s), s)), d, gradient + j);
  }
}

HWY_INLINE std::int64_t whole_vectors(std::int64_t count) { return (count + 15) / 16 * 16; }

HWY_NOINLINE void forward_query_tile(const HstuProblem& p, const HstuItem& at, const HstuScratch& w, std::int64_t q0,
                                     std::int64_t rows) {
  for (std::int64_t k0 = 0; k0 <= q0; k0 += kTile) {
    for (std::int64_t i = 0; i < rows; i += kRows) {
      const std::int64_t m = std::min(kRows, rows - i), seen = std::min(kTile, q0 + i + m - k0), wide = whole_vectors(seen);
      float* block = w.scores + i * kTile;
      product<Left::kPlain>(m, Start::kZero, w.queries + i * p.padded_D, p.padded_D, w.keys_transposed + k0 * p.shape.D, kTile,
                            block, kTile, wide, p.shape.D);
      for (std::int64_t r = 0; r < m; ++r) {
        const std::int64_t own = std::min(kTile, q0 + i + r + 1 - k0);
        std::uint8_t bucket[kTile];
        add_biases(p, at, q0 + i + r, k0, own, block + r * kTile, bucket);
        silu_row(block + r * kTile, wide);
        if (own < wide) mask_row(block + r * kTile, 0, wide, 0, own, 0.0F);
      }
      product<Left::kPlain>(m, k0 == 0 ? Start::kZero : Start::kLoad, block, kTile, w.values + k0 * p.padded_Dv, p.padded_Dv,
                            w.sums + i * p.padded_Dv, p.padded_Dv, p.padded_Dv, seen);
    }
  }
}

/// One tile of queries against one of keys. `tables`: the item's gradients of tables; null: not wanted.
HWY_NOINLINE void backward_tile(const HstuProblem& p, const HstuItem& at, const HstuScratch& w, std::int64_t q0,
                                std::int64_t k0, const HstuBiasGradients& wanted, float* tables) {
  const std::int64_t D = p.shape.D, Dv = p.shape.Dv, rows = std::min(kTile, at.rows - q0),
                     columns = std::min(kTile, at.rows - k0);
  for (std::int64_t i = 0; i < rows; i += kRows) {
    const std::int64_t m = std::min(kRows, rows - i), seen = std::min(kTile, q0 + i + m - k0), wide = whole_vectors(seen);
    float *block = w.scores + i * kTile, *gradient = w.dscores + i * kTile;
    product<Left::kPlain>(m, Start::kZero, w.queries + i * p.padded_D, p.padded_D, w.keys_transposed + k0 * D, kTile, block,
                          kTile, wide, D);
    product<Left::kPlain>(m, Start::kZero, w.douts + i * p.padded_Dv, p.padded_Dv, w.values + k0 * Dv, kTile, gradient, kTile,
                          wide, Dv);
    for (std::int64_t r = 0; r < m; ++r) {
      const std::int64_t t = q0 + i + r, own = std::min(kTile, t + 1 - k0);
      float *z = block + r * kTile, *dz = gradient + r * kTile;
      std::uint8_t bucket[kTile];
      add_biases(p, at, t, k0, own, z, bucket);
      silu_gradient_row(z, dz, wide);
      if (own < kTile) {  // what this row does not see is read through the transposed products
        mask_row(z, 0, kTile, 0, own, 0.0F);
        mask_row(dz, 0, kTile, 0, own, 0.0F);
      }
      if (wanted.position != nullptr) add_to(tables + p.longest - 1 - (t - k0), dz, own);
      if (wanted.time == nullptr) continue;
      float* times = tables + whole_vectors(p.longest) + 16;
      for (std::int64_t j = 0; j < own; ++j) times[j % cpu::kCopies * cpu::kCopy + bucket[j]] += dz[j];
    }
    product<Left::kPlain>(m, k0 == 0 ? Start::kZero : Start::kLoad, gradient, kTile, w.keys + k0 * p.padded_D, p.padded_D,
                          w.sums + i * p.padded_D, p.padded_D, p.padded_D, seen);
  }
  const Start start = k0 == q0 ? Start::kZero : Start::kLoad;
  for (std::int64_t j = 0; j < columns; j += kRows) {
    const std::int64_t m = std::min(kRows, columns - j), first = std::clamp<std::int64_t>(k0 + j - q0, 0, rows);
    product<Left::kTransposed>(m, start, w.scores + first * kTile + j, kTile, w.douts + first * p.padded_Dv, p.padded_Dv,
                               w.dvalues + (k0 + j) * p.padded_Dv, p.padded_Dv, p.padded_Dv, rows - first);
    product<Left::kTransposed>(m, start, w.dscores + first * kTile + j, kTile, w.queries + first * p.padded_D, p.padded_D,
                               w.dkeys + (k0 + j) * p.padded_D, p.padded_D, p.padded_D, rows - first);
  }
}

}  // namespace

void hstu_forward_item(const HstuProblem& p, const HstuForwardArrays& a, float* scratch, std::int64_t item) {
  const HstuAttentionShape& s = p.shape;
  const HstuItem at(p, item);
  HstuScratch w{};
  w.lay_out(p, false, scratch);
  for (std::int64_t t0 = 0; t0 < at.rows; t0 += kTile) {
    const std::int64_t rows = std::min(kTile, at.rows - t0), n = at.begin + t0;
    pack_transposed(w.keys_transposed + t0 * s.D, a.k + n * s.k_stride + at.h * s.D, s.k_stride, rows, s.D);
    pack_rows(w.values + t0 * p.padded_Dv, a.v + n * s.v_stride + at.h * s.Dv, s.v_stride, rows, s.Dv, p.padded_Dv, 1.0F);
    pack_rows(w.queries, a.q + n * s.q_stride + at.h * s.D, s.q_stride, rows, s.D, p.padded_D, 1.0F);
    forward_query_tile(p, at, w, t0, rows);
    unpack_rows(a.out + n * s.out_stride + at.h * s.Dv, s.out_stride, w.sums, p.padded_Dv, rows, s.Dv, p.options.scale);
  }
}

/// tables: item_floats of zeros, or null.
void hstu_backward_item(const HstuProblem& p, const HstuBackwardArrays& a, const HstuBiasGradients& wanted, float* scratch,
                        float* tables, std::int64_t item) {
  const HstuAttentionShape& s = p.shape;
  const HstuItem at(p, item);
  HstuScratch w{};
  w.lay_out(p, true, scratch);
  for (std::int64_t t0 = 0; t0 < at.rows; t0 += kTile) {
    const std::int64_t rows = std::min(kTile, at.rows - t0), n = at.begin + t0;
    const float* keys = a.k + n * s.k_stride + at.h * s.D;
    pack_rows(w.keys + t0 * p.padded_D, keys, s.k_stride, rows, s.D, p.padded_D, 1.0F);
    pack_transposed(w.keys_transposed + t0 * s.D, keys, s.k_stride, rows, s.D);
    pack_transposed(w.values + t0 * s.Dv, a.v + n * s.v_stride + at.h * s.Dv, s.v_stride, rows, s.Dv);
    pack_rows(w.queries, a.q + n * s.q_stride + at.h * s.D, s.q_stride, rows, s.D, p.padded_D, 1.0F);
    pack_rows(w.douts, a.dout + n * s.out_stride + at.h * s.Dv, s.out_stride, rows, s.Dv, p.padded_Dv, p.options.scale);
    for (std::int64_t k0 = 0; k0 <= t0; k0 += kTile) backward_tile(p, at, w, t0, k0, wanted, tables);
    unpack_rows(a.dq + n * s.q_stride + at.h * s.D, s.q_stride, w.sums, p.padded_D, rows, s.D, 1.0F);
  }
  unpack_rows(a.dk + at.begin * s.k_stride + at.h * s.D, s.k_stride, w.dkeys, p.padded_D, at.rows, s.D, 1.0F);
  unpack_rows(a.dv + at.begin * s.v_stride + at.h * s.Dv, s.v_stride, w.dvalues, p.padded_Dv, at.rows, s.Dv, 1.0F);
}

}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels {
HWY_EXPORT(hstu_forward_item);
HWY_EXPORT(hstu_backward_item);
namespace cpu {
namespace {

void write_sum(float* to, double sum, Write write) { *to = static_cast<float>(write == Write::kAccumulate ? *to + sum : sum); }

/// The tables' gradients from those of the items, in their order.
void merge(const HstuProblem& p, const HstuBiasGradients& to, const float* tables) {
  const std::int64_t items = p.items(), unused = p.options.positions - p.longest;
  if (to.position != nullptr)
    for (std::int64_t i = 0; i < p.options.positions; ++i) {
      double sum = 0;
      for (std::int64_t item = 0; i >= unused && item < items; ++item) sum += tables[item * p.item_floats + i - unused];
      write_sum(to.position + i, sum, to.write_position);
    }
  if (to.time == nullptr) return;
  const float* times = tables + (p.longest + 15) / 16 * 16 + 16;
  for (std::int64_t b = 0; b < p.options.time_buckets; ++b) {
    double sum = 0;
    for (std::int64_t item = 0; item < items; ++item)
      for (std::int64_t copy = 0; copy < kCopies; ++copy) sum += times[item * p.item_floats + copy * kCopy + b];
    write_sum(to.time + b, sum, to.write_time);
  }
}

std::int64_t floats_of(const HstuProblem& p, bool backward) { return HstuScratch{}.lay_out(p, backward, nullptr); }

}  // namespace

void hstu_attention_forward(const HstuForwardArrays& arrays, const HstuAttentionShape& shape,
                            const HstuAttentionOptions& options, const Launch& launch) {
  const HstuProblem problem(shape, options);
  const std::int64_t floats = floats_of(problem, false);
  const ScratchArray<float> scratch(launch, static_cast<std::size_t>(floats * std::max(1, launch.threads)));
  detail::parallel_parts(static_cast<int>(problem.items()), launch.threads, [&](int item, int thread) {
    HWY_DYNAMIC_DISPATCH(hstu_forward_item)(problem, arrays, scratch.get() + thread * floats, item);
  });
}

void hstu_attention_backward(const HstuBackwardArrays& arrays, const HstuBiasGradients& dbias, const HstuAttentionShape& shape,
                             const HstuAttentionOptions& options, const Launch& launch) {
  const HstuProblem problem(shape, options);
  const std::int64_t floats = floats_of(problem, true);
  const bool tables_wanted = dbias.position != nullptr || dbias.time != nullptr;
  const ScratchArray<float> scratch(launch, static_cast<std::size_t>(floats * std::max(1, launch.threads)));
  const ScratchArray<float> tables(launch, tables_wanted ? static_cast<std::size_t>(problem.items() * problem.item_floats) : 0);
  detail::parallel_parts(static_cast<int>(problem.items()), launch.threads, [&](int item, int thread) {
    float* own = tables_wanted ? tables.get() + item * problem.item_floats : nullptr;
    if (tables_wanted) std::fill_n(own, problem.item_floats, 0.0F);
    HWY_DYNAMIC_DISPATCH(hstu_backward_item)(problem, arrays, dbias, scratch.get() + thread * floats, own, item);
  });
  merge(problem, dbias, tables.get());
}

}  // namespace cpu
}  // namespace tradewind::kernels
#endif
