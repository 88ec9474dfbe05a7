// Choosing the next token on NVIDIA GPUs. Mathematics and shapes: kernels/sampling.h. N rows of V logits.
//
// Greedy: a block a row finds the largest logit, the first of equals, and says whether the row can be sampled from; 4 N V
// bytes.
//
// Drawing needs a row in descending order as far as the draw reaches, and nobody knows how far. All of it is sorted: pairs of a
// 64-bit key (row, then the logit's bits turned around so that larger ones come first; equal ones keep their order, which is
// that of ids) and an id, by CUB, as many bits as there are rows and 32 more: about 5 passes of 24 bytes a logit, and 28 to
// make and read them: 150 N V bytes. 64 rows of 50,257 are 0.48 GB: 0.14 ms at the H100's 3.35 TB/s, 0.10 at the H200's 4.8
// TB/s, beside a forward pass that reads all weights of the model. At most 2^22 logits are sorted at a time, so that the
// workspace stays below 128 MB. Bounds, not measurements: none of this has run on a GPU yet.
//
// Then a block a row sums the weights exp((z - largest) / temperature) of what top_k keeps, in float64; where top_p cuts, it
// goes along the sorted row 256 at a time with an inclusive sum until the share is reached; and once more until the drawn
// number is exceeded. Both walks end where they find what they look for: usually in the first of these tiles. Sums of the CPU
// are float64 too, in another order: a draw within 1e-15 of the border between two ids could differ, all others are the same
// choice.
//
// About 40 registers, 330 bytes of shared memory. Deterministic: fixed trees; a row's choice depends on that row alone.
#include "kernels/cuda/sampling.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/device/ordered_bits.cuh"
#include "kernels/cuda/device/reduce.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;

/// A logit and its id; 8 bytes.
struct alignas(8) Candidate {
  float logit;
  std::int32_t id;
};
TRADEWIND_DEVICE Candidate better(Candidate a, Candidate b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id) ? a : b;
}

/// best[n] = the id of the largest logit of row n, -1 where the row cannot be sampled from. A block a row.
TRADEWIND_KERNEL_BOUNDS(kThreads, 4) void largest_kernel(std::int32_t* best, const float* logits, std::int64_t V) {
  const float* row = logits + std::int64_t{block_index().x} * V;
  Candidate mine{-INFINITY, 0x7FFFFFFF};
  bool bad = false;
#pragma unroll 4
  for (std::int64_t v = linear_thread(); v < V; v += kThreads) {
    const float z = load(row + v);
    bad |= !(z <= FLT_MAX);
    mine = better({z, static_cast<std::int32_t>(v)}, mine);
  }
  for (int bits = kWarpSize / 2; bits > 0; bits /= 2)
    mine = better(mine, {shuffle_xor(mine.logit, bits), shuffle_xor(mine.id, bits)});
  if (vote_any(bad)) mine.id = -1;
  auto* parts = reinterpret_cast<Candidate*>(shared_arena());
  if (lane() == 0) store(parts + warp(), mine);
  sync_block();
  if (linear_thread() != 0) return;
  bad = false;
  for (int w = 0; w < kWarps; ++w) {
    const Candidate other = load(parts + w);
    bad |= other.id < 0;
    mine = better(mine, other);
  }
  store(best + block_index().x, bad || mine.logit == -INFINITY ? -1 : mine.id);
}

/// What the sort takes. A block a tile of a row: grid (tiles, rows).
TRADEWIND_KERNEL void keys_kernel(std::uint64_t* keys, std::int32_t* ids, const float* logits, std::int64_t V) {
  const std::int64_t v = std::int64_t{block_index().x} * kThreads + linear_thread(), row = block_index().y;
  if (v >= V) return;
  store(keys + row * V + v, static_cast<std::uint64_t>(row) << 32 | descending_bits(load(logits + row * V + v)));
  store(ids + row * V + v, static_cast<std::int32_t>(v));
}

/// A kernel's parameter; arrays of the rows at hand.
struct DrawView {
  const std::uint64_t* keys;
  const std::int32_t *ids, *best;
  const std::uint64_t* sample;
  const std::int32_t* position;
  const StepState* step;
  std::int64_t V, kept;
  std::uint64_t purpose;
  double temperature, top_p;
};

/// A uniform number in [0, 1) for row n.
TRADEWIND_DEVICE double uniform(const DrawView& a, std::int64_t n) {
  const std::uint64_t sample = load(a.sample + n);
  const PhiloxBlock block = philox(philox_key(load(&a.step->seed), a.purpose),
                                   {{0, static_cast<std::uint32_t>(load(a.position + n)), static_cast<std::uint32_t>(sample),
                                     static_cast<std::uint32_t>(sample >> 32)}});
  return static_cast<double>((std::uint64_t{block.w[0]} << 32 | block.w[1]) >> 11) * 0x1p-53;
}

/// A sorted row, on its way through a block.
struct SortedRow {
  const std::uint64_t* keys;
  std::int64_t kept;
  double largest, temperature;

  TRADEWIND_DEVICE double weight(std::int64_t i) const {
    return exp((static_cast<double>(float_of_descending(static_cast<std::uint32_t>(load(keys + i)))) - largest) / temperature);
  }
};

/// Shared memory of find().
struct FindParts {
  double warps[kWarps], sums[kWarps];  // of a warp: its sum; the sum at its first hit, -1 without one
  std::int64_t places[kWarps];
  double all;
};

/// The first place whose inclusive sum is more than `bound` (kReached: at least), and that sum; kept and the sum of all where
/// there is none. The block calls it together.
struct Found {
  std::int64_t place;
  double sum;
};
template <bool kReached>
TRADEWIND_DEVICE Found find(const SortedRow& row, double bound, FindParts* parts) {
  double before = 0;
  for (std::int64_t begin = 0; begin < row.kept; begin += kThreads) {
    const std::int64_t i = begin + linear_thread();
    double sum = i < row.kept ? row.weight(i) : 0;
    for (int by = 1; by < kWarpSize; by *= 2) {
      const double other = shuffle_up(sum, by);
      if (lane() >= by) sum += other;
    }
    if (lane() == kWarpSize - 1) store(&parts->warps[warp()], sum);
    sync_block();
    double warps_before = before;
    for (int w = 0; w < warp(); ++w) warps_before += load(&parts->warps[w]);
    sum += warps_before;
    const bool hit = i < row.kept && (kReached ? sum >= bound : sum > bound);
    const std::uint32_t hits = ballot(hit);
    if (hits == 0 && lane() == 0) store(&parts->sums[warp()], -1.0);
    if (hit && (hits & ((1U << lane()) - 1U)) == 0) {
      store(&parts->sums[warp()], sum);
      store(&parts->places[warp()], i);
    }
    if (linear_thread() == kThreads - 1) store(&parts->all, sum);
    sync_block();
    for (int w = 0; w < kWarps; ++w)
      if (const double found = load(&parts->sums[w]); found >= 0) return {load(&parts->places[w]), found};
    before = load(&parts->all);
    sync_block();  // the next tile writes there
  }
  return {row.kept, before};
}

/// next[n] = the id drawn from sorted row n, -1 where best says so. A block a row.
TRADEWIND_KERNEL_BOUNDS(kThreads, 4) void draw_kernel(std::int32_t* next, DrawView a) {
  const std::int64_t n = block_index().x;
  if (load(a.best + n) < 0) {
    if (linear_thread() == 0) store(next + n, -1);
    return;
  }
  auto* sums = reinterpret_cast<double*>(shared_arena());
  auto* parts = reinterpret_cast<FindParts*>(sums + 2 * kWarps);
  const std::uint64_t* keys = a.keys + n * a.V;
  const SortedRow row{keys, a.kept, float_of_descending(static_cast<std::uint32_t>(load(keys))), a.temperature};
  double sum = 0, positive = 0;
#pragma unroll 1
  for (std::int64_t i = linear_thread(); i < a.kept; i += kThreads) {
    const double weight = row.weight(i);
    sum += weight;
    if (weight > 0) ++positive;
  }
  double total = block_sum<kWarps>(sum, sums);
  const auto drawable = static_cast<std::int64_t>(block_sum<kWarps>(positive, sums + kWarps));
  if (a.top_p < 1) {
    total = find<true>(row, a.top_p * total, parts).sum;
    sync_block();  // find() is about to be called again
  }
  const std::int64_t place = find<false>(row, uniform(a, n) * total, parts).place;
  // Rounding of `total` can leave the number past the end: the last that has a weight counts.
  if (linear_thread() == 0) store(next + n, load(a.ids + n * a.V + (place < drawable ? place : drawable - 1)));
}

}  // namespace

void sample_cuda(std::int32_t* next, const float* logits, std::int64_t N, std::int64_t V, const RowKeys& keys,
                 const SamplingOptions& o, const Launch& at, std::int64_t most_sorted) {
  constexpr const char* kOp = "sample";
  const bool greedy = o.temperature == 0;
  const ScratchArray<std::int32_t> best(at, greedy ? 0 : static_cast<std::size_t>(N));
  launch(largest_kernel, grid_of(kOp, N), Index3{kThreads}, kWarps * sizeof(Candidate), at.stream, greedy ? next : best.get(),
         logits, V);
  if (greedy) return;
  constexpr std::int64_t kMostRows = 65535;  // of a grid's second dimension
  const std::int64_t R = std::min(N, std::clamp<std::int64_t>(most_sorted / V, 1, kMostRows));
  const auto count = static_cast<std::size_t>(R * V);
  const ScratchArray<std::uint64_t> unsorted(at, count), sorted(at, count);
  const ScratchArray<std::int32_t> unsorted_ids(at, count), ids(at, count);
  for (std::int64_t n = 0; n < N; n += R) {
    const std::int64_t rows = std::min(R, N - n);
    launch(keys_kernel, Index3{static_cast<unsigned>((V + kThreads - 1) / kThreads), static_cast<unsigned>(rows)},
           Index3{kThreads}, 0, at.stream, unsorted.get(), unsorted_ids.get(), logits + n * V, V);
    sort_pairs(sorted.get(), ids.get(), unsorted.get(), unsorted_ids.get(), rows * V,
               32 + static_cast<int>(std::bit_width(static_cast<std::uint64_t>(rows - 1))), at);
    const DrawView a{.keys = sorted.get(),
                     .ids = ids.get(),
                     .best = best.get() + n,
                     .sample = keys.sample + n,
                     .position = keys.position + n,
                     .step = at.step,
                     .V = V,
                     .kept = o.top_k > 0 ? std::min(o.top_k, V) : V,
                     .purpose = o.purpose,
                     .temperature = o.temperature,
                     .top_p = o.top_p};
    launch(draw_kernel, grid_of(kOp, rows), Index3{kThreads}, 2 * kWarps * sizeof(double) + sizeof(FindParts), at.stream,
           next + n, a);
  }
}

}  // namespace tradewind::kernels::detail
