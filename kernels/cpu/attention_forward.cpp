// Attention forward on a CPU: the online softmax of FlashAttention over tiles of 64 queries x 64 keys (see attention.h).
//
// Keys are packed transposed and values in rows, once a (sequence, key head) and thread, so that scores = Q K^T and out = P V
// are the same register-blocked product: a broadcast times two streaming vectors. Queries are packed times scale * log2(e), so
// that exp is exp2. A block of 6 query rows multiplies only with the keys that it sees, rounded to 16 for the scores: tiles
// beyond the diagonal or the window are skipped, and a sequence shorter than a tile wastes little. The running maximum and sum
// are kept a row, the sum in lanes until the end; the rescaling of out rides on loading the accumulators.
//
// One query of a sequence (generation) takes another path: dot products with keys where they lie, nothing packed, each key
// and value read once for the query heads of its group.
#include "kernels/base/parallel.h"
#include "kernels/cpu/attention_plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_forward.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <cmath>

#include "kernels/cpu/attention_tile-inl.h"
#include "kernels/cpu/math-inl.h"

#ifndef TRADEWIND_ATTENTION_FORWARD_ONCE
#define TRADEWIND_ATTENTION_FORWARD_ONCE
namespace tradewind::kernels::detail {

struct ForwardArrays {
  float* out;
  float* lse;
  const float *q, *k, *v;
};

/// Workspace of a thread: packed keys and values of a sequence's head, and the tile at hand.
struct ForwardScratch {
  float *keys, *values, *queries, *scores, *sums;

  static std::int64_t floats(const AttentionProblem& p) {
    const std::int64_t rows = tiles_of(p.longest_k) * kTile;
    return rows * p.shape.D + rows * p.padded_D + 2 * kTile * p.padded_D + kTile * kTile + 16;
  }
  ForwardScratch(const AttentionProblem& p, float* at) {
    const std::int64_t rows = tiles_of(p.longest_k) * kTile;
    values = at;
    queries = values + rows * p.padded_D;
    sums = queries + kTile * p.padded_D;
    scores = sums + kTile * p.padded_D;
    keys = scores + kTile * kTile;
  }
};

/// A sequence with one query is one tile: all the heads of the group. Else one tile for each head and 64 queries.
inline bool takes_single_query(const AttentionProblem& p, const Sequence& s) { return s.tq == 1 && p.group <= kTile; }
inline std::int64_t forward_tiles(const AttentionProblem& p, std::int64_t item) {
  const Sequence s = p.sequence(p.sequence_of(item));
  return takes_single_query(p, s) ? 1 : p.group * tiles_of(s.tq);
}
inline double forward_cost(const AttentionProblem& p, std::int64_t item, std::int64_t tile) {
  const Sequence s = p.sequence(p.sequence_of(item));
  const std::int64_t begin = tile % tiles_of(s.tq) * kTile, end = std::min(s.tq, begin + kTile);
  const Range keys = s.keys_of(begin, end);
  return static_cast<double>(end - begin) * static_cast<double>(std::max<std::int64_t>(0, keys.end - keys.begin) + 16);
}

}  // namespace tradewind::kernels::detail
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using detail::AttentionProblem;
using detail::ForwardArrays;
using detail::ForwardScratch;

/// The online softmax of up to kTile rows.
struct Softmax {
  HWY_ALIGN float maximum[kTile];       // of the scores so far, in the log2 domain
  HWY_ALIGN float tile_maximum[kTile];  // of the tile at hand
  HWY_ALIGN float base[kTile];          // what is subtracted: maximum, or 0 where nothing was seen
  HWY_ALIGN float factor[kTile];        // what earlier sums are multiplied with
  HWY_ALIGN float sum[kTile * kLanes];  // of exp2(score - base), in lanes

  HWY_INLINE void reset(std::int64_t rows) {
    const D32 d;
    for (std::int64_t i = 0; i < kTile; i += kLanes) {
      hn::Store(hn::Set(d, -kInfinity), d, maximum + i);
      hn::Store(hn::Set(d, -kInfinity), d, tile_maximum + i);
    }
    for (std::int64_t i = 0; i < rows; ++i) hn::Store(hn::Zero(d), d, sum + i * kLanes);
  }
  /// Takes tile_maximum into the running maximum.
  HWY_INLINE void advance(std::int64_t rows) {
    const D32 d;
    for (std::int64_t i = 0; i < rows; i += kLanes) {
      const V32 before = hn::Load(d, maximum + i), now = hn::Max(before, hn::Load(d, tile_maximum + i));
      const V32 b = hn::IfThenZeroElse(hn::Eq(now, hn::Set(d, -kInfinity)), now);
      hn::Store(now, d, maximum + i);
      hn::Store(b, d, base + i);
      hn::Store(fast_exp2(d, hn::Sub(before, b)), d, factor + i);
    }
  }
  /// row[j] = exp2(row[j] - base) for j in [begin, end), multiples of kLanes; takes it into the sum.
  HWY_INLINE void exponentials(std::int64_t i, float* HWY_RESTRICT row, std::int64_t begin, std::int64_t end) {
    const D32 d;
    const V32 b = hn::Set(d, base[i]);
    V32 total = hn::Mul(hn::Load(d, sum + i * kLanes), hn::Set(d, factor[i]));
    for (std::int64_t j = begin; j < end; j += kLanes) {
      const V32 p = fast_exp2(d, hn::Sub(hn::Load(d, row + j), b));
      hn::Store(p, d, row + j);
      total = hn::Add(total, p);
    }
    hn::Store(total, d, sum + i * kLanes);
  }
  HWY_INLINE float total(std::int64_t i) const {
    const D32 d;
    return hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sum + i * kLanes)));
  }
  float logsumexp(std::int64_t i, float sum_of_row) const {
    return sum_of_row == 0 ? -kInfinity : kLn2 * (maximum[i] + std::log2(sum_of_row));
  }
};

HWY_INLINE float row_maximum(const float* HWY_RESTRICT row, std::int64_t begin, std::int64_t end) {
  const D32 d;
  V32 m = hn::Set(d, -kInfinity);
  for (std::int64_t j = begin; j < end; j += kLanes) m = hn::Max(m, hn::Load(d, row + j));
  return hn::GetLane(hn::MaxOfLanes(d, m));
}

HWY_INLINE void multiply_row(float* HWY_RESTRICT row, const float* HWY_RESTRICT by, std::int64_t begin, std::int64_t end) {
  const D32 d;
  for (std::int64_t j = begin; j < end; j += kLanes) hn::Store(hn::Mul(hn::Load(d, row + j), hn::Load(d, by + j)), d, row + j);
}

/// lse of rows [0, rows) to every stride-th float: ln 2 maximum + ln total, -infinity where total is 0.
HWY_INLINE void store_logsumexp(float* HWY_RESTRICT to, std::int64_t stride, const float* HWY_RESTRICT maximum,
                                const float* HWY_RESTRICT total, std::int64_t rows) {
  const D32 d;
  HWY_ALIGN float lse[kTile];
  for (std::int64_t i = 0; i < rows; i += kLanes) {
    const V32 sum = hn::Load(d, total + i), value = hn::MulAdd(hn::Set(d, kLn2), hn::Load(d, maximum + i), fast_log(d, sum));
    hn::Store(hn::IfThenElse(hn::Eq(sum, hn::Zero(d)), hn::Set(d, -kInfinity), value), d, lse + i);
  }
  for (std::int64_t i = 0; i < rows; ++i) to[i * stride] = lse[i];
}

/// Queries [q0, q0 + rows) of head h against all the keys that they see.
HWY_NOINLINE void forward_tile(const AttentionProblem& p, const ForwardArrays& a, const ForwardScratch& w, const Sequence& s,
                               std::int64_t b, std::int64_t h, std::int64_t q0, std::int64_t rows, Ahead& ahead) {
  const std::int64_t D = p.shape.D, padded = p.padded_D;
  const AttentionOptions& o = p.options;
  const std::int64_t n0 = s.q_begin + q0;
  pack_rows(w.queries, a.q + n0 * p.shape.q_stride + h * D, p.shape.q_stride, rows, D, padded, o.scale * kLog2E);
  const float* bias = o.bias == nullptr ? nullptr : o.bias + b * o.bias_stride_b + h * o.bias_stride_h;
  const DropoutHead dropout = dropout_head(p, h);
  Softmax softmax;
  softmax.reset(rows);
  const Range keys = s.keys_of(q0, q0 + rows);
  const std::int64_t first = keys.begin / kTile, last = detail::tiles_of(keys.end);
  for (std::int64_t t = first; t < last; ++t) {
    const std::int64_t k0 = t * kTile;
    const auto seen_by = [&](std::int64_t begin, std::int64_t end) -> Range {
      const Range r = s.keys_of(q0 + begin, q0 + end);
      const Range in{std::clamp<std::int64_t>(r.begin - k0, 0, kTile), std::clamp<std::int64_t>(r.end - k0, 0, kTile)};
      return in.begin < in.end ? in : Range{0, 0};
    };
    const bool whole = s.keys_of(q0).end >= k0 + kTile && s.keys_of(q0 + rows - 1).begin <= k0;
    for (std::int64_t i = 0; i < rows; i += kRows) {
      ahead.advance(kRows);
      const std::int64_t m = std::min(kRows, rows - i);
      const Range seen = seen_by(i, i + m);
      const std::int64_t c0 = seen.begin / 16 * 16, c1 = (seen.end + 15) / 16 * 16;
      product<Left::kPlain>(m, Start::kZero, w.queries + i * padded, padded, w.keys + k0 * D + c0, kTile,
                            w.scores + i * kTile + c0, kTile, c1 - c0, D);
      for (std::int64_t r = i; r < i + m; ++r) {
        float* row = w.scores + r * kTile;
        const Range own = whole ? Range{0, kTile} : seen_by(r, r + 1);
        if (bias != nullptr) add_bias(row, bias + (q0 + r) * o.bias_stride_q + k0, own.begin, own.end);
        if (!whole) mask_row(row, c0, c1, own.begin, own.end, -kInfinity);
        softmax.tile_maximum[r] = row_maximum(row, c0, c1);
      }
    }
    softmax.advance(rows);
    for (std::int64_t i = 0; i < rows; i += kRows) {
      const std::int64_t m = std::min(kRows, rows - i);
      const Range seen = seen_by(i, i + m);
      const std::int64_t c0 = seen.begin / 16 * 16, c1 = (seen.end + 15) / 16 * 16;
      for (std::int64_t r = i; r < i + m; ++r) {
        softmax.exponentials(r, w.scores + r * kTile, c0, c1);
        if (o.dropout.p > 0 && c0 < c1) {
          HWY_ALIGN float keep[kTile];
          dropout_row(keep, dropout, o.keys.sample[n0 + r], o.keys.position[n0 + r], t);
          multiply_row(w.scores + r * kTile, keep, c0, c1);
        }
      }
      product<Left::kPlain>(m, t == first ? Start::kZero : Start::kScale, w.scores + i * kTile + seen.begin, kTile,
                            w.values + (k0 + seen.begin) * padded, padded, w.sums + i * padded, padded, padded,
                            seen.end - seen.begin, softmax.factor + i);
    }
  }
  HWY_ALIGN float total[kTile];
  std::fill(total, total + kTile, 0.0F);
  for (std::int64_t i = 0; i < rows; ++i) {
    total[i] = softmax.total(i);
    float* out = a.out + (n0 + i) * p.shape.out_stride + h * D;
    if (total[i] == 0)
      std::fill(out, out + D, 0.0F);
    else
      unpack_rows(out, 0, w.sums + i * padded, padded, 1, D, 1.0F / total[i]);
  }
  if (a.lse != nullptr) store_logsumexp(a.lse + n0 * p.shape.H + h, p.shape.H, softmax.maximum, total, rows);
}

HWY_INLINE float dot(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, std::int64_t count) {
  const D32 d;
  V32 sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  std::int64_t c = 0;
  for (; c + 2 * kLanes <= count; c += 2 * kLanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, y + c), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, x + c + kLanes), hn::LoadU(d, y + c + kLanes), sum1);
  }
  for (; c + kLanes <= count; c += kLanes) sum0 = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, y + c), sum0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; c < count; ++c) sum += x[c] * y[c];
  return sum;
}

/// sum[0..D) = factor * sum + sum_j p[j] * row j of v.
HWY_INLINE void accumulate_rows(float* HWY_RESTRICT sum, float factor, const float* HWY_RESTRICT p, const float* HWY_RESTRICT v,
                                std::int64_t stride, std::int64_t count, std::int64_t D) {
  const D32 d;
  std::int64_t c = 0;
  for (; c + 4 * kLanes <= D; c += 4 * kLanes) {
    V32 s[4];
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) s[n] = hn::Mul(hn::Set(d, factor), hn::Load(d, sum + c + n * kLanes));
    for (std::int64_t j = 0; j < count; ++j) {
#pragma GCC unroll 4
      for (int n = 0; n < 4; ++n) s[n] = hn::MulAdd(hn::Set(d, p[j]), hn::LoadU(d, v + j * stride + c + n * kLanes), s[n]);
    }
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) hn::Store(s[n], d, sum + c + n * kLanes);
  }
  for (; c + kLanes <= D; c += kLanes) {
    V32 s = hn::Mul(hn::Set(d, factor), hn::Load(d, sum + c));
    for (std::int64_t j = 0; j < count; ++j) s = hn::MulAdd(hn::Set(d, p[j]), hn::LoadU(d, v + j * stride + c), s);
    hn::Store(s, d, sum + c);
  }
  for (; c < D; ++c) {
    float s = factor * sum[c];
    for (std::int64_t j = 0; j < count; ++j) s += p[j] * v[j * stride + c];
    sum[c] = s;
  }
}

/// The one query of a sequence, all the heads that read key head g.
HWY_NOINLINE void forward_single_query(const AttentionProblem& p, const ForwardArrays& a, const ForwardScratch& w,
                                       const Sequence& s, std::int64_t b, std::int64_t g) {
  const std::int64_t D = p.shape.D, padded = p.padded_D, n = s.q_begin;
  const AttentionOptions& o = p.options;
  pack_rows(w.queries, a.q + n * p.shape.q_stride + g * p.group * D, D, p.group, D, padded, o.scale * kLog2E);
  std::fill(w.sums, w.sums + p.group * padded, 0.0F);
  Softmax softmax;
  softmax.reset(p.group);
  const Range keys = s.keys_of(0);
  for (std::int64_t t = keys.begin / kTile; t < detail::tiles_of(keys.end); ++t) {
    const std::int64_t k0 = t * kTile;
    const std::int64_t begin = std::max<std::int64_t>(keys.begin - k0, 0), end = std::min(keys.end - k0, kTile);
    for (std::int64_t r = 0; r < p.group; ++r) {
      const std::int64_t h = g * p.group + r;
      float* row = w.scores + r * kTile;
      std::fill(row, row + kTile, -kInfinity);
      const float* key = a.k + (s.k_begin + k0) * p.shape.k_stride + g * D;
      for (std::int64_t j = begin; j < end; ++j) row[j] = dot(w.queries + r * padded, key + j * p.shape.k_stride, D);
      if (o.bias != nullptr) add_bias(row, o.bias + b * o.bias_stride_b + h * o.bias_stride_h + k0, begin, end);
      softmax.tile_maximum[r] = row_maximum(row, 0, kTile);
    }
    softmax.advance(p.group);
    for (std::int64_t r = 0; r < p.group; ++r) {
      float* row = w.scores + r * kTile;
      softmax.exponentials(r, row, 0, kTile);
      if (o.dropout.p > 0) {
        HWY_ALIGN float keep[kTile];
        dropout_row(keep, dropout_head(p, g * p.group + r), o.keys.sample[n], o.keys.position[n], t);
        multiply_row(row, keep, 0, kTile);
      }
      accumulate_rows(w.sums + r * padded, softmax.factor[r], row + begin,
                      a.v + (s.k_begin + k0 + begin) * p.shape.v_stride + g * D, p.shape.v_stride, end - begin, D);
    }
  }
  for (std::int64_t r = 0; r < p.group; ++r) {
    const std::int64_t h = g * p.group + r;
    const float total = softmax.total(r);
    if (a.lse != nullptr) a.lse[n * p.shape.H + h] = softmax.logsumexp(r, total);
    unpack_rows(a.out + n * p.shape.out_stride + h * D, 0, w.sums + r * padded, padded, 1, D, total == 0 ? 0.0F : 1.0F / total);
  }
}

/// What an item reads and writes, but for further query heads of its group.
Ahead next_item(const AttentionProblem& p, const ForwardArrays& a, std::int64_t item) {
  const std::int64_t g = p.head_of(item), D = p.shape.D;
  const Sequence s = p.sequence(p.sequence_of(item));
  Ahead ahead(std::min(s.tq, s.tk), D);
  ahead.reads(a.q + s.q_begin * p.shape.q_stride + g * p.group * D, p.shape.q_stride);
  ahead.reads(a.k + s.k_begin * p.shape.k_stride + g * D, p.shape.k_stride);
  ahead.reads(a.v + s.k_begin * p.shape.v_stride + g * D, p.shape.v_stride);
  ahead.writes(a.out + s.q_begin * p.shape.out_stride + g * p.group * D, p.shape.out_stride);
  return ahead;
}

}  // namespace

void attention_forward_part(const AttentionProblem& p, const ForwardArrays& a, float* scratch, detail::Cursor begin,
                            detail::Cursor end) {
  const ForwardScratch w(p, scratch);
  const std::int64_t D = p.shape.D;
  for (std::int64_t item = begin.item; item < end.item || (item == end.item && end.tile > 0); ++item) {
    const std::int64_t b = p.sequence_of(item), g = p.head_of(item);
    const Sequence s = p.sequence(b);
    const std::int64_t first = item == begin.item ? begin.tile : 0;
    const std::int64_t last = item == end.item ? end.tile : detail::forward_tiles(p, item);
    if (first >= last) continue;
    if (detail::takes_single_query(p, s)) {
      forward_single_query(p, a, w, s, b, g);
      continue;
    }
    Ahead ahead = item + 1 < end.item ? next_item(p, a, item + 1) : Ahead(0, 0);
    Range packed{0, 0};  // key tiles in w, packed when first needed
    const auto pack = [&](std::int64_t t) {
      const std::int64_t k0 = t * kTile, rows = std::min(kTile, s.tk - k0), row = s.k_begin + k0;
      pack_transposed(w.keys + k0 * D, a.k + row * p.shape.k_stride + g * D, p.shape.k_stride, rows, D);
      pack_rows(w.values + k0 * p.padded_D, a.v + row * p.shape.v_stride + g * D, p.shape.v_stride, rows, D, p.padded_D, 1.0F);
    };
    for (std::int64_t t = first; t < last; ++t) {
      const std::int64_t h = g * p.group + t / detail::tiles_of(s.tq), q0 = t % detail::tiles_of(s.tq) * kTile;
      const std::int64_t rows = std::min(kTile, s.tq - q0);
      const Range keys = s.keys_of(q0, q0 + rows);
      if (keys.begin < keys.end) {
        if (packed.begin == packed.end) packed = {keys.begin / kTile, keys.begin / kTile};
        while (packed.begin > keys.begin / kTile) pack(--packed.begin);
        while (packed.end < detail::tiles_of(keys.end)) pack(packed.end++);
      }
      forward_tile(p, a, w, s, b, h, q0, rows, ahead);
    }
  }
}

}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels {
HWY_EXPORT(attention_forward_part);
namespace detail {

void attention_forward_cpu(float* out, float* lse, const float* q, const float* k, const float* v, const AttentionShape& shape,
                           const AttentionOptions& options, const Launch& launch) {
  const AttentionProblem problem(shape, options, launch);
  const ForwardArrays arrays{out, lse, q, k, v};
  const int parts = pieces_of(problem.items(), launch.threads);
  const std::vector<Cursor> cursors = split_tiles(
      problem.items(), 1, true, parts, [&](std::int64_t item) { return forward_tiles(problem, item); },
      [&](std::int64_t item, std::int64_t tile) { return forward_cost(problem, item, tile); });
  const std::int64_t floats = (ForwardScratch::floats(problem) + 15) / 16 * 16;
  const ScratchArray<float> scratch(launch, static_cast<std::size_t>(floats * std::max(1, launch.threads)));
  parallel_parts(parts, launch.threads, [&](int part, int thread) {
    const auto i = static_cast<std::size_t>(part);
    HWY_DYNAMIC_DISPATCH(attention_forward_part)(problem, arrays, scratch.get() + thread * floats, cursors[i], cursors[i + 1]);
  });
}

}  // namespace detail
}  // namespace tradewind::kernels
#endif
