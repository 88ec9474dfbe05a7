// Terms (gradients of looked-up rows) sorted by row, as the gradients of embedding.cu and embedding_bag.cu sum them: which rows
// there are, where each begins, and how it is cut into chunks.
//
// Sorted by CUB's radix sort, stable, only as many bits as V has; runs of equal rows and their chunks of kBagChunk are numbered
// by two scans. Nothing here waits for the device: how many rows and chunks there are stays there. A key of V or more belongs
// to no row.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/base/launch.h"
#include "kernels/cuda/device/bag_row.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/embedding_bag.h"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = kGroupThreads;

/// The sorted terms and their structure. Row s that was looked up has terms [starts[s], starts[s + 1]); chunk k has terms
/// [chunks[k], chunks[k + 1]); term e belongs to row row_of[e] - 1. counts: rows, chunks.
struct SortedTerms {
  const std::uint32_t *keys, *terms, *bags;
  std::uint32_t *flags, *row_of, *chunk_of, *starts, *chunks, *counts;
  std::int32_t* rows;
  std::int32_t N;
  std::uint32_t V;
};

TRADEWIND_DEVICE std::int32_t term_of_thread() {
  return static_cast<std::int32_t>(block_index().x * kThreads) + linear_thread();
}

/// flags[e] = a row begins at e.
TRADEWIND_KERNEL void row_flags_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e >= s.N) return;
  const std::uint32_t key = load(s.keys + e);
  store(s.flags + e, key < s.V && (e == 0 || load(s.keys + e - 1) != key) ? 1U : 0U);
}

/// begins[i] = e for the i-th flag, and the end behind the last; *count = how many. numbers: the flags' inclusive sum.
TRADEWIND_DEVICE void gather_begins(const SortedTerms& s, std::int32_t e, const std::uint32_t* numbers, std::uint32_t* begins,
                                    std::uint32_t* count) {
  const std::uint32_t key = load(s.keys + e);
  if (key >= s.V) {
    if (e == 0) store(count, 0U), store(begins, 0U);
    return;
  }
  const std::uint32_t number = load(numbers + e);
  if (load(s.flags + e) != 0) store(begins + number - 1, static_cast<std::uint32_t>(e));
  if (e + 1 < s.N && load(s.keys + e + 1) < s.V) return;
  store(begins + number, static_cast<std::uint32_t>(e + 1));
  store(count, number);
}

TRADEWIND_KERNEL void rows_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e >= s.N) return;
  gather_begins(s, e, s.row_of, s.starts, s.counts);
  if (load(s.flags + e) != 0) store(s.rows + load(s.row_of + e) - 1, static_cast<std::int32_t>(load(s.keys + e)));
}

/// flags[e] = a chunk begins at e.
TRADEWIND_KERNEL void chunk_flags_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e >= s.N) return;
  const bool valid = load(s.keys + e) < s.V;
  const std::uint32_t start = valid ? load(s.starts + load(s.row_of + e) - 1) : 0;
  store(s.flags + e, valid && (static_cast<std::uint32_t>(e) - start) % kBagChunk == 0 ? 1U : 0U);
}

TRADEWIND_KERNEL void chunks_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e < s.N) gather_begins(s, e, s.chunk_of, s.chunks, s.counts + 1);
}

/// Sorts N terms and finds rows and chunks among them. Its arrays live as long as it does.
class SortedRows {
 public:
  /// fill(keys, terms) launches what writes each term's row and what the sums need to know of it. rows [N]: where the rows go;
  /// null: to an array of its own.
  template <class Fill>
  SortedRows(const char* op, std::int32_t* rows, std::int64_t N, std::int64_t V, const Launch& at, const Fill& fill)
      : keys_(at, size(N)),
        terms_(at, size(N)),
        sorted_keys_(at, size(N)),
        sorted_terms_(at, size(N)),
        flags_(at, size(N)),
        row_of_(at, size(N)),
        chunk_of_(at, size(N)),
        starts_(at, size(N) + 1),
        chunks_(at, size(N) + 1),
        counts_(at, 2),
        own_rows_(at, rows == nullptr ? size(N) : 0) {
    fill(keys_.get(), terms_.get());
    sort_pairs(sorted_keys_.get(), sorted_terms_.get(), keys_.get(), terms_.get(), N,
               static_cast<int>(std::bit_width(static_cast<std::uint64_t>(V))), at);
    terms.keys = sorted_keys_.get(), terms.terms = sorted_terms_.get();
    terms.flags = flags_.get(), terms.row_of = row_of_.get(), terms.chunk_of = chunk_of_.get();
    terms.starts = starts_.get(), terms.chunks = chunks_.get(), terms.counts = counts_.get();
    terms.rows = rows == nullptr ? own_rows_.get() : rows;
    terms.N = static_cast<std::int32_t>(N), terms.V = static_cast<std::uint32_t>(V);
    const Index3 grid = group_grid(op, N, 1), threads{kThreads};
    launch(row_flags_kernel, grid, threads, 0, at.stream, terms);
    inclusive_sum(row_of_.get(), flags_.get(), N, at);
    launch(rows_kernel, grid, threads, 0, at.stream, terms);
    launch(chunk_flags_kernel, grid, threads, 0, at.stream, terms);
    inclusive_sum(chunk_of_.get(), flags_.get(), N, at);
    launch(chunks_kernel, grid, threads, 0, at.stream, terms);
  }

  SortedTerms terms{};  // bags: null

 private:
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
  ScratchArray<std::uint32_t> keys_, terms_, sorted_keys_, sorted_terms_, flags_, row_of_, chunk_of_, starts_, chunks_, counts_;
  ScratchArray<std::int32_t> own_rows_;
};

}  // namespace
}  // namespace tradewind::kernels::detail
