// Kernels that sum and apply the gradients of rows, from sorted terms (sorted_terms.cuh): embedding_bag.cu's, and
// embedding.cu's, for which an id is a bag of its own.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/base/bag_chunks.h"
#include "kernels/base/launch.h"
#include "kernels/cuda/embedding_bag_lookup.cuh"

namespace tradewind::kernels::detail {
namespace {

/// Where a row's gradient goes: to values, in the order of the rows or (dense) where the row itself is, `stride` floats from
/// one to the next, added to what is there or not; or, values null, at once into the table.
struct RowSink {
  float* values;
  std::int64_t stride;
  std::int32_t dense, add;
  float scale = 1.0F;  // of values
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
  if (sink.values == nullptr) return update_row<S>(sink, load(s.rows + row), sum, C);
  float* to = sink.values + (sink.dense != 0 ? load(s.rows + row) : static_cast<std::int64_t>(row)) * sink.stride;
#pragma unroll
  for (float& x : sum) x *= sink.scale;
  if (sink.add != 0) {
#pragma unroll
    for (int i = 0; i < S::kChannels; i += 4) {  // four at a time, for want of registers
      const Vector16 before = load_vector<S::kAligned>(to, channel_of<S>(i / S::kPer) + i % S::kPer, C);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[i + j] += from_bits(before.w[j]);
    }
  }
  store_floats<S>(to, C, sum);
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
