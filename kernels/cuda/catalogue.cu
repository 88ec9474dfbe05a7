// Full-catalogue scoring on NVIDIA GPUs. Mathematics and shapes: kernels/catalogue.h. N queries, V items, C channels.
//
// For each chunk of R queries:
//   Z = X W^T        cuBLASLt, [R, V] float32: the whole catalogue, so that a target's score and those that it is compared with
//                    are of one product; scores that are given are read where they lie
//   a block a query  turns its row of Z, in place, into numbers that sort by score (ordered_bits.cuh; one number says "no
//                    candidate", one "NaN"), reads those of its targets, strikes out what is excluded or not allowed, and then
//                    counts what is above and equal to each target, four targets at a time; or
//                    selects: the k-th smallest number is found four bits at a time from the top, each thread counting in 16
//                    counters of its own, eight passes over the row; what is below it, and as many equal ones as are wanted, by
//                    ascending id, are written out
//   best k           the R k chosen are sorted by (query, number) by CUB, stable, so equal ones stay by id; then decoded
//
// Bound: 2 N V C FLOPs. A row of Z is written and read once by the product and the first pass (12 bytes a score), then read
// from the second-level cache where it fits, 8 times for a selection and once for four targets: 6,040 users x 3,416 items are
// 83 MB of scores; 12 bytes are 0.25 GB, 0.07 ms at the H100's 3.35 TB/s, 0.05 at the H200's 4.8; a selection's eight passes
// 0.66 GB. Bounds, not measurements: none of this has run on a GPU yet.
//
// 256 threads, 17 KiB of shared memory for the counters. Deterministic: counts of integers, one writer an output, no atomics.
#include "kernels/cuda/catalogue.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/device/ordered_bits.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kAtOnce = 4;                                        // targets
constexpr int kBits = 4, kBins = 1 << kBits;                      // of a pass of the selection
constexpr std::uint32_t kNone = 0xFFFFFFFFU, kNan = 0xFFFFFFFEU;  // above all numbers of scores

/// A kernel's parameter; of one chunk.
struct CatalogueView {
  std::uint32_t* z;             // [R, V]: scores, then numbers
  const std::uint32_t* scores;  // [R, V], the bits of floats: given, or z
  const void* bias;
  const std::int64_t* exclude_offsets;  // of the chunk's first query
  const std::int32_t* exclude;
  const std::uint8_t* allow;
  std::int64_t V;
};

TRADEWIND_DEVICE std::uint32_t count_bits(std::uint32_t x) {
  x -= x >> 1 & 0x55555555U;
  x = (x & 0x33333333U) + (x >> 2 & 0x33333333U);
  return ((x + (x >> 4)) & 0x0F0F0F0FU) * 0x01010101U >> 24;
}

/// x summed over the block, in every thread. The block calls it together; parts [kWarps] may be used again after the next
/// sync_block().
TRADEWIND_DEVICE std::uint32_t block_count(std::uint32_t x, std::uint32_t* parts) {
#pragma unroll
  for (int bits = kWarpSize / 2; bits > 0; bits /= 2) x += shuffle_xor(x, bits);
  if (lane() == 0) store(parts + warp(), x);
  sync_block();
  std::uint32_t sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += load(parts + w);
  return sum;
}

/// The scores of query n become numbers in its row of z.
template <class T>
TRADEWIND_DEVICE void make_numbers(std::uint32_t* row, const CatalogueView& a, std::int64_t n) {
  const T* bias = static_cast<const T*>(a.bias);
  const std::uint32_t* scores = a.scores + n * a.V;
#pragma unroll 4
  for (std::int64_t v = linear_thread(); v < a.V; v += kThreads) {
    float x = from_bits(load(scores + v));
    if (bias != nullptr) x += to_float(load(bias + v));
    store(row + v, x != x ? kNan : descending_bits(x));
  }
}

/// What is no candidate of query n becomes kNone. The block calls it together, after a barrier behind make_numbers. No barrier
/// is needed behind it where each thread reads on what it made itself, every kThreads-th number: what another thread excluded
/// there, the barrier in here has shown.
TRADEWIND_DEVICE void strike_out(std::uint32_t* row, const CatalogueView& a, std::int64_t n) {
  if (a.exclude_offsets != nullptr) {
    const std::int64_t begin = load(a.exclude_offsets + n), end = load(a.exclude_offsets + n + 1);
    for (std::int64_t e = begin + linear_thread(); e < end; e += kThreads) {
      const std::int32_t id = load(a.exclude + e);
      // One writer an item: of equal ids the first.
      if (id >= 0 && id < a.V && (e == begin || load(a.exclude + e - 1) != id)) store(row + id, kNone);
    }
    sync_block();  // items that are not allowed either are written again
  }
  if (a.allow == nullptr) return;
  for (std::int64_t v = linear_thread(); v < a.V; v += kThreads)
    if (load(a.allow + v) == 0) store(row + v, kNone);
}

/// Counts of the targets of a chunk's queries. A block a query; own [total]: the targets' numbers.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void rank_kernel(std::int32_t* greater, std::int32_t* equal, std::uint32_t* own, const std::int64_t* offsets,
                 const std::int32_t* targets, CatalogueView a) {
  const std::int64_t n = block_index().x, begin = load(offsets + n), end = load(offsets + n + 1);
  if (begin == end) return;
  std::uint32_t* row = a.z + n * a.V;
  auto* parts = reinterpret_cast<std::uint32_t*>(shared_arena());
  make_numbers<T>(row, a, n);
  sync_block();
  for (std::int64_t t = begin + linear_thread(); t < end; t += kThreads) {
    const std::int32_t id = load(targets + t);
    store(own + t, id >= 0 && id < a.V ? load(row + id) : kNan);
  }
  sync_block();
  strike_out(row, a, n);
  for (std::int64_t t = begin; t < end; t += kAtOnce) {
    std::uint32_t mine[kAtOnce], above[kAtOnce] = {}, same[kAtOnce] = {}, nan = 0;
    std::int32_t id[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      mine[i] = t + i < end ? load(own + t + i) : kNan;
      id[i] = t + i < end ? load(targets + t + i) : -1;
    }
#pragma unroll 4
    for (std::int64_t v = linear_thread(); v < a.V; v += kThreads) {
      const std::uint32_t number = load(row + v);
      nan += number == kNan ? 1U : 0U;
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        above[i] += number < mine[i] ? 1U : 0U;
        same[i] += number == mine[i] && v != id[i] ? 1U : 0U;
      }
    }
    nan = block_count(nan, parts);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::uint32_t more = block_count(above[i], parts + (1 + 2 * i) * kWarps);
      const std::uint32_t as_much = block_count(same[i], parts + (2 + 2 * i) * kWarps);
      if (t + i >= end || linear_thread() != 0) continue;
      const bool bad = nan != 0 || mine[i] == kNan;
      store(greater + t + i, bad ? static_cast<std::int32_t>(a.V) : static_cast<std::int32_t>(more));
      store(equal + t + i, bad ? 0 : static_cast<std::int32_t>(as_much));
    }
    sync_block();  // the next targets' parts are written there
  }
}

/// Where the k-th smallest number of a row is: itself, and how many of its equals are among the first k.
struct Threshold {
  std::uint32_t number;
  std::int64_t equals;
};
/// The block calls it together. counters [kBins, kThreads], totals [kBins].
TRADEWIND_DEVICE Threshold kth_smallest(const std::uint32_t* row, std::int64_t V, std::int64_t k, std::uint32_t* counters,
                                        std::uint32_t* totals) {
  Threshold at{0, k};
  std::uint32_t known = 0;
#pragma unroll 1
  for (int shift = 32 - kBits; shift >= 0; shift -= kBits) {
    std::uint32_t* own = counters + linear_thread();
#pragma unroll
    for (int bin = 0; bin < kBins; ++bin) store(own + bin * kThreads, 0U);
    for (std::int64_t v = linear_thread(); v < V; v += kThreads) {
      const std::uint32_t number = load(row + v);
      if ((number & known) != at.number) continue;
      std::uint32_t* counter = own + (number >> shift & (kBins - 1)) * kThreads;
      store(counter, load(counter) + 1U);
    }
    sync_block();
    for (int bin = warp(); bin < kBins; bin += kWarps) {
      std::uint32_t sum = 0;
      for (int i = lane(); i < kThreads; i += kWarpSize) sum += load(counters + bin * kThreads + i);
#pragma unroll
      for (int bits = kWarpSize / 2; bits > 0; bits /= 2) sum += shuffle_xor(sum, bits);
      if (lane() == 0) store(totals + bin, sum);
    }
    sync_block();
    std::uint32_t bin = 0;
    for (std::uint32_t here = load(totals); here < at.equals; here = load(totals + bin)) at.equals -= here, ++bin;
    at.number |= bin << shift;
    known |= static_cast<std::uint32_t>(kBins - 1) << shift;
  }
  return at;
}

/// The best k of each query of a chunk, not in order: pairs of (query << 32 | number) and id. A block a query.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void select_kernel(std::uint64_t* keys, std::int32_t* ids, std::int64_t k, CatalogueView a) {
  const std::int64_t n = block_index().x;
  std::uint32_t* row = a.z + n * a.V;
  auto* counters = reinterpret_cast<std::uint32_t*>(shared_arena());
  std::uint32_t *totals = counters + kBins * kThreads, *parts = totals + kBins;
  make_numbers<T>(row, a, n);
  sync_block();
  strike_out(row, a, n);
  std::uint32_t nan = 0;
  for (std::int64_t v = linear_thread(); v < a.V; v += kThreads) nan += load(row + v) == kNan ? 1U : 0U;
  const std::uint64_t query = static_cast<std::uint64_t>(n) << 32;
  keys += n * k, ids += n * k;
  if (block_count(nan, parts) != 0) {
    for (std::int64_t i = linear_thread(); i < k; i += kThreads) {
      store(keys + i, query | kNan);
      store(ids + i, -1);
    }
    return;
  }
  const Threshold at = kth_smallest(row, a.V, k, counters, totals);
  std::int64_t below = 0, equals = 0;  // found so far
  for (std::int64_t begin = 0; begin < a.V && below + equals < k; begin += kThreads) {
    const std::int64_t v = begin + linear_thread();
    const std::uint32_t number = v < a.V ? load(row + v) : kNone;
    const bool is_below = v < a.V && number < at.number, is_equal = v < a.V && number == at.number;
    const std::uint32_t warp_below = ballot(is_below), warp_equal = ballot(is_equal), before = (1U << lane()) - 1U;
    if (lane() == 0) {
      store(parts + warp(), count_bits(warp_below));
      store(parts + kWarps + warp(), count_bits(warp_equal));
    }
    sync_block();
    std::int64_t my_below = below + count_bits(warp_below & before), my_equal = equals + count_bits(warp_equal & before);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const std::uint32_t b = load(parts + w), e = load(parts + kWarps + w);
      below += b, equals += e;
      if (w < warp()) my_below += b, my_equal += e;
    }
    equals = equals < at.equals ? equals : at.equals;
    const std::int64_t slot = is_below ? my_below : is_equal && my_equal < at.equals ? k - at.equals + my_equal : -1;
    if (slot >= 0) {
      store(keys + slot, query | number);
      store(ids + slot, static_cast<std::int32_t>(v));
    }
    sync_block();  // the next tile's parts are written there
  }
}

/// Sorted pairs as ids and scores; what is no candidate, or of a query with a NaN, as the contract says.
TRADEWIND_KERNEL void decode_kernel(std::int32_t* ids, float* scores, const std::uint64_t* keys, const std::int32_t* sorted_ids,
                                    std::int64_t count) {
  const std::int64_t i = std::int64_t{block_index().x} * kThreads + linear_thread();
  if (i >= count) return;
  const auto number = static_cast<std::uint32_t>(load(keys + i));
  store(ids + i, number >= kNan ? -1 : load(sorted_ids + i));
  if (scores == nullptr) return;
  store(scores + i, number == kNan ? NAN : number == kNone ? -INFINITY : float_of_descending(number));
}

/// Calls take(first query, queries, view) for chunks whose scores are in the view. other_bytes: what a query needs besides.
template <class Take>
void for_each_chunk(const Catalogue& c, std::int64_t chunk_bytes, std::int64_t other_bytes, const Launch& at,
                    const Take& take) {
  const std::int64_t most =
      std::clamp<std::int64_t>(chunk_bytes / (4 * c.V + other_bytes), 32, std::max<std::int64_t>(c.N, 32));
  const std::int64_t R = std::min(most, c.N);
  const ScratchArray<std::uint32_t> z(at, static_cast<std::size_t>(R * c.V));
  const std::size_t element = size_of(c.dtype);
  for (std::int64_t n = 0; n < c.N; n += R) {
    const std::int64_t rows = std::min(R, c.N - n);
    if (c.scores == nullptr)
      gemm(z.get(), DType::kFloat32, static_cast<const std::byte*>(c.x) + static_cast<std::size_t>(n * c.C) * element, c.w,
           c.dtype,
           {.m = rows, .n = c.V, .k = c.C, .a_stride = c.C, .b_stride = c.w_stride, .c_stride = c.V, .b_transposed = true}, at);
    take(n, rows,
         CatalogueView{.z = z.get(),
                       .scores = c.scores == nullptr ? z.get() : reinterpret_cast<const std::uint32_t*>(c.scores) + n * c.V,
                       .bias = c.bias,
                       .exclude_offsets = c.exclude_offsets == nullptr ? nullptr : c.exclude_offsets + n,
                       .exclude = c.exclude,
                       .allow = c.allow,
                       .V = c.V});
  }
}

}  // namespace

void catalogue_top_k_cuda(std::int32_t* ids, float* scores, const Catalogue& c, std::int64_t k, const Launch& at,
                          std::int64_t chunk_bytes) {
  constexpr const char* kOp = "catalogue_top_k";
  constexpr std::size_t kShared = (kBins * kThreads + kBins + 2 * kWarps) * sizeof(std::uint32_t);
  for_each_chunk(c, chunk_bytes, 24 * k, at, [&](std::int64_t n, std::int64_t rows, const CatalogueView& view) {
    const auto count = static_cast<std::size_t>(rows * k);
    const ScratchArray<std::uint64_t> keys(at, count), sorted(at, count);
    const ScratchArray<std::int32_t> chosen(at, count), sorted_ids(at, count);
    with_element(kOp, c.dtype, [&](auto element) {
      launch(select_kernel<decltype(element)>, grid_of(kOp, rows), Index3{kThreads}, kShared, at.stream, keys.get(),
             chosen.get(), k, view);
    });
    sort_pairs(sorted.get(), sorted_ids.get(), keys.get(), chosen.get(), rows * k,
               32 + static_cast<int>(std::bit_width(static_cast<std::uint64_t>(rows - 1))), at);
    launch(decode_kernel, grid_of(kOp, (rows * k + kThreads - 1) / kThreads), Index3{kThreads}, 0, at.stream, ids + n * k,
           scores == nullptr ? nullptr : scores + n * k, sorted.get(), sorted_ids.get(), rows * k);
  });
}

void catalogue_rank_cuda(std::int32_t* greater, std::int32_t* equal, const Catalogue& c, const std::int64_t* target_offsets,
                         const std::int32_t* targets, std::int64_t total, const Launch& at, std::int64_t chunk_bytes) {
  constexpr const char* kOp = "catalogue_rank";
  constexpr std::size_t kShared = (1 + 2 * kAtOnce) * kWarps * sizeof(std::uint32_t);
  const ScratchArray<std::uint32_t> own(at, static_cast<std::size_t>(total));
  for_each_chunk(c, chunk_bytes, 0, at, [&](std::int64_t n, std::int64_t rows, const CatalogueView& view) {
    with_element(kOp, c.dtype, [&](auto element) {
      launch(rank_kernel<decltype(element)>, grid_of(kOp, rows), Index3{kThreads}, kShared, at.stream, greater, equal,
             own.get(), target_offsets + n, targets, view);
    });
  });
}

}  // namespace tradewind::kernels::detail
