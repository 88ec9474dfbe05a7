// Full-catalogue scoring on the CPU. A part of the item table is packed by all threads (kernels/cpu/packed_gemm.h); then each
// takes a block of queries and multiplies it with one strip of items at a time, and every row of the strip is looked at while
// it is in the second-level cache: so scores cost no memory traffic, and the product decides. Where queries are too few to
// share, their items are: each part keeps its own result, merged at the end.
//
// Nothing depends on how it is split: an element of multiply_packed has the same bits in any split, the order (score, id) is
// total, counts add up. A target's score is made by the same product, of its query and its item alone. Scores that are given
// are looked at where they lie, strip by strip.
//
// Best k: a heap a query, whose worst is at the top. Items come by ascending id, so what equals the worst of a full heap comes
// too late: vectors of scores of which none is above it are passed over at once. Whether an item is excluded is
// asked only of the few that are above.
// Ranks: all scores above and equal are counted, then those of excluded items are taken off again.
#include "kernels/cpu/catalogue.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/cpu/packed_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/catalogue.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The first i in [from, count) with z[i] above `bound`, or NaN; count where there is none.
std::int64_t first_above(const float* z, std::int64_t from, std::int64_t count, float bound) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto most = hn::Set(d, bound);
  const auto above = [&](std::int64_t i) { return hn::Not(hn::Le(hn::LoadU(d, z + i), most)); };
  for (; from + 4 * L <= count; from += 4 * L) {
    const auto any = hn::Or(hn::Or(above(from), above(from + L)), hn::Or(above(from + 2 * L), above(from + 3 * L)));
    if (!hn::AllFalse(d, any)) break;
  }
  for (; from + L <= count; from += L) {
    const auto here = above(from);
    if (!hn::AllFalse(d, here)) return from + static_cast<std::int64_t>(hn::FindKnownFirstTrue(d, here));
  }
  while (from < count && z[from] <= bound) ++from;
  return from;
}

/// Adds to `greater` and `equal` how many of z[0, count) are above and equal to `score`.
void count_above(const float* z, std::int64_t count, float score, std::int32_t& greater, std::int32_t& equal) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto mine = hn::Set(d, score);
  auto above = hn::Zero(di), same = hn::Zero(di);  // minus the counts: a mask is -1
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    const auto x = hn::LoadU(d, z + i);
    above = hn::Add(above, hn::VecFromMask(di, hn::RebindMask(di, hn::Gt(x, mine))));
    same = hn::Add(same, hn::VecFromMask(di, hn::RebindMask(di, hn::Eq(x, mine))));
  }
  greater -= hn::GetLane(hn::SumOfLanes(di, above));
  equal -= hn::GetLane(hn::SumOfLanes(di, same));
  for (; i < count; ++i) greater += z[i] > score, equal += z[i] == score;
}

bool any_nan(const float* z, std::int64_t count) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto numbers = hn::Eq(hn::Zero(d), hn::Zero(d));
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    const auto x = hn::LoadU(d, z + i);
    numbers = hn::And(numbers, hn::Eq(x, x));
  }
  bool all = hn::AllTrue(d, numbers);
  for (; i < count; ++i) all = all && z[i] == z[i];
  return !all;
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(first_above);
HWY_EXPORT(count_above);
HWY_EXPORT(any_nan);

constexpr std::int64_t kStripItems = 512;                     // with kBlockRows queries 198 KiB of scores
constexpr std::int64_t kStripStride = kStripItems + 16;       // rows of scores begin in different sets of the cache
constexpr std::int64_t kPackedBytes = std::int64_t{8} << 20;  // of w at a time: it stays in the third-level cache

const float* queries(const Catalogue& c, std::int64_t n) { return static_cast<const float*>(c.x) + n * c.C; }
GemmOperand items(const Catalogue& c, std::int64_t v) {
  return {static_cast<const float*>(c.w) + v * c.w_stride, c.w_stride, true};
}
const float* bias(const Catalogue& c, std::int64_t v) {
  return c.bias == nullptr ? nullptr : static_cast<const float*>(c.bias) + v;
}

/// The excluded ids of a query, ascending.
struct Exclusions {
  const std::int32_t *begin = nullptr, *end = nullptr;
  Exclusions(const Catalogue& c, std::int64_t n) {
    if (c.exclude_offsets != nullptr) begin = c.exclude + c.exclude_offsets[n], end = c.exclude + c.exclude_offsets[n + 1];
  }
};
bool is_candidate(const Catalogue& c, const Exclusions& excluded, std::int64_t v) {
  return (c.allow == nullptr || c.allow[v] != 0) &&
         !std::binary_search(excluded.begin, excluded.end, static_cast<std::int32_t>(v));
}

/// Scores z[0, count) of one query and items first, first + 1, ...
struct Strip {
  const float* z;
  std::int64_t first, count;
};

/// How a catalogue is shared out: `parts` of its items for each block of queries. A function of sizes and threads.
int parts_of(const Catalogue& c, int threads) {
  const std::int64_t blocks = (c.N + kBlockRows - 1) / kBlockRows, strips = (c.V + kStripItems - 1) / kStripItems;
  return blocks >= 2 * std::int64_t{threads} ? 1 : static_cast<int>(std::min<std::int64_t>(threads, strips));
}

/// As for_each_strip.
template <class Visit>
void for_each_given_strip(const Catalogue& c, int parts, const Launch& launch, const Visit& visit) {
  const std::int64_t strips = (c.V + kStripItems - 1) / kStripItems;
  parallel_pieces(c.N * parts, 1, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t n = task / parts;
      const auto part = static_cast<int>(task % parts);
      const Share mine = share_of(strips, 1, part, parts);
      for (std::int64_t s = mine.begin; s < mine.end; ++s) {
        const std::int64_t first = s * kStripItems;
        visit(n, part, Strip{c.scores + n * c.V + first, first, std::min(kStripItems, c.V - first)});
      }
    }
  });
}

/// Calls visit(n, part, strip) for every query and all items, ascending within a part; a (query, part) is on one thread at a
/// time.
template <class Visit>
void for_each_strip(const Catalogue& c, int parts, const Launch& launch, const Visit& visit) {
  if (c.scores != nullptr) return for_each_given_strip(c, parts, launch, visit);
  const std::int64_t strip_items = std::min(c.V, kStripItems), strip_elements = packed_elements(c.C, kStripItems);
  const std::int64_t all_strips = (c.V + kStripItems - 1) / kStripItems,
                     strip_bytes = strip_elements * std::int64_t{sizeof(float)};
  const std::int64_t chunk_strips = std::clamp<std::int64_t>(kPackedBytes / strip_bytes, 1, all_strips);
  const std::int64_t blocks = (c.N + kBlockRows - 1) / kBlockRows;
  const ScratchArray<float> packed(launch, static_cast<std::size_t>(chunk_strips * strip_elements));
  const ScratchArray<float> scores(launch, static_cast<std::size_t>(launch.threads * std::min(c.N, kBlockRows) * kStripStride));
  const auto factor = [&](std::int64_t chunk, std::int64_t s) {
    return PackedFactor{packed.get() + s * strip_elements, c.C, std::min(strip_items, c.V - (chunk + s) * kStripItems)};
  };
  for (std::int64_t chunk = 0; chunk < all_strips; chunk += chunk_strips) {
    const std::int64_t strips = std::min(chunk_strips, all_strips - chunk);
    parallel_pieces(strips, 1, launch.threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t s = begin; s < end; ++s) {
        const PackedFactor to = factor(chunk, s);
        pack_panels(to, items(c, (chunk + s) * kStripItems), 0, packed_panels(to.N));
      }
    });
    parallel_pieces(blocks * parts, 1, launch.threads, [&](std::int64_t begin, std::int64_t end) {
      float* z = scores.get() + omp_get_thread_num() * std::min(c.N, kBlockRows) * kStripStride;
      for (std::int64_t task = begin; task < end; ++task) {
        const std::int64_t n = task / parts * kBlockRows, rows = std::min(kBlockRows, c.N - n);
        const auto part = static_cast<int>(task % parts);
        const Share mine = share_of(strips, 1, part, parts);
        for (std::int64_t s = mine.begin; s < mine.end; ++s) {
          const PackedFactor w = factor(chunk, s);
          const std::int64_t first = (chunk + s) * kStripItems;
          multiply_packed(z, kStripStride, {queries(c, n), c.C}, w, bias(c, first), rows, 0, packed_panels(w.N),
                          Write::kAssign);
          for (std::int64_t r = 0; r < rows; ++r) visit(n + r, part, Strip{z + r * kStripStride, first, w.N});
        }
      }
    });
  }
}

/// The first query and item of those that threads report.
class FirstNan {
 public:
  void report(std::int64_t query, std::int64_t item) {
    const std::int64_t place = query << 31 | item;
    std::int64_t first = first_.load(std::memory_order_relaxed);
    while (place < first && !first_.compare_exchange_weak(first, place, std::memory_order_relaxed)) {
    }
  }
  NanScore get() const {
    const std::int64_t first = first_.load();
    return first == kNowhere ? NanScore{} : NanScore{first >> 31, first & 0x7FFFFFFF};
  }

 private:
  static constexpr std::int64_t kNowhere = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> first_{kNowhere};
};

struct Entry {
  float score;
  std::int32_t id;
};
bool better(const Entry& a, const Entry& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; }

/// The best k so far of one query, or of its part of the items: heap[0] is the worst.
struct Best {
  Entry* heap;
  std::int64_t& size;
  std::int64_t k;

  void take(const Entry& entry) {
    if (size == k) {
      std::pop_heap(heap, heap + size, better);
      --size;
    }
    heap[size++] = entry;
    std::push_heap(heap, heap + size, better);
  }
};

void take_best(Best best, const Strip& strip, const Catalogue& c, std::int64_t n, FirstNan& nan) {
  const Exclusions excluded(c, n);
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const bool full = best.size == best.k;
    if (full) i = HWY_DYNAMIC_DISPATCH(first_above)(strip.z, i, strip.count, best.heap[0].score);
    if (i == strip.count) return;
    const float score = strip.z[i];
    if (!is_candidate(c, excluded, strip.first + i)) continue;
    if (score != score)
      nan.report(n, strip.first + i);
    else
      best.take({score, static_cast<std::int32_t>(strip.first + i)});
  }
}

/// target_scores[t] as given, or by the product that the stream uses, so that it has the very bits of the stream's.
void score_targets(float* target_scores, const Catalogue& c, const std::int64_t* offsets, const std::int32_t* targets,
                   FirstNan& nan, const Launch& launch) {
  const std::int64_t elements = packed_elements(c.C, 1);
  const ScratchArray<float> panels(launch, static_cast<std::size_t>(launch.threads * elements));
  parallel_pieces(c.N, 64, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    const PackedFactor panel{panels.get() + omp_get_thread_num() * elements, c.C, 1};
    for (std::int64_t n = begin; n < end; ++n)
      for (std::int64_t t = offsets[n]; t < offsets[n + 1]; ++t) {
        if (c.scores != nullptr) {
          target_scores[t] = c.scores[n * c.V + targets[t]];
        } else {
          pack_panels(panel, items(c, targets[t]), 0, 1);
          multiply_packed(target_scores + t, 1, {queries(c, n), c.C}, panel, bias(c, targets[t]), 1, 0, 1, Write::kAssign);
        }
        if (target_scores[t] != target_scores[t]) nan.report(n, targets[t]);
      }
  });
}

/// Counts of one target, or of its part of the items.
struct Counts {
  std::int32_t greater, equal;
};

/// Takes off the counts what items [begin, end) of the strip added, the target itself excepted. `counts_once(id)` is false for
/// ids that are taken off elsewhere.
template <class CountsOnce>
void take_off(Counts& counts, const Strip& strip, float score, std::int32_t target, const std::int32_t* begin,
              const std::int32_t* end, const CountsOnce& counts_once) {
  const auto last = static_cast<std::int32_t>(strip.first + strip.count);
  for (const auto* id = std::lower_bound(begin, end, static_cast<std::int32_t>(strip.first)); id != end && *id < last; ++id) {
    if (*id == target || (id != begin && *id == id[-1]) || !counts_once(*id)) continue;
    const float z = strip.z[*id - strip.first];
    counts.greater -= z > score, counts.equal -= z == score;
  }
}

}  // namespace

NanScore catalogue_top_k(std::int32_t* ids, float* scores, const Catalogue& c, std::int64_t k, const Launch& launch) {
  const int parts = parts_of(c, launch.threads);
  const ScratchArray<Entry> heaps(launch, static_cast<std::size_t>(c.N * parts * k));
  const ScratchArray<std::int64_t> sizes(launch, static_cast<std::size_t>(c.N * parts));
  std::fill_n(sizes.get(), c.N * parts, std::int64_t{0});
  FirstNan nan;
  for_each_strip(c, parts, launch, [&](std::int64_t n, int part, const Strip& strip) {
    const std::int64_t at = n * parts + part;
    take_best({heaps.get() + at * k, sizes.get()[at], k}, strip, c, n, nan);
  });
  parallel_pieces(c.N, 16, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      Entry *first = heaps.get() + n * parts * k, *last = first + sizes.get()[n * parts];
      for (std::int64_t part = 1; part < parts; ++part)
        last = std::copy_n(first + part * k, sizes.get()[n * parts + part], last);
      std::sort(first, last, better);
      for (std::int64_t i = 0; i < k; ++i) {
        const Entry entry = first + i < last ? first[i] : Entry{-std::numeric_limits<float>::infinity(), -1};
        ids[n * k + i] = entry.id;
        if (scores != nullptr) scores[n * k + i] = entry.score;
      }
    }
  });
  return nan.get();
}

NanScore catalogue_rank(std::int32_t* greater, std::int32_t* equal, const Catalogue& c, const std::int64_t* offsets,
                        const std::int32_t* targets, std::int64_t total, const Launch& launch) {
  const int parts = parts_of(c, launch.threads);
  const ScratchArray<float> target_scores(launch, static_cast<std::size_t>(total));
  const ScratchArray<Counts> counts(launch, static_cast<std::size_t>(total * parts));
  std::fill_n(counts.get(), total * parts, Counts{0, 0});
  std::vector<std::int32_t> forbidden;
  if (c.allow != nullptr)
    for (std::int64_t v = 0; v < c.V; ++v)
      if (c.allow[v] == 0) forbidden.push_back(static_cast<std::int32_t>(v));
  FirstNan nan;
  score_targets(target_scores.get(), c, offsets, targets, nan, launch);
  for_each_strip(c, parts, launch, [&](std::int64_t n, int part, const Strip& strip) {
    if (offsets[n] == offsets[n + 1]) return;
    const Exclusions excluded(c, n);
    if (HWY_DYNAMIC_DISPATCH(any_nan)(strip.z, strip.count))
      for (std::int64_t i = 0; i < strip.count; ++i)
        if (strip.z[i] != strip.z[i] && is_candidate(c, excluded, strip.first + i)) nan.report(n, strip.first + i);
    for (std::int64_t t = offsets[n]; t < offsets[n + 1]; ++t) {
      Counts& mine = counts.get()[part * total + t];
      const float score = target_scores.get()[t];
      HWY_DYNAMIC_DISPATCH(count_above)(strip.z, strip.count, score, mine.greater, mine.equal);
      take_off(mine, strip, score, targets[t], excluded.begin, excluded.end,
               [&](std::int32_t id) { return c.allow == nullptr || c.allow[id] != 0; });
      take_off(mine, strip, score, targets[t], forbidden.data(), forbidden.data() + forbidden.size(),
               [](std::int32_t) { return true; });
    }
  });
  for (std::int64_t t = 0; t < total; ++t) {
    Counts sum{0, -1};  // the stream has met the target itself
    for (std::int64_t part = 0; part < parts; ++part) {
      sum.greater += counts.get()[part * total + t].greater;
      sum.equal += counts.get()[part * total + t].equal;
    }
    greater[t] = sum.greater, equal[t] = sum.equal;
  }
  return nan.get();
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
