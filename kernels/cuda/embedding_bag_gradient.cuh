// Kernels of embedding_bag.cu that sum and apply the gradients of rows: keys for the sort, rows and chunks among the sorted
// terms, sums, updates.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/base/bag_chunks.h"
#include "kernels/base/launch.h"
#include "kernels/cuda/embedding_bag_lookup.cuh"

namespace tradewind::kernels::detail {
namespace {

/// What the sort takes: keys[n], the row of id n in the stacked array, V for none; terms[n], n, or the bag itself where that is
/// all that a term's gradient depends on (bags null); bags[n].
TRADEWIND_KERNEL void bag_keys_kernel(std::uint32_t* keys, std::uint32_t* terms, std::uint32_t* bags, BagView v) {
  constexpr int kLanes = 8;  // of a bag
  const std::int64_t thread = static_cast<std::int64_t>(block_index().x) * kThreads + linear_thread(), index = thread / kLanes;
  if (index >= static_cast<std::int64_t>(v.T) * v.B) return;
  const Bag bag = bag_of(v, static_cast<std::int32_t>(index));
  for (std::int64_t n = bag.begin + thread % kLanes; n < bag.end; n += kLanes) {
    const std::int32_t id = id_of(v, bag, n);
    store(keys + n, static_cast<std::uint32_t>(id < 0 ? v.V : bag.first_row + id));
    store(terms + n, static_cast<std::uint32_t>(bags == nullptr ? index : n));
    if (bags != nullptr) store(bags + n, static_cast<std::uint32_t>(index));
  }
}

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
TRADEWIND_KERNEL void bag_row_flags_kernel(SortedTerms s) {
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

TRADEWIND_KERNEL void bag_rows_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e >= s.N) return;
  gather_begins(s, e, s.row_of, s.starts, s.counts);
  if (load(s.flags + e) != 0) store(s.rows + load(s.row_of + e) - 1, static_cast<std::int32_t>(load(s.keys + e)));
}

/// flags[e] = a chunk begins at e.
TRADEWIND_KERNEL void bag_chunk_flags_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e >= s.N) return;
  const bool valid = load(s.keys + e) < s.V;
  const std::uint32_t start = valid ? load(s.starts + load(s.row_of + e) - 1) : 0;
  store(s.flags + e, valid && (static_cast<std::uint32_t>(e) - start) % kBagChunk == 0 ? 1U : 0U);
}

TRADEWIND_KERNEL void bag_chunks_kernel(SortedTerms s) {
  const std::int32_t e = term_of_thread();
  if (e < s.N) gather_begins(s, e, s.chunk_of, s.chunks, s.counts + 1);
}

/// begins[t] = how many of the rows that were looked up are before table t's.
TRADEWIND_KERNEL void bag_begins_kernel(std::int64_t* begins, SortedTerms s, const std::int64_t* row_offsets, int T) {
  const int t = term_of_thread();
  if (t > T) return;
  const std::int64_t row = load(row_offsets + t);
  std::uint32_t low = 0, high = load(s.counts);
  while (low < high) {
    const std::uint32_t middle = (low + high) / 2;
    if (load(s.rows + middle) < row)
      low = middle + 1;
    else
      high = middle;
  }
  store(begins + t, static_cast<std::int64_t>(low));
}

/// Where a row's gradient goes: values [.., C] in the order of the rows, or, values null, at once into the table.
struct RowSink {
  float* values;
  void* table;
  float* moment;
  const StepState* step;
  float epsilon, rate;
  std::int32_t adagrad;
};

template <class S>
TRADEWIND_DEVICE void update_row(const RowSink& sink, std::int64_t row, float (&g)[S::kChannels], int C) {
  using T = typename S::T;
  const float scale = load(&sink.step->gradient_scale);
  float rate = load(&sink.step->learning_rate) * sink.rate;
#pragma unroll
  for (float& x : g) x *= scale;
  if (sink.adagrad != 0) {
    float square = 0;
#pragma unroll
    for (const float x : g) square += x * x;
    square = group_sum<S>(square);
    // One lane reads and writes the moment; the others hear of it.
    float moment = group_lane<S>() == 0 ? load(sink.moment + row) : 0.0F;
    moment = shuffle(moment, lane() - group_lane<S>(), group_mask<S>()) + square / static_cast<float>(C);
    if (group_lane<S>() == 0) store(sink.moment + row, moment);
    rate /= sqrtf(moment) + sink.epsilon;
  }
  T* to = static_cast<T*>(sink.table) + row * C;
#pragma unroll
  for (int i = 0; i < S::kBlocks; ++i) {
    const Vector16 v = load_vector<S::kAligned>(to, channel_of<S>(i), C);
    float x[S::kPer];
#pragma unroll
    for (int j = 0; j < S::kPer; ++j) x[j] = channel<T>(v, j) - rate * g[i * S::kPer + j];
    store_vector<S::kAligned>(to, channel_of<S>(i), C, x);
  }
}

template <class S>
TRADEWIND_DEVICE void finish_row(const RowSink& sink, const SortedTerms& s, std::uint32_t row, float (&sum)[S::kChannels],
                                 int C) {
  if (sink.values != nullptr)
    store_floats<S>(sink.values + static_cast<std::int64_t>(row) * C, C, sum);
  else
    update_row<S>(sink, load(s.rows + row), sum, C);
}

/// A term: the sample of its bag, the weight that it counts with, and for max its place in the bag.
struct Term {
  std::int32_t b, place;  // b -1: none
  float scale;
};

template <bool kMax>
TRADEWIND_DEVICE Term term_at(const SortedTerms& s, const BagView& v, std::int32_t t, std::uint32_t e, std::uint32_t end) {
  Term term{-1, 0, 1.0F};
  if (e >= end) return term;
  const std::uint32_t n = load(s.terms + e);
  const auto bag = static_cast<std::int32_t>(s.bags == nullptr ? n : load(s.bags + n));
  term.b = bag - t * v.B;
  if constexpr (kMax) {
    term.place = static_cast<std::int32_t>(n - load(v.bag_offsets + bag));
  } else {
    if (v.mean != 0) term.scale = 1.0F / static_cast<float>(load(v.bag_offsets + bag + 1) - load(v.bag_offsets + bag));
    if (v.weights != nullptr) term.scale *= load(v.weights + n);
  }
  return term;
}

/// sum += those channels of x whose largest is the term.
template <class S>
TRADEWIND_DEVICE void add_chosen(float (&sum)[S::kChannels], const Vector16 (&x)[S::kBlocks], const std::int32_t* argmax,
                                 std::int32_t place, int C) {
#pragma unroll
  for (int j = 0; j < S::kChannels; j += 4) {
    const Vector16 chosen = load_vector<S::kAligned>(argmax, channel_of<S>(j / S::kPer) + j % S::kPer, C);
#pragma unroll
    for (int k = j; k < j + 4; ++k)
      if (chosen.w[k - j] == static_cast<std::uint32_t>(place)) sum[k] += channel<typename S::T>(x[k / S::kPer], k % S::kPer);
  }
}

/// The sum of a chunk: finished where it is its row's only one, else into its slot of `partial`.
template <class S, bool kMax>
TRADEWIND_KERNEL_BOUNDS(kThreads, kMax&& S::kChannels >= 32 ? 1 : 2)
void bag_sum_kernel(RowSink sink, float* partial, const typename S::T* dout, const std::int32_t* argmax, SortedTerms s,
                    BagView v) {
  using T = typename S::T;
  const std::int64_t chunk = group_index<S>();
  if (chunk >= load(s.counts + 1)) return;
  const std::uint32_t begin = load(s.chunks + chunk), end = load(s.chunks + chunk + 1), row = load(s.row_of + begin) - 1;
  const std::uint32_t first = load(s.terms + begin);
  const auto t = static_cast<std::int32_t>(s.bags == nullptr ? first : load(s.bags + first)) / v.B;
  const T* of_table = dout + static_cast<std::int64_t>(t) * v.C;
  float sum[S::kChannels] = {};
  Term next[S::kFlight];
#pragma unroll
  for (int f = 0; f < S::kFlight; ++f) next[f] = term_at<kMax>(s, v, t, begin + f, end);
  for (std::uint32_t e = begin; e < end; e += S::kFlight) {
    Term term[S::kFlight];
    Vector16 x[S::kFlight][S::kBlocks];
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      term[f] = next[f];
#pragma unroll
      for (int i = 0; i < S::kBlocks; ++i)
        x[f][i] = term[f].b < 0 ? Vector16{} : load_vector<S::kAligned>(of_table + term[f].b * v.stride, channel_of<S>(i), v.C);
    }
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) next[f] = term_at<kMax>(s, v, t, e + S::kFlight + f, end);
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      if (term[f].b < 0) continue;
      if constexpr (kMax) {
        add_chosen<S>(sum, x[f], argmax + (static_cast<std::int64_t>(term[f].b) * v.T + t) * v.C, term[f].place, v.C);
      } else {
#pragma unroll
        for (int j = 0; j < S::kChannels; ++j) sum[j] += term[f].scale * channel<T>(x[f][j / S::kPer], j % S::kPer);
      }
    }
  }
  const std::uint32_t row_end = load(s.starts + row + 1);
  if (row_end - load(s.starts + row) <= kBagChunk)
    finish_row<S>(sink, s, row, sum, v.C);
  else
    store_floats<S>(partial + partial_slot(begin, end == row_end) * v.C, v.C, sum);
}

/// Adds up the chunks of each row of several: a group looks at one multiple of kBagChunk.
template <class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, 2)
void bag_add_chunks_kernel(RowSink sink, const float* partial, SortedTerms s, int C) {
  const std::int64_t e = group_index<S>() * kBagChunk;
  if (e >= s.N || load(s.keys + e) >= s.V) return;
  const std::uint32_t row = load(s.row_of + e) - 1;
  const std::int64_t begin = load(s.starts + row), end = load(s.starts + row + 1);
  if (!finds_row(e, begin, end)) return;
  float sum[S::kChannels] = {};
  for (std::int64_t i = begin; i < end; i += S::kFlight * kBagChunk) {
    float x[S::kFlight][S::kChannels];
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f) {
      const std::int64_t at = i + f * kBagChunk;
      if (at < end) load_floats<S>(x[f], partial + partial_slot(at, at + kBagChunk >= end) * C, C);
    }
#pragma unroll
    for (int f = 0; f < S::kFlight; ++f)
      if (i + f * kBagChunk < end) {
#pragma unroll
        for (int j = 0; j < S::kChannels; ++j) sum[j] += x[f][j];
      }
  }
  finish_row<S>(sink, s, row, sum, C);
}

template <class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, 2)
void row_update_kernel(RowSink sink, const std::int32_t* rows, const float* values, const std::int64_t* count, std::int64_t V,
                       int C) {
  const std::int64_t i = group_index<S>();
  if (i >= load(count)) return;
  const std::int32_t row = load(rows + i);
  if (row < 0 || row >= V) return;
  float g[S::kChannels];
  load_floats<S>(g, values + i * C, C);
  update_row<S>(sink, row, g, C);
}

}  // namespace
}  // namespace tradewind::kernels::detail
