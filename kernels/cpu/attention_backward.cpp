// Attention backward on a CPU (Dao et al. 2022, algorithm 4): p is computed again from lse, nothing of size T x T is kept.
//
//   delta_i = dout_i . out_i;  p_ij = exp(score_ij - lse_i);  dp_ij = keep_ij (dout_i . v_j);  ds_ij = p_ij (dp_ij - delta_i)
//   dv_j = sum_i keep_ij p_ij dout_i;  dk_j = scale sum_i ds_ij q_i;  dq_i = scale sum_j ds_ij k_j;  dbias_ij += ds_ij
//
// A thread owns a run of key tiles: for a key tile it goes over the query tiles that see it, so dk and dv have one writer and
// sums in query order, and dq, kept in scratch for the whole head, gets its terms in key order. An item that is cut between
// threads (few items, long sequences) leaves dq as one part a thread; they are added in thread order afterwards. All five
// products are the register block of attention_tile-inl.h, with keys and values packed both in rows and transposed; the
// transposed left factors p^T and ds^T cost nothing, as the left factor is broadcast. Blocks of 6 rows multiply only with what
// they see.
#include "kernels/base/parallel.h"
#include "kernels/cpu/attention_plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "kernels/cpu/attention_tile-inl.h"

#ifndef TRADEWIND_ATTENTION_BACKWARD_ONCE
#define TRADEWIND_ATTENTION_BACKWARD_ONCE
namespace tradewind::kernels::detail {

struct BackwardArrays {
  float *dq, *dk, *dv, *dbias;
  const float *dout, *out, *lse, *q, *k, *v;
};

/// Workspace of a thread. Everything of one key head and one of its query heads.
struct BackwardScratch {
  float *keys, *keys_transposed, *values_transposed, *dkeys, *dvalues;  // [key tiles * kTile]
  float *queries, *douts, *dqueries;                                    // [query tiles * kTile]
  float *delta, *lse;                                                   // [query tiles * kTile]; lse in the log2 domain
  float *p, *ds;                                                        // [kTile][kTile]

  /// Sets the pointers from `at`, which may be null, and returns how many floats they span.
  std::int64_t lay_out(const AttentionProblem& problem, float* at) {
    const std::int64_t k = tiles_of(problem.longest_k) * kTile, q = tiles_of(problem.longest_q) * kTile;
    std::int64_t used = 0;
    const auto take = [&](float*& pointer, std::int64_t count) {
      pointer = at == nullptr ? nullptr : at + used;
      used += count;
    };
    for (float** x : {&keys, &dkeys, &dvalues}) take(*x, k * problem.padded_D);
    for (float** x : {&keys_transposed, &values_transposed}) take(*x, k * problem.shape.D);
    for (float** x : {&queries, &douts, &dqueries}) take(*x, q * problem.padded_D);
    for (float** x : {&delta, &lse}) take(*x, q);
    for (float** x : {&p, &ds}) take(*x, kTile * kTile);
    return used;
  }
};

/// Even a sequence without keys has a tile, so that somebody writes its dq.
inline std::int64_t backward_tiles(const AttentionProblem& p, std::int64_t item) {
  return std::max<std::int64_t>(1, tiles_of(p.sequence(p.sequence_of(item)).tk));
}
inline double backward_cost(const AttentionProblem& p, std::int64_t item, std::int64_t tile) {
  const Sequence s = p.sequence(p.sequence_of(item));
  const std::int64_t begin = tile * kTile, end = std::min(s.tk, begin + kTile);
  if (begin >= end) return 1;
  const Range queries = s.queries_of(begin, end);
  return static_cast<double>(end - begin) * static_cast<double>(std::max<std::int64_t>(0, queries.end - queries.begin) + 16);
}

/// True where part [begin, end) does all the tiles of the item.
inline bool owns_item(const AttentionProblem& p, std::int64_t item, Cursor begin, Cursor end) {
  return (item > begin.item || begin.tile == 0) && (item < end.item || end.tile == backward_tiles(p, item));
}

}  // namespace tradewind::kernels::detail
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using detail::AttentionProblem;
using detail::BackwardArrays;
using detail::BackwardScratch;

/// What one (sequence, query head) needs besides its scratch.
struct Head {
  const Sequence& s;
  const BackwardScratch& w;
  const float* bias;
  float* dbias;
  DropoutHead dropout;
  Ahead& ahead;
};

HWY_INLINE float dot(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, std::int64_t count) {
  const D32 d;
  V32 sum = hn::Zero(d);
  std::int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) sum = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, y + c), sum);
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; c < count; ++c) total += x[c] * y[c];
  return total;
}

/// p and dp of a row to keep * p and ds, columns [c0, c1); dp arrives in `ds`.
template <bool kDropout>
HWY_INLINE void gradient_row(float* HWY_RESTRICT p, float* HWY_RESTRICT ds, const float* HWY_RESTRICT keep, float lse,
                             float delta, std::int64_t c0, std::int64_t c1) {
  const D32 d;
  const V32 l = hn::Set(d, lse), e = hn::Set(d, delta);
  for (std::int64_t j = c0; j < c1; j += kLanes) {
    const V32 probability = fast_exp2(d, hn::Sub(hn::Load(d, p + j), l));
    if (kDropout) {
      const V32 kept = hn::Load(d, keep + j);
      hn::Store(hn::Mul(probability, kept), d, p + j);
      hn::Store(hn::Mul(probability, hn::MulSub(hn::Load(d, ds + j), kept, e)), d, ds + j);
    } else {
      hn::Store(probability, d, p + j);
      hn::Store(hn::Mul(probability, hn::Sub(hn::Load(d, ds + j), e)), d, ds + j);
    }
  }
}

/// One tile of queries against one tile of keys. new_dq, new_dkv: the first term of those sums.
HWY_NOINLINE void backward_tile(const AttentionProblem& problem, const Head& head, std::int64_t q0, std::int64_t k0,
                                bool new_dq, bool new_dkv) {
  const Sequence& s = head.s;
  const BackwardScratch& w = head.w;
  const AttentionOptions& o = problem.options;
  const std::int64_t D = problem.shape.D, padded = problem.padded_D;
  const std::int64_t rows = std::min(kTile, s.tq - q0), columns = std::min(kTile, s.tk - k0);
  const bool whole = s.keys_of(q0).end >= k0 + kTile && s.keys_of(q0 + rows - 1).begin <= k0;
  const auto seen_by = [&](std::int64_t begin, std::int64_t end) -> Range {
    const Range r = s.keys_of(q0 + begin, q0 + end);
    const Range in{std::clamp<std::int64_t>(r.begin - k0, 0, kTile), std::clamp<std::int64_t>(r.end - k0, 0, kTile)};
    return in.begin < in.end ? in : Range{0, 0};
  };
  for (std::int64_t i = 0; i < rows; i += kRows) {
    head.ahead.advance(kRows);
    const std::int64_t m = std::min(kRows, rows - i);
    const Range seen = seen_by(i, i + m);
    const std::int64_t c0 = seen.begin / 16 * 16, c1 = (seen.end + 15) / 16 * 16;
    float* p = w.p + i * kTile;
    float* ds = w.ds + i * kTile;
    product<Left::kPlain>(m, Start::kZero, w.queries + (q0 + i) * padded, padded, w.keys_transposed + k0 * D + c0, kTile,
                          p + c0, kTile, c1 - c0, D);
    product<Left::kPlain>(m, Start::kZero, w.douts + (q0 + i) * padded, padded, w.values_transposed + k0 * D + c0, kTile,
                          ds + c0, kTile, c1 - c0, D);
    for (std::int64_t r = 0; r < m; ++r, p += kTile, ds += kTile) {
      const std::int64_t row = q0 + i + r, n = s.q_begin + row;
      const Range own = whole ? Range{0, kTile} : seen_by(i + r, i + r + 1);
      if (head.bias != nullptr) add_bias(p, head.bias + row * o.bias_stride_q + k0, own.begin, own.end);
      if (o.dropout.p > 0) {
        HWY_ALIGN float keep[kTile];
        if (c0 < c1) dropout_row(keep, head.dropout, o.keys.sample[n], o.keys.position[n], k0 / kTile);
        gradient_row<true>(p, ds, keep, w.lse[row], w.delta[row], c0, c1);
      } else {
        gradient_row<false>(p, ds, nullptr, w.lse[row], w.delta[row], c0, c1);
      }
      if (!whole) {  // what this row does not see is read through p^T and ds^T
        mask_row(p, 0, kTile, own.begin, own.end, 0.0F);
        mask_row(ds, 0, kTile, own.begin, own.end, 0.0F);
      }
      if (head.dbias != nullptr) {
        float* dbias = head.dbias + row * o.bias_stride_q + k0;
        for (std::int64_t j = own.begin; j < own.end; ++j) dbias[j] += ds[j];
      }
    }
    product<Left::kPlain>(m, new_dq ? Start::kZero : Start::kLoad, w.ds + i * kTile + seen.begin, kTile,
                          w.keys + (k0 + seen.begin) * padded, padded, w.dqueries + (q0 + i) * padded, padded, padded,
                          seen.end - seen.begin);
  }
  for (std::int64_t j = 0; j < columns; j += kRows) {
    const std::int64_t m = std::min(kRows, columns - j);
    const Range queries = s.queries_of(k0 + j, k0 + j + m);
    const std::int64_t begin = std::clamp<std::int64_t>(queries.begin - q0, 0, rows);
    const std::int64_t depth = std::max<std::int64_t>(0, std::clamp<std::int64_t>(queries.end - q0, 0, rows) - begin);
    const Start start = new_dkv ? Start::kZero : Start::kLoad;
    product<Left::kTransposed>(m, start, w.p + begin * kTile + j, kTile, w.douts + (q0 + begin) * padded, padded,
                               w.dvalues + (k0 + j) * padded, padded, padded, depth);
    product<Left::kTransposed>(m, start, w.ds + begin * kTile + j, kTile, w.queries + (q0 + begin) * padded, padded,
                               w.dkeys + (k0 + j) * padded, padded, padded, depth);
  }
}

HWY_NOINLINE void pack_keys(const AttentionProblem& p, const BackwardArrays& a, const BackwardScratch& w, const Sequence& s,
                            std::int64_t g, std::int64_t first, std::int64_t last) {
  const std::int64_t D = p.shape.D;
  for (std::int64_t t = first; t < last && t * kTile < s.tk; ++t) {
    const std::int64_t k0 = t * kTile, rows = std::min(kTile, s.tk - k0);
    const float* k = a.k + (s.k_begin + k0) * p.shape.k_stride + g * D;
    const float* v = a.v + (s.k_begin + k0) * p.shape.v_stride + g * D;
    pack_rows(w.keys + k0 * p.padded_D, k, p.shape.k_stride, rows, D, p.padded_D, 1.0F);
    pack_transposed(w.keys_transposed + k0 * D, k, p.shape.k_stride, rows, D);
    pack_transposed(w.values_transposed + k0 * D, v, p.shape.v_stride, rows, D);
  }
}

/// Queries [begin, end) of head h, with delta and lse.
HWY_NOINLINE void pack_queries(const AttentionProblem& p, const BackwardArrays& a, const BackwardScratch& w, const Sequence& s,
                               std::int64_t h, std::int64_t begin, std::int64_t end) {
  const std::int64_t D = p.shape.D, n = s.q_begin + begin, out = n * p.shape.out_stride + h * D;
  pack_rows(w.queries + begin * p.padded_D, a.q + n * p.shape.q_stride + h * D, p.shape.q_stride, end - begin, D, p.padded_D,
            p.options.scale * kLog2E);
  pack_rows(w.douts + begin * p.padded_D, a.dout + out, p.shape.out_stride, end - begin, D, p.padded_D, 1.0F);
  for (std::int64_t i = begin; i < end; ++i) {
    w.delta[i] = dot(w.douts + i * p.padded_D, a.out + out + (i - begin) * p.shape.out_stride, D);
    const float lse = a.lse[(s.q_begin + i) * p.shape.H + h];
    w.lse[i] = lse == -kInfinity ? kInfinity : lse * kLog2E;  // a query that saw no key: exp2(score - infinity) = 0
  }
}

/// Key tiles [first, last) of an item. dq goes to its place, or where `partial` is not null, unscaled to partial
/// [group][tq][padded_D].
HWY_NOINLINE void backward_item(const AttentionProblem& p, const BackwardArrays& a, const BackwardScratch& w, std::int64_t item,
                                std::int64_t first, std::int64_t last, float* partial, Ahead ahead) {
  const std::int64_t b = p.sequence_of(item), g = p.head_of(item), D = p.shape.D, padded = p.padded_D;
  const AttentionOptions& o = p.options;
  const Sequence s = p.sequence(b);
  pack_keys(p, a, w, s, g, first, last);
  for (std::int64_t r = 0; r < p.group; ++r) {
    const std::int64_t h = g * p.group + r, bias_at = b * o.bias_stride_b + h * o.bias_stride_h;
    const Head head{s,
                    w,
                    o.bias == nullptr ? nullptr : o.bias + bias_at,
                    a.dbias == nullptr ? nullptr : a.dbias + bias_at,
                    dropout_head(p, h),
                    ahead};
    Range packed{0, 0};  // query tiles; the same have a sum in dqueries
    for (std::int64_t t = first; t < last; ++t) {
      const std::int64_t k0 = t * kTile, end = std::min(s.tk, k0 + kTile);
      if (k0 >= end) continue;
      Range tiles = s.queries_of(k0, end);
      tiles = {tiles.begin / kTile, detail::tiles_of(tiles.end)};
      if (tiles.begin >= tiles.end) tiles = {0, 0};
      if (packed.begin == packed.end) packed = {tiles.begin, tiles.begin};
      if (tiles.begin == tiles.end && r == 0) {
        std::fill(w.dkeys + k0 * padded, w.dkeys + end * padded, 0.0F);
        std::fill(w.dvalues + k0 * padded, w.dvalues + end * padded, 0.0F);
      }
      for (std::int64_t u = tiles.begin; u < tiles.end; ++u) {
        const bool new_dq = u >= packed.end;
        if (new_dq) {
          for (; packed.end <= u; ++packed.end)
            pack_queries(p, a, w, s, h, packed.end * kTile, std::min(s.tq, packed.end * kTile + kTile));
        }
        backward_tile(p, head, u * kTile, k0, new_dq, r == 0 && u == tiles.begin);
      }
    }
    float* sums = w.dqueries;  // zeros where no key was seen
    std::fill(sums, sums + std::min(packed.begin * kTile, s.tq) * padded, 0.0F);
    std::fill(sums + std::min(packed.end * kTile, s.tq) * padded, sums + s.tq * padded, 0.0F);
    if (partial != nullptr)
      std::copy(sums, sums + s.tq * padded, partial + r * s.tq * padded);
    else
      unpack_rows(a.dq + s.q_begin * p.shape.q_stride + h * D, p.shape.q_stride, sums, padded, s.tq, D, o.scale);
  }
  const std::int64_t k0 = first * kTile, k1 = std::min(s.tk, last * kTile);
  if (k0 < k1) {  // packed queries carry scale * log2(e)
    unpack_rows(a.dk + (s.k_begin + k0) * p.shape.k_stride + g * D, p.shape.k_stride, w.dkeys + k0 * padded, padded, k1 - k0, D,
                kLn2);
    unpack_rows(a.dv + (s.k_begin + k0) * p.shape.v_stride + g * D, p.shape.v_stride, w.dvalues + k0 * padded, padded, k1 - k0,
                D, 1.0F);
  }
  if (last == detail::backward_tiles(p, item)) {
    for (std::int64_t n = s.k_begin + s.tk; n < s.k_begin + s.k_rows; ++n) {
      std::fill_n(a.dk + n * p.shape.k_stride + g * D, D, 0.0F);
      std::fill_n(a.dv + n * p.shape.v_stride + g * D, D, 0.0F);
    }
  }
}

/// What an item reads and writes, but for further query heads of its group.
Ahead next_item(const AttentionProblem& p, const BackwardArrays& a, std::int64_t item) {
  const std::int64_t g = p.head_of(item), h = g * p.group, D = p.shape.D;
  const Sequence s = p.sequence(p.sequence_of(item));
  Ahead ahead(std::min(s.tq, s.tk), D);
  const std::int64_t q = s.q_begin * p.shape.q_stride + h * D, out = s.q_begin * p.shape.out_stride + h * D;
  const std::int64_t k = s.k_begin * p.shape.k_stride + g * D, v = s.k_begin * p.shape.v_stride + g * D;
  ahead.reads(a.k + k, p.shape.k_stride);
  ahead.reads(a.v + v, p.shape.v_stride);
  ahead.reads(a.q + q, p.shape.q_stride);
  ahead.reads(a.dout + out, p.shape.out_stride);
  ahead.reads(a.out + out, p.shape.out_stride);
  ahead.writes(a.dq + q, p.shape.q_stride);
  ahead.writes(a.dk + k, p.shape.k_stride);
  ahead.writes(a.dv + v, p.shape.v_stride);
  return ahead;
}

}  // namespace

/// partial: room for dq of the first and of another item that this part does not own alone; slot floats apart.
void attention_backward_part(const AttentionProblem& p, const BackwardArrays& a, float* scratch, detail::Cursor begin,
                             detail::Cursor end, float* partial, std::int64_t slot) {
  BackwardScratch w;
  w.lay_out(p, scratch);
  for (std::int64_t item = begin.item; item < end.item || (item == end.item && end.tile > 0); ++item) {
    const std::int64_t first = item == begin.item ? begin.tile : 0;
    const std::int64_t last = item == end.item ? end.tile : detail::backward_tiles(p, item);
    if (first >= last) continue;
    float* part = detail::owns_item(p, item, begin, end) ? nullptr : item == begin.item ? partial : partial + slot;
    backward_item(p, a, w, item, first, last, part, item + 1 < end.item ? next_item(p, a, item + 1) : Ahead(0, 0));
  }
}

}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels {
HWY_EXPORT(attention_backward_part);
namespace detail {
namespace {

/// dq of an item that parts share = scale * the sum of their slots, in the order of parts.
void merge_item(const AttentionProblem& p, const std::vector<Cursor>& cursors, const float* partials, std::int64_t slot,
                std::int64_t item, float* dq) {
  const Sequence s = p.sequence(p.sequence_of(item));
  std::vector<const float*> slots;
  for (std::size_t part = 0; part + 1 < cursors.size(); ++part) {
    const Cursor begin = cursors[part], end = cursors[part + 1];
    const std::int64_t first = item == begin.item ? begin.tile : 0,
                       last = item == end.item ? end.tile : backward_tiles(p, item);
    if (item < begin.item || item > end.item || first >= last) continue;
    slots.push_back(partials + (2 * static_cast<std::int64_t>(part) + (item == begin.item ? 0 : 1)) * slot);
  }
  for (std::int64_t r = 0; r < p.group; ++r)
    for (std::int64_t i = 0; i < s.tq; ++i) {
      float* to = dq + (s.q_begin + i) * p.shape.q_stride + (p.head_of(item) * p.group + r) * p.shape.D;
      for (std::int64_t c = 0; c < p.shape.D; ++c) {
        float sum = 0;
        for (const float* x : slots) sum += x[(r * s.tq + i) * p.padded_D + c];
        to[c] = p.options.scale * sum;
      }
    }
}

}  // namespace

void attention_backward_cpu(float* dq, float* dk, float* dv, float* dbias, const float* dout, const float* out,
                            const float* lse, const float* q, const float* k, const float* v, const AttentionShape& shape,
                            const AttentionOptions& options, const Launch& launch) {
  AttentionProblem problem(shape, options, launch);
  const BackwardArrays arrays{dq, dk, dv, dbias, dout, out, lse, q, k, v};
  // Items that add to the same dbias stay with one thread, side by side: over sequences (the usual shared bias), heads, or all.
  std::int64_t block = 1;
  if (dbias != nullptr && (options.bias_stride_b == 0 || options.bias_stride_h == 0)) {
    const bool over_sequences = options.bias_stride_b == 0 && shape.B > 1, over_heads = options.bias_stride_h == 0;
    problem.heads_outside = over_sequences && !over_heads;
    block = (over_sequences ? shape.B : 1) * (over_heads ? shape.H_kv : 1);
  }
  const int parts = pieces_of(problem.items() / block, launch.threads);
  const std::vector<Cursor> cursors = split_tiles(
      problem.items(), block, true, parts, [&](std::int64_t item) { return backward_tiles(problem, item); },
      [&](std::int64_t item, std::int64_t tile) { return backward_cost(problem, item, tile); });
  std::vector<std::int64_t> cut;
  for (std::size_t part = 1; part + 1 < cursors.size(); ++part)
    if (cursors[part].tile > 0 && (cut.empty() || cut.back() != cursors[part].item)) cut.push_back(cursors[part].item);
  const std::int64_t slot = cut.empty() ? 0 : problem.group * problem.longest_q * problem.padded_D;
  const std::int64_t floats = (BackwardScratch().lay_out(problem, nullptr) + 15) / 16 * 16;
  const ScratchArray<float> partials(launch, static_cast<std::size_t>(2 * slot * parts));
  const ScratchArray<float> scratch(launch, static_cast<std::size_t>(floats * std::max(1, launch.threads)));
  parallel_parts(parts, launch.threads, [&](int part, int thread) {
    const auto i = static_cast<std::size_t>(part);
    HWY_DYNAMIC_DISPATCH(attention_backward_part)
    (problem, arrays, scratch.get() + thread * floats, cursors[i], cursors[i + 1], partials.get() + 2 * part * slot, slot);
  });
  parallel_pieces(static_cast<std::int64_t>(cut.size()), 1, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      merge_item(problem, cursors, partials.get(), slot, cut[static_cast<std::size_t>(i)], dq);
  });
}

}  // namespace detail
}  // namespace tradewind::kernels
#endif
