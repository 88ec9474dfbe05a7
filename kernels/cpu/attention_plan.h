// What the CPU attention kernels know about their sequences, and how the work is split over threads. No SIMD here.
//
// An item is a (sequence, key head) pair; it consists of tiles: query tiles forward, key tiles backward. Threads get
// contiguous runs of tiles of about equal cost; where the runs lie is a function of the shapes and the number of threads alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/attention.h"
#include "kernels/base/parallel.h"

namespace tradewind::kernels::detail {

/// Queries and keys of a tile. 64 keys are one superblock of the dropout mask's layout.
inline constexpr std::int64_t kTile = 64;

inline std::int64_t tiles_of(std::int64_t rows) { return (rows + kTile - 1) / kTile; }

struct Range {
  std::int64_t begin, end;
};

/// One sequence: its rows and who sees whom.
struct Sequence {
  std::int64_t q_begin, k_begin;  // rows of q and k
  std::int64_t tq, tk;            // queries; keys that count
  std::int64_t k_rows;            // rows of k, at least tk
  std::int64_t window;            // 0: none
  bool causal;

  /// Keys that query i sees; begin >= end for none.
  Range keys_of(std::int64_t i) const {
    const std::int64_t at = i + tk - tq;
    return {window > 0 ? std::clamp<std::int64_t>(at - window + 1, 0, tk) : 0,
            causal ? std::clamp<std::int64_t>(at + 1, 0, tk) : tk};
  }
  /// Queries that see any of the keys [begin, end), were all between first and last to see some.
  Range queries_of(std::int64_t begin, std::int64_t end) const {
    return {causal ? std::clamp<std::int64_t>(begin - (tk - tq), 0, tq) : 0,
            window > 0 ? std::clamp<std::int64_t>(end - 1 - (tk - tq) + window, 0, tq) : tq};
  }
  /// Keys that any of the queries [begin, end) sees. Both ends grow with the query.
  Range keys_of(std::int64_t begin, std::int64_t end) const { return {keys_of(begin).begin, keys_of(end - 1).end}; }
};

/// The problem as both kernels take it: shapes, options and the order of items.
struct AttentionProblem {
  AttentionShape shape;
  AttentionOptions options;
  std::int64_t group;     // query heads a key head
  std::int64_t padded_D;  // row length of packed arrays: the next multiple of 16 floats
  std::int64_t longest_q, longest_k;
  std::uint64_t seed = 0;      // where dropout is on
  bool heads_outside = false;  // item = head * B + sequence, else sequence * H_kv + head

  AttentionProblem(const AttentionShape& s, const AttentionOptions& o, const Launch& launch)
      : shape(s), options(o), group(s.H / s.H_kv), padded_D((s.D + 15) / 16 * 16), longest_q(0), longest_k(0) {
    for (std::int64_t b = 0; b < s.B; ++b) {
      longest_q = std::max(longest_q, sequence(b).tq);
      longest_k = std::max(longest_k, sequence(b).tk);
    }
    if (o.dropout.p > 0) seed = launch.step->seed;
  }

  std::int64_t items() const { return shape.B * shape.H_kv; }
  std::int64_t sequence_of(std::int64_t item) const { return heads_outside ? item % shape.B : item / shape.H_kv; }
  std::int64_t head_of(std::int64_t item) const { return heads_outside ? item / shape.B : item % shape.H_kv; }

  Sequence sequence(std::int64_t b) const {
    const std::int64_t k_rows = shape.k_offsets[b + 1] - shape.k_offsets[b];
    return {shape.q_offsets[b],
            shape.k_offsets[b],
            shape.q_offsets[b + 1] - shape.q_offsets[b],
            shape.k_lengths != nullptr ? shape.k_lengths[b] : k_rows,
            k_rows,
            options.window,
            options.causal};
  }
  PhiloxKey dropout_key(std::int64_t h) const {
    return philox_key(seed, options.dropout.purpose + ((static_cast<std::uint64_t>(h) + 1) << 32));
  }
};

/// A place between two tiles of the sequence of all tiles.
struct Cursor {
  std::int64_t item, tile;
};

/// Splits items [0, items) into `parts` runs: parts + 1 cursors. Only multiples of `block` items may end a run, and items are
/// cut only where `may_cut` and whole blocks would leave a part 5 % above its share. tiles(item) and cost(item, tile) >= 0.
template <class Tiles, class Cost>
std::vector<Cursor> split_tiles(std::int64_t items, std::int64_t block, bool may_cut, int parts, Tiles&& tiles, Cost&& cost) {
  std::vector<double> prefix(static_cast<std::size_t>(items) + 1, 0.0);
  for (std::int64_t item = 0; item < items; ++item) {
    double sum = 0;
    for (std::int64_t t = 0, n = tiles(item); t < n; ++t) sum += cost(item, t);
    prefix[static_cast<std::size_t>(item) + 1] = prefix[static_cast<std::size_t>(item)] + sum;
  }
  const double share = prefix.back() / parts;
  std::vector<Cursor> cursors{{0, 0}};
  bool balanced = true;
  for (int part = 1; part < parts; ++part) {
    std::int64_t item = cursors.back().item;
    const auto at = [&](std::int64_t i) { return prefix[static_cast<std::size_t>(std::min(i, items))]; };
    while (item < items && (at(item) + at(item + block)) / 2 < share * part) item += block;
    cursors.push_back({std::min(item, items), 0});
    balanced = balanced && at(item) - share * part < 0.05 * share && share * part - at(item) < 0.05 * share;
  }
  cursors.push_back({items, 0});
  if (items == 0 || balanced || !may_cut || block != 1) return cursors;
  for (int part = 1; part < parts; ++part) {  // the same places, now within items
    const double target = share * part;
    std::int64_t item = 0;
    while (item + 1 < items && prefix[static_cast<std::size_t>(item) + 1] <= target) ++item;
    double sum = prefix[static_cast<std::size_t>(item)];
    std::int64_t tile = 0;
    const std::int64_t n = tiles(item);
    for (; tile < n; ++tile) {
      const double next = sum + cost(item, tile);
      if ((sum + next) / 2 >= target) break;
      sum = next;
    }
    cursors[static_cast<std::size_t>(part)] = tile == n ? Cursor{item + 1, 0} : Cursor{item, tile};
  }
  return cursors;
}

/// How many runs to split into. Many items: several runs a thread, which the threads take as they get to them, so that a slow
/// one takes fewer. Few items: one run a thread, cut within items where that is needed. A function of shapes and threads alone.
inline int pieces_of(std::int64_t items, int threads) {
  constexpr int kRuns = 8;
  threads = std::max(1, threads);
  return threads > 1 && items >= std::int64_t{2} * kRuns * threads ? kRuns * threads : threads;
}

/// Calls body(part, thread) for every part, shared out through a WorkQueue.
template <class Body>
void parallel_parts(int parts, int threads, Body&& body) {
  WorkQueue queue(parts, 1, 1, std::max(1, threads));
  parallel_team(std::min(parts, threads), [&](int thread, int, auto) {
    for (Share share = queue.take(); share.begin < share.end; share = queue.take()) body(static_cast<int>(share.begin), thread);
  });
}

/// The launchers of the CPU arm.
void attention_forward_cpu(float* out, float* lse, const float* q, const float* k, const float* v, const AttentionShape& shape,
                           const AttentionOptions& options, const Launch& launch);
void attention_backward_cpu(float* dq, float* dk, float* dv, float* dbias, const float* dout, const float* out,
                            const float* lse, const float* q, const float* k, const float* v, const AttentionShape& shape,
                            const AttentionOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::detail
