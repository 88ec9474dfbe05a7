// Embedding on the CPU. Forward copies rows, asking for those to come while it copies: a random row of a large table is a
// cache miss and a page walk, and several must be under way at once.
//
// Backward adds in ascending n in one of two ways:
//   small table (N >= 4 V): threads own columns and walk all ids in order; the table's columns stay in the cache.
//   large table: (id, n) is sorted by id (stable), threads own ranges of rows, a row is summed in registers and written once;
//   rows without an id are filled with zeros on the way. Ranges are cut by cost, rows to write plus gradients to read.
#include "kernels/cpu/embedding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr std::size_t kAhead = 12;  // rows asked for in advance

HWY_INLINE void prefetch_row(const float* row, std::size_t C) {
  // The first lines; the hardware follows a longer row by itself.
  for (std::size_t c = 0; c < C && c < 256; c += 16) hwy::Prefetch(row + c);
}

HWY_INLINE void add_row(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::size_t C, V scale) {
  const D d;
  const std::size_t L = hn::Lanes(d);
  std::size_t c = 0;
  for (; c + L <= C; c += L) hn::StoreU(hn::MulAdd(scale, hn::LoadU(d, from + c), hn::LoadU(d, to + c)), d, to + c);
  if (const std::size_t k = C - c; k != 0)
    store_n(hn::MulAdd(scale, load_n(d, from + c, k), load_n(d, to + c, k)), d, to + c, k);
}

HWY_INLINE void copy_row(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::size_t C, V scale) {
  const D d;
  const std::size_t L = hn::Lanes(d);
  std::size_t c = 0;
  for (; c + L <= C; c += L) hn::StoreU(hn::Mul(scale, hn::LoadU(d, from + c)), d, to + c);
  if (const std::size_t k = C - c; k != 0) store_n(hn::Mul(scale, load_n(d, from + c, k)), d, to + c, k);
}

void forward_rows(float* y, const float* table, const std::int32_t* ids, std::size_t N, std::size_t C, float scale, bool add,
                  bool ahead) {
  const V by = hn::Set(D(), scale);
  for (std::size_t n = 0; n < N; ++n) {
    if (ahead && n + kAhead < N) prefetch_row(table + static_cast<std::size_t>(ids[n + kAhead]) * C, C);
    const float* row = table + static_cast<std::size_t>(ids[n]) * C;
    if (add)
      add_row(y + n * C, row, C, by);
    else
      copy_row(y + n * C, row, C, by);
  }
}

// Columns [begin, begin + width) of every row, ids in order.
void add_columns(float* dtable, const float* dy, const std::int32_t* ids, std::size_t N, std::size_t rows, std::size_t C,
                 std::size_t width, float scale, bool assign) {
  const D d;
  if (assign)
    for (std::size_t v = 0; v < rows; ++v) {
      std::size_t c = 0;
      for (; c + hn::Lanes(d) <= width; c += hn::Lanes(d)) hn::StoreU(hn::Zero(d), d, dtable + v * C + c);
      if (c < width) store_n(hn::Zero(d), d, dtable + v * C + c, width - c);
    }
  for (std::size_t n = 0; n < N; ++n)
    add_row(dtable + static_cast<std::size_t>(ids[n]) * C, dy + n * C, width, hn::Set(d, scale));
}

// to[0, C) (=, +=) scale times the sum of dy's rows order[0, count), `width` vectors of the row at a time in registers.
template <std::size_t kVectors>
HWY_INLINE void sum_block(float* to, const float* dy, const std::uint32_t* order, std::size_t count, std::size_t C, V scale,
                          bool add, bool stream) {
  const D d;
  const std::size_t L = hn::Lanes(d);
  V sum[kVectors];
  std::size_t first = 0;
  if (!add) first = 1;  // the first row is the start
  const float* start = add ? to : dy + order[0] * C;
  HWY_UNROLL(8)
  for (std::size_t i = 0; i < kVectors; ++i) {
    sum[i] = hn::LoadU(d, start + i * L);
    if (!add) sum[i] = hn::Mul(scale, sum[i]);
  }
  for (std::size_t e = first; e < count; ++e) {
    const float* row = dy + order[e] * C;
    HWY_UNROLL(8)
    for (std::size_t i = 0; i < kVectors; ++i) sum[i] = hn::MulAdd(scale, hn::LoadU(d, row + i * L), sum[i]);
  }
  HWY_UNROLL(8)
  for (std::size_t i = 0; i < kVectors; ++i) {
    if (stream)
      hn::Stream(sum[i], d, to + i * L);
    else
      hn::StoreU(sum[i], d, to + i * L);
  }
}

HWY_INLINE void sum_rows(float* to, const float* dy, const std::uint32_t* order, std::size_t count, std::size_t C, V scale,
                         bool add, bool stream) {
  const D d;
  const std::size_t L = hn::Lanes(d);
  std::size_t c = 0;
  // Columns c to the end of each row: the pointers move, the stride stays C.
  for (; c + 8 * L <= C; c += 8 * L) sum_block<8>(to + c, dy + c, order, count, C, scale, add, stream);
  for (; c + L <= C; c += L) sum_block<1>(to + c, dy + c, order, count, C, scale, add, stream);
  if (const std::size_t k = C - c; k != 0) {
    V sum = add ? load_n(d, to + c, k) : hn::Zero(d);
    for (std::size_t e = 0; e < count; ++e) sum = hn::MulAdd(scale, load_n(d, dy + order[e] * C + c, k), sum);
    store_n(sum, d, to + c, k);
  }
}

HWY_INLINE void zero(float* to, std::size_t count, bool stream) {
  const D d;
  const std::size_t L = hn::Lanes(d);
  std::size_t i = 0;
  if (stream)
    for (; i + L <= count; i += L) hn::Stream(hn::Zero(d), d, to + i);
  else
    for (; i + L <= count; i += L) hn::StoreU(hn::Zero(d), d, to + i);
  if (i < count) store_n(hn::Zero(d), d, to + i, count - i);
}

HWY_INLINE void prefetch_entry(const float* dy, const std::uint32_t* order, std::size_t at, std::size_t N, std::size_t C) {
  if (at < N) prefetch_row(dy + order[at] * C, C);
}

// Rows [begin, end) of dtable from the sorted ids [first, N): every row where `assign`, else those with an id.
void dense_rows(float* dtable, const float* dy, const std::int32_t* sorted, const std::uint32_t* order, std::size_t first,
                std::size_t N, std::size_t begin, std::size_t end, std::size_t C, float scale, bool assign, bool stream) {
  const V by = hn::Set(D(), scale);
  std::size_t next = begin;  // first row not yet written
  while (first < N && static_cast<std::size_t>(sorted[first]) < end) {
    const auto v = static_cast<std::size_t>(sorted[first]);
    std::size_t last = first;
    do prefetch_entry(dy, order, last + kAhead, N, C);
    while (++last < N && static_cast<std::size_t>(sorted[last]) == v);
    if (assign) zero(dtable + next * C, (v - next) * C, stream);
    sum_rows(dtable + v * C, dy, order + first, last - first, C, by, !assign, stream);
    next = v + 1;
    first = last;
  }
  if (assign) zero(dtable + next * C, (end - next) * C, stream);
  if (stream) hwy::FlushStream();
}

// values[s] = the sum of segment s, entries [segments[s], segments[s + 1]), for s in [begin, end).
void sparse_rows(float* values, const float* dy, const std::uint32_t* order, const std::uint32_t* segments, std::size_t begin,
                 std::size_t end, std::size_t N, std::size_t C, float scale) {
  for (std::size_t s = begin; s < end; ++s) {
    for (std::size_t e = segments[s]; e < segments[s + 1]; ++e) prefetch_entry(dy, order, e + kAhead, N, C);
    sum_rows(values + s * C, dy, order + segments[s], segments[s + 1] - segments[s], C, hn::Set(D(), scale), false, false);
  }
}

}  // namespace
}  // namespace tradewind::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/radix_sort.h"

namespace tradewind::kernels::cpu {
HWY_EXPORT(forward_rows);
HWY_EXPORT(add_columns);
HWY_EXPORT(dense_rows);
HWY_EXPORT(sparse_rows);

namespace {

// ids in ascending order, and which row each came from, ascending among equal ids.
struct Sorted {
  ScratchArray<std::int32_t> id_array, other_ids;
  ScratchArray<std::uint32_t> order_array, other_order, place;
  const std::int32_t* ids;
  const std::uint32_t* order;

  Sorted(const std::int32_t* from, std::int64_t N, std::int64_t V, const Launch& launch)
      : id_array(launch, static_cast<std::size_t>(N)),
        other_ids(launch, static_cast<std::size_t>(N)),
        order_array(launch, static_cast<std::size_t>(N)),
        other_order(launch, static_cast<std::size_t>(N)),
        place(launch, kRadixBuckets),
        ids(id_array.get()),
        order(order_array.get()) {
    radix_sort({id_array.get(), other_ids.get(), order_array.get(), other_order.get(), place.get()}, from,
               static_cast<std::size_t>(N), 0, V);
  }
};

}  // namespace

void embedding_forward(float* y, const float* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                       Write write, float scale, const Launch& launch) {
  constexpr std::int64_t kCached = std::int64_t{128} << 10;  // floats: a table in the second-level cache needs no asking
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_rows)
    (y + begin * C, table, ids + begin, static_cast<std::size_t>(end - begin), static_cast<std::size_t>(C), scale,
     write == Write::kAccumulate, V * C > kCached);
  });
}

void embedding_backward_dense(float* dtable, const float* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                              std::int64_t C, Write write, float scale, const Launch& launch) {
  const bool assign = write == Write::kAssign;
  if (N >= 4 * V) {
    const int threads = N * C < 2 * kGrain ? 1 : launch.threads;
    parallel_ranges(C, 16, threads, [&](std::int64_t begin, std::int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(add_columns)
      (dtable + begin, dy + begin, ids, static_cast<std::size_t>(N), static_cast<std::size_t>(V), static_cast<std::size_t>(C),
       static_cast<std::size_t>(end - begin), scale, assign);
    });
    return;
  }
  const Sorted sorted(ids, N, V, launch);
  const std::int32_t *ids_begin = sorted.ids, *ids_end = ids_begin + N;
  const auto entries_below = [&](std::int64_t v) { return std::lower_bound(ids_begin, ids_end, v) - ids_begin; };
  // The cost of the rows below v, in rows of memory traffic.
  const auto cost = [&](std::int64_t v) { return (assign ? v : 0) + entries_below(v); };
  const std::int64_t total = cost(V);
  const bool stream = assign && C % 16 == 0 && pays_to_stream(dtable, V * C);
  // The first row whose cost reaches `share`.
  const auto row_at = [&](std::int64_t share) {
    std::int64_t low = 0, high = V;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (cost(middle) < share)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };
  parallel_pieces(total, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t from = begin == 0 ? 0 : row_at(begin), to = end == total ? V : row_at(end);
    const std::int64_t first = entries_below(from);
    HWY_DYNAMIC_DISPATCH(dense_rows)
    (dtable, dy, sorted.ids, sorted.order, static_cast<std::size_t>(first), static_cast<std::size_t>(N),
     static_cast<std::size_t>(from), static_cast<std::size_t>(to), static_cast<std::size_t>(C), scale, assign, stream);
  });
}

std::int64_t embedding_backward_sparse(std::int32_t* rows, float* values, const float* dy, const std::int32_t* ids,
                                       std::int64_t N, std::int64_t V, std::int64_t C, float scale, const Launch& launch) {
  const Sorted sorted(ids, N, V, launch);
  const ScratchArray<std::uint32_t> segments(launch, static_cast<std::size_t>(N) + 1);
  std::int64_t count = 0;
  for (std::int64_t n = 0; n < N; ++n)
    if (n == 0 || sorted.ids[n] != sorted.ids[n - 1]) {
      rows[count] = sorted.ids[n];
      segments[static_cast<std::size_t>(count++)] = static_cast<std::uint32_t>(n);
    }
  segments[static_cast<std::size_t>(count)] = static_cast<std::uint32_t>(N);
  // Entries are shared out, not segments: a hot id has many. A thread takes the segments that start in its part.
  const std::uint32_t *first = segments.get(), *last = first + count;
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    const auto from = std::lower_bound(first, last, static_cast<std::uint32_t>(begin)) - first;
    const auto to = std::lower_bound(first, last, static_cast<std::uint32_t>(end)) - first;
    HWY_DYNAMIC_DISPATCH(sparse_rows)
    (values, dy, sorted.order, first, static_cast<std::size_t>(from), static_cast<std::size_t>(to), static_cast<std::size_t>(N),
     static_cast<std::size_t>(C), scale);
  });
  return count;
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
