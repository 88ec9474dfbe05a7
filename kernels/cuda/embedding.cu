// Embedding lookup and its gradient on NVIDIA GPUs. Mathematics and shapes: kernels/embedding.h. N ids, V rows of C channels, S
// distinct rows among the ids; a row is R = C sizeof(T) bytes.
//
// Memory bounds all of it. Bytes, without what the second-level cache saves for rows that are looked up often:
//   forward          N (2 R + 4), accumulating N (3 R + 4)
//   backward sparse  N (R + 4) + S (4 C + 4) + 150 N        dy, ids; values, rows; keys, four passes of the sort, scans
//   backward dense   the same, and V 4 C where it assigns; accumulating reads the S rows of dtable once more
// 16,384 tokens of GPT-2 in bfloat16 (C 768, V 50257): forward 50 MB, 15 us at the H100's 3.35 TB/s and 10 at the H200's 4.8
// TB/s; backward 25 MB and the zeros of dtable, 154 MB, unless it accumulates onto the gradient of a tied output layer, as
// GPT's does. Bounds, not measurements: none of this has run on a GPU yet.
//
// Forward: a row is taken by as many neighbouring threads as it has vectors of 16 bytes, up to 256, and each of them takes four
// rows at a time: four random rows in flight a thread, 64 bytes; 54 registers, so 4 blocks of 256 threads have 64 KiB under way
// on an SM, where 25 KiB cover 600 ns at 4.8 TB/s. Any C: threads go on along the row.
//
// Backward is that of embedding bags of one id each (embedding_bag.cu says why it sorts and gathers): the same sort, rows,
// chunks and sums (sorted_terms.cuh, embedding_bag_gradient.cuh), for at most 1024 channels at a time, the sort only once.
// Deterministic: one writer a row, its terms in ascending n by chunks of kBagChunk, then the chunks in order. The dense form is
// told where a row's sum goes by the row itself. The sparse form returns the number of rows, so it waits for the device.
//
// A bad id's row of y is NaN, which the loss shows; it has no gradient.
#include "kernels/cuda/embedding.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/bag_chunks.h"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/embedding_bag_gradient.cuh"

namespace tradewind::kernels::detail {
namespace {

/// Rows that a thread has in flight.
template <bool kAligned>
constexpr int kRowsAtOnce = kAligned ? 4 : 1;

/// y[n] = (or +=) scale table[ids[n]]. 2^shift threads a row.
template <class T, bool kAligned>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void embedding_forward_kernel(T* y, const T* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, int C, int shift,
                              float scale, int add) {
  constexpr int kRows = kRowsAtOnce<kAligned>;
  const int lanes = 1 << shift, rows = kThreads >> shift;
  const std::int64_t first = std::int64_t{block_index().x} * kRows * rows + (linear_thread() >> shift);
  std::int64_t id[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    id[r] = first + r * rows < N ? load(ids + first + r * rows) : 0;
    if (id[r] >= V) id[r] = -1;
  }
  for (int c = (linear_thread() & (lanes - 1)) * kPerVector<T>; c < C; c += lanes * kPerVector<T>) {
    Vector16 x[kRows] = {};
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t n = first + r * rows;
      if (n < N && id[r] >= 0) x[r] = load_vector<kAligned>(table + id[r] * C, c, C);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t n = first + r * rows;
      if (n >= N) continue;
      const Vector16 before = add != 0 ? load_vector<kAligned>(y + n * C, c, C) : Vector16{};
      float out[kPerVector<T>];
#pragma unroll
      for (int j = 0; j < kPerVector<T>; ++j) {
        out[j] = id[r] < 0 ? NAN : scale * channel<T>(x[r], j);
        if (add != 0) out[j] += channel<T>(before, j);
      }
      store_vector<kAligned>(y + n * C, c, C, out);
    }
  }
}

/// What the sort takes: the row of id n, V for none; n.
TRADEWIND_KERNEL void id_keys_kernel(std::uint32_t* keys, std::uint32_t* terms, const std::int32_t* ids, std::int32_t N,
                                     std::uint32_t V) {
  const std::int32_t n = term_of_thread();
  if (n >= N) return;
  const auto id = static_cast<std::uint32_t>(load(ids + n));
  store(keys + n, id < V ? id : V);
  store(terms + n, static_cast<std::uint32_t>(n));
}

/// Sums the rows' terms into sink.values.
void sum_rows(const char* op, RowSink sink, const void* dy, const SortedTerms& terms, std::int64_t N, std::int64_t V,
              std::int64_t C, DType dtype, const Launch& at) {
  constexpr std::int64_t kMost = 1024;  // channels at a time
  const ScratchArray<float> partial(at, static_cast<std::size_t>(partial_slots(N) * std::min(C, kMost)));
  const std::int64_t most_chunks = std::min(N, std::min(N, V) + N / kBagChunk);
  const bool aligned = vectors_fit({dy, sink.values}, {C}, dtype);
  float* const values = sink.values;
  for (std::int64_t c = 0; c < C; c += kMost) {
    BagView v{};
    v.stride = C;
    v.T = 1, v.B = static_cast<std::int32_t>(N), v.N = v.B, v.V = static_cast<std::int32_t>(V);
    v.C = static_cast<std::int32_t>(std::min(C - c, kMost));
    sink.values = values + c;
    with_row(op, dtype, v.C, aligned, [&](auto shape) {
      using S = decltype(shape);
      using T = typename S::T;
      launch(bag_sum_kernel<S, false>, group_grid(op, most_chunks, S::kLanes), Index3{kThreads}, 0, at.stream, sink,
             partial.get(), static_cast<const T*>(dy) + c, nullptr, terms, v);
      if (N > kBagChunk)
        launch(bag_add_chunks_kernel<S>, group_grid(op, (N + kBagChunk - 1) / kBagChunk, S::kLanes), Index3{kThreads}, 0,
               at.stream, sink, partial.get(), terms, v.C);
    });
  }
}

SortedRows sorted_rows(const char* op, std::int32_t* rows, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                       const Launch& at) {
  return {op, rows, N, V, at, [&](std::uint32_t* keys, std::uint32_t* terms) {
            launch(id_keys_kernel, group_grid(op, N, 1), Index3{kThreads}, 0, at.stream, keys, terms, ids,
                   static_cast<std::int32_t>(N), static_cast<std::uint32_t>(V));
          }};
}

}  // namespace

void embedding_forward_cuda(void* y, const void* table, const std::int32_t* ids, std::int64_t N, std::int64_t V, std::int64_t C,
                            Write write, const EmbeddingOptions& options, const Launch& at) {
  constexpr const char* kOp = "embedding_forward";
  with_element(kOp, options.dtype, [&](auto element) {
    using T = decltype(element);
    const std::int64_t vectors = (C + kPerVector<T> - 1) / kPerVector<T>;
    int shift = 0;
    while ((1 << shift) < std::min<std::int64_t>(vectors, kThreads)) ++shift;
    const auto run = [&](auto kernel, std::int64_t at_once) {
      const std::int64_t rows = at_once * (kThreads >> shift);
      launch(kernel, grid_of(kOp, (N + rows - 1) / rows), Index3{kThreads}, 0, at.stream, static_cast<T*>(y),
             static_cast<const T*>(table), ids, N, V, static_cast<int>(C), shift, options.scale,
             write == Write::kAccumulate ? 1 : 0);
    };
    if (vectors_fit({y, table}, {C}, options.dtype))
      run(embedding_forward_kernel<T, true>, kRowsAtOnce<true>);
    else
      run(embedding_forward_kernel<T, false>, kRowsAtOnce<false>);
  });
}

void embedding_backward_dense_cuda(float* dtable, const void* dy, const std::int32_t* ids, std::int64_t N, std::int64_t V,
                                   std::int64_t C, Write write, const EmbeddingOptions& options, const Launch& at) {
  constexpr const char* kOp = "embedding_backward_dense";
  if (write == Write::kAssign) fill_bytes(dtable, 0, static_cast<std::size_t>(V * C) * sizeof(float), at.stream);
  if (N == 0) return;
  const SortedRows sorted = sorted_rows(kOp, nullptr, ids, N, V, at);
  RowSink sink{};
  sink.values = dtable, sink.stride = C, sink.dense = 1, sink.add = write == Write::kAccumulate ? 1 : 0;
  sink.scale = options.scale;
  sum_rows(kOp, sink, dy, sorted.terms, N, V, C, options.dtype, at);
}

std::int64_t embedding_backward_sparse_cuda(std::int32_t* rows, float* values, const void* dy, const std::int32_t* ids,
                                            std::int64_t N, std::int64_t V, std::int64_t C, const EmbeddingOptions& options,
                                            const Launch& at) {
  constexpr const char* kOp = "embedding_backward_sparse";
  const SortedRows sorted = sorted_rows(kOp, rows, ids, N, V, at);
  RowSink sink{};
  sink.values = values, sink.stride = C, sink.scale = options.scale;
  sum_rows(kOp, sink, dy, sorted.terms, N, V, C, options.dtype, at);
  std::uint32_t count = 0;
  copy_to_host(&count, sorted.terms.counts, sizeof count, at.stream);
  stream_synchronize(at.stream);
  return count;
}

}  // namespace tradewind::kernels::detail
