// Embedding bags on the CPU.
//
// Forward: threads take bags; a bag's rows are added up in registers, eight vectors of a row at a time, while the rows of ids
// twelve further on are asked for: a random row of a large table is a cache miss and a page walk; several must be under way.
//
// Backward: terms (ids) are sorted by row, each table by itself, tables shared out over the threads. Equal rows are a segment.
// Threads then take parts of the sorted terms, so that a hot row, which has half of a small table's, is not one thread's: it
// is summed in chunks of kBagChunk terms into slots (base/bag_chunks.h), and the slots in a second pass. What a row gets is
// written out, or applied to it at once while its sum is in the first-level cache.
//
// Bytes: forward 4 C N + 4 C B T, backward 4 C N + 4 C rows, fused 4 C N + 8 C rows, at random rows; sort 12 a term and pass.
#include "kernels/cpu/embedding_bag.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding_bag.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/embedding_bag_terms.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using cpu::BagPart;
using cpu::Segments;
using cpu::SumTarget;
using cpu::Terms;
using cpu::UpdateScalars;
using D = hn::ScalableTag<float>;
using DI = hn::Rebind<std::int32_t, D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
constexpr std::int64_t kAhead = 12;  // rows asked for in advance

HWY_INLINE void prefetch_row(const float* row, std::size_t C) {
  // The first lines; the hardware follows a longer row by itself.
  for (std::size_t c = 0; c < C && c < 256; c += 16) hwy::Prefetch(row + c);
}

// body(columns, column, vectors): 8 vectors, then one, then what is left of one; `columns` loads and stores that much.
struct Whole {
  HWY_INLINE V load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE VI load(const std::int32_t* p) const { return hn::LoadU(DI(), p); }
  HWY_INLINE void store(V x, float* p) const { hn::StoreU(x, D(), p); }
  HWY_INLINE void store(VI x, std::int32_t* p) const { hn::StoreU(x, DI(), p); }
};
struct Tail {
  std::size_t count;
  HWY_INLINE V load(const float* p) const { return load_n(D(), p, count); }
  HWY_INLINE VI load(const std::int32_t* p) const { return load_n(DI(), p, count); }
  HWY_INLINE void store(V x, float* p) const { store_n(x, D(), p, count); }
  HWY_INLINE void store(VI x, std::int32_t* p) const { store_n(x, DI(), p, count); }
};
template <std::size_t kVectors>
struct Vectors {
  static constexpr std::size_t value = kVectors;
};
template <std::size_t kMost, class Body>
HWY_INLINE void for_columns(std::size_t C, const Body& body) {
  const std::size_t L = hn::Lanes(D());
  std::size_t c = 0;
  for (; c + kMost * L <= C; c += kMost * L) body(Whole{}, c, Vectors<kMost>{});
  for (; c + L <= C; c += L) body(Whole{}, c, Vectors<1>{});
  if (c < C) body(Tail{C - c}, c, Vectors<1>{});
}

// out[0, C) = the weighted sum of the rows of ids [begin, end), times `scale`.
HWY_INLINE void sum_bag(float* out, const BagPart& part, std::int64_t begin, std::int64_t end, float scale) {
  const std::size_t L = hn::Lanes(D()), C = part.C();
  const std::int32_t* ids = part.shape.ids;
  for_columns<8>(C, [&](auto columns, std::size_t c, auto vectors) HWY_ATTR {
    V sum[vectors.value];
    for (V& x : sum) x = hn::Zero(D());
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = part.rows + static_cast<std::size_t>(ids[n]) * C + c;
      if (part.weights == nullptr) {
        for (std::size_t i = 0; i < vectors.value; ++i) sum[i] = hn::Add(sum[i], columns.load(row + i * L));
      } else {
        const V w = hn::Set(D(), part.weights[n]);
        for (std::size_t i = 0; i < vectors.value; ++i) sum[i] = hn::MulAdd(w, columns.load(row + i * L), sum[i]);
      }
    }
    for (std::size_t i = 0; i < vectors.value; ++i) columns.store(hn::Mul(sum[i], hn::Set(D(), scale)), out + c + i * L);
  });
}

HWY_INLINE void max_bag(float* out, std::int32_t* argmax, const BagPart& part, std::int64_t begin, std::int64_t end) {
  const std::size_t L = hn::Lanes(D()), C = part.C();
  const std::int32_t* ids = part.shape.ids;
  for_columns<4>(C, [&](auto columns, std::size_t c, auto vectors) HWY_ATTR {
    V best[vectors.value];
    VI place[vectors.value];
    for (V& x : best) x = hn::Zero(D());
    for (VI& x : place) x = hn::Set(DI(), -1);
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = part.rows + static_cast<std::size_t>(ids[n]) * C + c;
      const VI here = hn::Set(DI(), static_cast<std::int32_t>(n - begin));
      for (std::size_t i = 0; i < vectors.value; ++i) {
        const V x = columns.load(row + i * L);
        if (n == begin) {
          best[i] = x, place[i] = here;
        } else {
          const auto larger = hn::Gt(x, best[i]);
          best[i] = hn::IfThenElse(larger, x, best[i]);
          place[i] = hn::IfThenElse(hn::RebindMask(DI(), larger), here, place[i]);
        }
      }
    }
    for (std::size_t i = 0; i < vectors.value; ++i) {
      columns.store(best[i], out + c + i * L);
      if (argmax != nullptr) columns.store(place[i], argmax + c + i * L);
    }
  });
}

void forward_bags(float* out, std::int32_t* argmax, const BagPart& part, bool max, bool ahead) {
  const BagShape& s = part.shape;
  const std::int64_t* offsets = part.offsets();
  for (std::int64_t b = part.begin; b < part.end; ++b) {
    const std::int64_t begin = offsets[b], end = offsets[b + 1], last = offsets[part.end];
    for (std::int64_t n = begin + kAhead; ahead && n < HWY_MIN(end + kAhead, last); ++n)
      prefetch_row(part.rows + s.ids[n] * s.C, part.C());
    float* to = out + b * s.stride + part.t * s.C;
    if (max)
      max_bag(to, argmax == nullptr ? nullptr : argmax + (b * s.T + part.t) * s.C, part, begin, end);
    else
      sum_bag(to, part, begin, end, part.mean && end > begin ? 1.0F / static_cast<float>(end - begin) : 1.0F);
  }
}

HWY_INLINE float dot(const float* a, const float* b, std::size_t C) {
  V sum = hn::Zero(D());
  for_columns<1>(
      C, [&](auto columns, std::size_t c, auto) HWY_ATTR { sum = hn::MulAdd(columns.load(a + c), columns.load(b + c), sum); });
  return hn::GetLane(hn::SumOfLanes(D(), sum));
}

void weight_gradients(float* dweights, const float* dout, const BagPart& part, bool add) {
  const BagShape& s = part.shape;
  const std::int64_t* offsets = part.offsets();
  for (std::int64_t b = part.begin; b < part.end; ++b) {
    const float scale = part.mean ? 1.0F / static_cast<float>(HWY_MAX(offsets[b + 1] - offsets[b], 1)) : 1.0F;
    for (std::int64_t n = offsets[b]; n < offsets[b + 1]; ++n) {
      if (n + kAhead < offsets[part.end]) prefetch_row(part.rows + s.ids[n + kAhead] * s.C, part.C());
      const float gradient = scale * dot(dout + b * s.stride + part.t * s.C, part.rows + s.ids[n] * s.C, part.C());
      dweights[n] = add ? dweights[n] + gradient : gradient;
    }
  }
}

HWY_INLINE void prefetch_term(const Terms& terms, std::size_t e) {
  if (e < terms.count) prefetch_row(terms.dout + terms.sample[terms.order[e]] * terms.stride, terms.C);
}

// to[0, C) = the sum of terms [begin, end), ascending.
HWY_INLINE void sum_terms(float* to, const Terms& terms, std::size_t begin, std::size_t end) {
  const std::size_t L = hn::Lanes(D());
  for_columns<8>(terms.C, [&](auto columns, std::size_t c, auto vectors) HWY_ATTR {
    V sum[vectors.value];
    for (V& x : sum) x = hn::Zero(D());
    for (std::size_t e = begin; e < end; ++e) {
      const std::uint32_t n = terms.order[e];
      const float* row = terms.dout + terms.sample[n] * terms.stride + c;
      if (terms.argmax != nullptr) {
        const std::int32_t* chosen = terms.argmax + terms.sample[n] * terms.argmax_stride + c;
        const VI here = hn::Set(DI(), terms.place[n]);
        for (std::size_t i = 0; i < vectors.value; ++i) {
          const auto mine = hn::RebindMask(D(), hn::Eq(columns.load(chosen + i * L), here));
          sum[i] = hn::Add(sum[i], hn::IfThenElseZero(mine, columns.load(row + i * L)));
        }
      } else if (terms.scale != nullptr) {
        const V w = hn::Set(D(), terms.scale[n]);
        for (std::size_t i = 0; i < vectors.value; ++i) sum[i] = hn::MulAdd(w, columns.load(row + i * L), sum[i]);
      } else {
        for (std::size_t i = 0; i < vectors.value; ++i) sum[i] = hn::Add(sum[i], columns.load(row + i * L));
      }
    }
    for (std::size_t i = 0; i < vectors.value; ++i) columns.store(sum[i], to + c + i * L);
  });
}

HWY_INLINE void update_row(float* row, float* moment, const float* gradient, std::size_t C, const UpdateScalars& u) {
  const V scale = hn::Set(D(), u.gradient_scale);
  float rate = u.rate;
  if (u.adagrad) {
    V square = hn::Zero(D());
    for_columns<1>(C, [&](auto columns, std::size_t c, auto) HWY_ATTR {
      const V g = hn::Mul(columns.load(gradient + c), scale);
      square = hn::MulAdd(g, g, square);
    });
    *moment += hn::GetLane(hn::SumOfLanes(D(), square)) / static_cast<float>(C);
    rate /= std::sqrt(*moment) + u.epsilon;
  }
  for_columns<1>(C, [&](auto columns, std::size_t c, auto) HWY_ATTR {
    const V g = hn::Mul(columns.load(gradient + c), scale);
    columns.store(hn::NegMulAdd(hn::Set(D(), rate), g, columns.load(row + c)), row + c);
  });
}

HWY_INLINE void prefetch_state(const float* table, const float* moment, std::int32_t row, std::size_t C) {
  prefetch_row(table + static_cast<std::size_t>(row) * C, C);
  if (moment != nullptr) hwy::Prefetch(moment + row);
}

HWY_INLINE float* sum_of(const SumTarget& target, std::int64_t segment, std::size_t C) {
  return target.values != nullptr ? target.values + static_cast<std::size_t>(segment) * C : target.sum;
}
HWY_INLINE void finish(const SumTarget& target, std::int32_t row, std::size_t C) {
  if (target.values != nullptr) return;
  float* moment = target.moment == nullptr ? nullptr : target.moment + row;
  update_row(target.table + static_cast<std::size_t>(row) * C, moment, target.sum, C, target.update);
}

// The chunks that begin in terms [begin, end).
void sum_chunks(const SumTarget& target, const Terms& terms, const Segments& segments, std::int64_t begin, std::int64_t end) {
  for (std::int64_t s = segments.begin; s < segments.end; ++s) {
    const std::int64_t from = segments.starts[s], to = segments.starts[s + 1];
    if (target.table != nullptr && s + kAhead < segments.end)
      prefetch_state(target.table, target.moment, segments.rows[s + kAhead], terms.C);
    for (std::int64_t i = from; i < HWY_MIN(to, end); i += kBagChunk) {
      if (i < begin) continue;
      const std::int64_t stop = HWY_MIN(i + kBagChunk, to);
      for (std::int64_t e = i; e < stop; ++e) prefetch_term(terms, static_cast<std::size_t>(e + kAhead));
      float* sum = to - from <= kBagChunk ? sum_of(target, s, terms.C)
                                          : target.partial + static_cast<std::size_t>(partial_slot(i, stop == to)) * terms.C;
      sum_terms(sum, terms, static_cast<std::size_t>(i), static_cast<std::size_t>(stop));
      if (to - from <= kBagChunk) finish(target, segments.rows[s], terms.C);
    }
  }
}

// The row of segment s, which has several chunks, from their sums.
void add_chunks(const SumTarget& target, const Segments& segments, std::int64_t s, std::size_t C) {
  const std::int64_t from = segments.starts[s], to = segments.starts[s + 1];
  float* sum = sum_of(target, s, C);
  for_columns<1>(C, [&](auto columns, std::size_t c, auto) HWY_ATTR {
    V total = hn::Zero(D());
    for (std::int64_t i = from; i < to; i += kBagChunk)
      total =
          hn::Add(total, columns.load(target.partial + static_cast<std::size_t>(partial_slot(i, i + kBagChunk >= to)) * C + c));
    columns.store(total, sum + c);
  });
  finish(target, segments.rows[s], C);
}

void update_rows(float* table, float* moment, const std::int32_t* rows, const float* values, std::int64_t begin,
                 std::int64_t end, std::int64_t C, const UpdateScalars& u) {
  for (std::int64_t i = begin; i < end; ++i) {
    if (i + kAhead < end) prefetch_state(table, moment, rows[i + kAhead], static_cast<std::size_t>(C));
    update_row(table + rows[i] * C, moment == nullptr ? nullptr : moment + rows[i], values + i * C, static_cast<std::size_t>(C),
               u);
  }
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

namespace tradewind::kernels::cpu {
HWY_EXPORT(forward_bags);
HWY_EXPORT(weight_gradients);
HWY_EXPORT(sum_chunks);
HWY_EXPORT(add_chunks);
HWY_EXPORT(update_rows);

namespace {

// Sums every row's terms into `target`; rows and begins are filled on the way.
void sum_rows(SumTarget target, std::int32_t* rows, std::int64_t* begins, const float* dout, const std::int32_t* argmax,
              const BagShape& s, const BagOptions& o, const Launch& launch) {
  SortedTerms terms(s, o, launch);
  terms.find_segments(rows, begins);
  const auto C = static_cast<std::size_t>(s.C), padded = (C + 15) / 16 * 16;
  const ScratchArray<float> partial(launch, static_cast<std::size_t>(partial_slots(s.N)) * C);
  const ScratchArray<float> sums(launch, static_cast<std::size_t>(std::max(launch.threads, 1)) * padded);
  target.partial = partial.get();
  const std::uint32_t *starts = terms.starts(), *starts_end = starts + begins[s.T] + 1;
  const auto segment_of = [&](std::int64_t e) {
    return std::upper_bound(starts, starts_end, static_cast<std::uint32_t>(e)) - starts - 1;
  };
  const auto own = [&] {
    SumTarget mine = target;
    mine.sum = sums.get() + static_cast<std::size_t>(omp_get_thread_num()) * padded;
    return mine;
  };
  parallel_pieces(s.N, rows_per_grain(s.C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = 0; t < s.T; ++t) {
      const std::int64_t from = std::max(begin, terms.first(t)), to = std::min(end, terms.first(t + 1));
      if (from >= to) continue;
      const Segments segments{starts, rows, segment_of(from), segment_of(to - 1) + 1};
      HWY_DYNAMIC_DISPATCH(sum_chunks)(own(), terms.of_table(t, dout, argmax), segments, from, to);
    }
  });
  if (s.N <= kBagChunk) return;
  const std::int64_t multiples = (s.N + kBagChunk - 1) / kBagChunk;
  parallel_pieces(multiples, rows_per_grain(s.C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * kBagChunk; i < end * kBagChunk; i += kBagChunk) {
      const std::int64_t segment = segment_of(i);
      if (finds_row(i, starts[segment], starts[segment + 1]))
        HWY_DYNAMIC_DISPATCH(add_chunks)(own(), Segments{starts, rows, segment, segment + 1}, segment, C);
    }
  });
}

void write_weight_gradients(float* dweights, const float* dout, const float* table, const BagShape& s, const BagOptions& o,
                            Write write, const Launch& launch) {
  for_bags(table, s, o, launch, [&](const BagPart& part) {
    HWY_DYNAMIC_DISPATCH(weight_gradients)(dweights, dout, part, write == Write::kAccumulate);
  });
}

UpdateScalars scalars_of(const RowUpdateOptions& update, const Launch& launch) {
  return {.rate = launch.step->learning_rate * update.rate,
          .epsilon = update.epsilon,
          .gradient_scale = launch.step->gradient_scale,
          .adagrad = update.kind == RowUpdateKind::kRowwiseAdagrad};
}

}  // namespace

void embedding_bag_forward(float* out, std::int32_t* argmax, const float* table, const BagShape& s, const BagOptions& o,
                           const Launch& launch) {
  constexpr std::int64_t kCached = std::int64_t{128} << 10;  // floats: tables in the second-level cache need no asking
  for_bags(table, s, o, launch, [&](const BagPart& part) {
    HWY_DYNAMIC_DISPATCH(forward_bags)(out, argmax, part, o.mode == BagMode::kMax, s.V * s.C > kCached);
  });
}

void embedding_bag_backward(const BagGradient& gradient, float* dweights, const float* dout, const float* table,
                            const std::int32_t* argmax, const BagShape& s, const BagOptions& o, Write write_dweights,
                            const Launch& launch) {
  if (dweights != nullptr) write_weight_gradients(dweights, dout, table, s, o, write_dweights, launch);
  const SumTarget target{
      .values = gradient.values, .table = nullptr, .moment = nullptr, .update = {}, .partial = nullptr, .sum = nullptr};
  sum_rows(target, gradient.rows, gradient.begins, dout, o.mode == BagMode::kMax ? argmax : nullptr, s, o, launch);
}

void embedding_bag_update(float* table, float* moment, float* dweights, const float* dout, const std::int32_t* argmax,
                          const BagShape& s, const BagOptions& o, Write write_dweights, const RowUpdateOptions& update,
                          const Launch& launch) {
  if (dweights != nullptr) write_weight_gradients(dweights, dout, table, s, o, write_dweights, launch);
  const ScratchArray<std::int32_t> rows(launch, static_cast<std::size_t>(s.N));
  const ScratchArray<std::int64_t> begins(launch, static_cast<std::size_t>(s.T) + 1);
  const SumTarget target{.values = nullptr,
                         .table = table,
                         .moment = moment,
                         .update = scalars_of(update, launch),
                         .partial = nullptr,
                         .sum = nullptr};
  sum_rows(target, rows.get(), begins.get(), dout, o.mode == BagMode::kMax ? argmax : nullptr, s, o, launch);
}

void row_update(float* table, float* moment, const std::int32_t* rows, const float* values, std::int64_t count, std::int64_t C,
                const RowUpdateOptions& update, const Launch& launch) {
  const UpdateScalars scalars = scalars_of(update, launch);
  parallel_pieces(count, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(update_rows)(table, moment, rows, values, begin, end, C, scalars);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
