// Embedding bags on NVIDIA GPUs of compute capability 8.0 and later. Mathematics and shapes: kernels/embedding_bag.h. T tables,
// B samples, C channels, N ids in all bags, V rows in all tables, S rows that were looked up; a row is R = C sizeof(T) bytes.
//
// Memory bounds all of it. Bytes, without what the second-level cache saves for rows that are looked up often:
//   forward   N (R + 4) + B T R                   rows, ids; output
//   backward  N (R + 8) + S 4 C + 150 N           dout, which term and bag; values; keys, four passes of the sort, scans
//   update    N (R + 8) + 2 S (R + 4) + 150 N     values are never written; rows and moments are read and written
// 10 tables x 1.68 M rows x 128 float32 and 1,048,570 lookups: forward reads 0.54 GB, 0.16 ms at the H100's 3.35 TB/s and 0.11
// at the H200's 4.8 TB/s, and with one id a bag writes as much again; the fused update, S about half of N, moves 1.24 GB, 0.37
// and 0.26 ms. Those are bounds, not measurements: none of this has run on a GPU yet.
//
// A row in flight costs nothing but registers, a random row that is waited for about 600 ns: so a group of lanes
// (device/bag_row.cuh) as wide as a row has 16-byte vectors takes a bag, asks for eight vectors a lane before it adds the
// first, and for the ids of the eight after them. A group of 32 lanes has 128 float32 channels; narrower rows leave room for
// more bags in a warp, wider ones give each lane two, four or eight vectors, in the same 32 registers. Rows up to 128 channels
// take 62 registers forward: 32 warps an SM, 128 KiB under way; the sums of backward 96: 16 warps, 64 KiB; 25 KiB are what 4.8
// TB/s need. All tables are one launch, since a bag's number says its table.
//
// Backward gathers, it never scatters: terms (ids) are radix-sorted by row (CUB, stable, only as many bits as V has), runs of
// equal rows are found with two scans, each cut into chunks of kBagChunk, and a group sums a chunk in ascending order, with the
// loop of the forward. A chunk that is its row's only one is applied to the row at once. Others go to slots
// (base/bag_chunks.h), which a last launch adds up; so no row, however hot, is more than N / kBagChunk rows of work for one
// group. Every sum has one writer and one order. The host waits for nothing: how many rows there are stays on the device, and
// launches are sized for the most there can be.
//
// A bad id gets the key V, which sorts behind all rows and belongs to none.
#include "kernels/cuda/embedding_bag.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <type_traits>

#include "kernels/base/dispatch.h"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/embedding_bag_gradient.cuh"
#include "kernels/cuda/embedding_bag_lookup.cuh"

namespace tradewind::kernels::detail {
namespace {

/// As many blocks of kThreads as `items` groups of `lanes` need.
Index3 group_grid(const char* op, std::int64_t items, int lanes) {
  const std::int64_t groups = kThreads / lanes;
  return grid_of(op, (items + groups - 1) / groups);
}

/// Calls f(RowShape{}) with the shape for rows of C channels.
template <class F>
void with_row(const char* op, DType dtype, std::int64_t C, bool is_aligned, const F& f) {
  const auto with_type = [&](auto element) {
    using T = decltype(element);
    constexpr int kMost = sizeof(T) == 4 ? 8 : 4;  // vectors a lane for 1024 channels
    const std::int64_t vectors = (C * static_cast<std::int64_t>(sizeof(T)) + 15) / 16;
    if (C > 1024)
      throw DeviceError(std::string(op) + ": rows of " + std::to_string(C) +
                        " channels; the CUDA kernels have up to 1024: narrow the table, or set device = \"cpu\"");
    if (!is_aligned) return f(RowShape<T, 32, kMost, false>{});
    if (vectors <= 4) return f(RowShape<T, 4, 1, true>{});
    if (vectors <= 8) return f(RowShape<T, 8, 1, true>{});
    if (vectors <= 16) return f(RowShape<T, 16, 1, true>{});
    if (vectors <= 32) return f(RowShape<T, 32, 1, true>{});
    if (vectors <= 64) return f(RowShape<T, 32, 2, true>{});
    if (vectors <= 128) return f(RowShape<T, 32, 4, true>{});
    f(RowShape<T, 32, kMost, true>{});
  };
  with_element(op, dtype, with_type);
}

BagView view_of(const BagShape& s, const BagOptions& o) {
  const auto narrow = [](std::int64_t x) { return static_cast<std::int32_t>(x); };
  return {.row_offsets = s.row_offsets,
          .bag_offsets = s.bag_offsets,
          .ids = s.ids,
          .weights = o.weights,
          .stride = s.stride,
          .T = narrow(s.T),
          .B = narrow(s.B),
          .C = narrow(s.C),
          .V = narrow(s.V),
          .N = narrow(s.N),
          .mean = o.mode == BagMode::kMean ? 1 : 0};
}

/// Sorts the terms, finds rows and chunks. Its arrays live as long as it does.
class Sorting {
 public:
  Sorting(const char* op, std::int32_t* rows, const BagShape& s, const BagOptions& o, const Launch& at)
      : keys_(at, size(s.N)),
        terms_(at, size(s.N)),
        bags_(at, o.mode == BagMode::kMax || o.weights != nullptr ? size(s.N) : 0),
        sorted_keys_(at, size(s.N)),
        sorted_terms_(at, size(s.N)),
        flags_(at, size(s.N)),
        row_of_(at, size(s.N)),
        chunk_of_(at, size(s.N)),
        starts_(at, size(s.N) + 1),
        chunks_(at, size(s.N) + 1),
        counts_(at, 2),
        own_rows_(at, rows == nullptr ? size(s.N) : 0) {
    const BagView v = view_of(s, o);
    launch(bag_keys_kernel, group_grid(op, s.T * s.B, 8), Index3{kThreads}, 0, at.stream, keys_.get(), terms_.get(),
           bags_.get(), v);
    sort_pairs(sorted_keys_.get(), sorted_terms_.get(), keys_.get(), terms_.get(), s.N,
               static_cast<int>(std::bit_width(static_cast<std::uint64_t>(s.V))), at);
    terms.keys = sorted_keys_.get(), terms.terms = sorted_terms_.get(), terms.bags = bags_.get();
    terms.flags = flags_.get(), terms.row_of = row_of_.get(), terms.chunk_of = chunk_of_.get();
    terms.starts = starts_.get(), terms.chunks = chunks_.get(), terms.counts = counts_.get();
    terms.rows = rows == nullptr ? own_rows_.get() : rows;
    terms.N = v.N, terms.V = static_cast<std::uint32_t>(v.V);
    const Index3 grid = group_grid(op, s.N, 1), threads{kThreads};
    launch(bag_row_flags_kernel, grid, threads, 0, at.stream, terms);
    inclusive_sum(row_of_.get(), flags_.get(), s.N, at);
    launch(bag_rows_kernel, grid, threads, 0, at.stream, terms);
    launch(bag_chunk_flags_kernel, grid, threads, 0, at.stream, terms);
    inclusive_sum(chunk_of_.get(), flags_.get(), s.N, at);
    launch(bag_chunks_kernel, grid, threads, 0, at.stream, terms);
  }

  SortedTerms terms{};

 private:
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
  ScratchArray<std::uint32_t> keys_, terms_, bags_, sorted_keys_, sorted_terms_, flags_, row_of_, chunk_of_, starts_, chunks_,
      counts_;
  ScratchArray<std::int32_t> own_rows_;
};

/// Sums every row's terms into the sink.
void sum_rows(const char* op, const RowSink& sink, const void* dout, const std::int32_t* argmax, const SortedTerms& terms,
              const BagShape& s, const BagOptions& o, const Launch& at) {
  const BagView v = view_of(s, o);
  // A multiple of 16 bytes where rows are.
  const ScratchArray<float> partial(at, static_cast<std::size_t>(partial_slots(s.N) * s.C));
  const std::int64_t most_chunks = std::min(s.N, std::min(s.N, s.V) + s.N / kBagChunk);
  const bool is_aligned = vectors_fit({dout, argmax, sink.values, sink.table}, {s.C, s.stride}, o.dtype);
  with_row(op, o.dtype, s.C, is_aligned, [&](auto shape) {
    using S = decltype(shape);
    using T = typename S::T;
    const auto sum = [&](auto kernel) {
      launch(kernel, group_grid(op, most_chunks, S::kLanes), Index3{kThreads}, 0, at.stream, sink, partial.get(),
             static_cast<const T*>(dout), argmax, terms, v);
    };
    if (o.mode == BagMode::kMax)
      sum(bag_sum_kernel<S, true>);
    else
      sum(bag_sum_kernel<S, false>);
    if (s.N > kBagChunk)
      launch(bag_add_chunks_kernel<S>, group_grid(op, (s.N + kBagChunk - 1) / kBagChunk, S::kLanes), Index3{kThreads}, 0,
             at.stream, sink, partial.get(), terms, v.C);
  });
}

void write_weight_gradients(const char* op, float* dweights, const void* dout, const void* table, const BagShape& s,
                            const BagOptions& o, Write write, const Launch& at) {
  with_row(op, o.dtype, s.C, vectors_fit({dout, table}, {s.C, s.stride}, o.dtype), [&](auto shape) {
    using S = decltype(shape);
    using T = typename S::T;
    launch(bag_weight_gradient_kernel<S>, group_grid(op, s.T * s.B, S::kLanes), Index3{kThreads}, 0, at.stream, dweights,
           static_cast<const T*>(dout), static_cast<const T*>(table), view_of(s, o), write == Write::kAccumulate ? 1 : 0);
  });
}

RowSink sink_of(void* table, float* moment, const RowUpdateOptions& update, const Launch& at) {
  return {.values = nullptr,
          .table = table,
          .moment = moment,
          .step = at.step,
          .epsilon = update.epsilon,
          .rate = update.rate,
          .adagrad = update.kind == RowUpdateKind::kRowwiseAdagrad ? 1 : 0};
}

}  // namespace

void embedding_bag_forward_cuda(void* out, std::int32_t* argmax, const void* table, const BagShape& s, const BagOptions& o,
                                const Launch& at) {
  constexpr const char* kOp = "embedding_bag_forward";
  if (s.T * s.B == 0) return;
  with_row(kOp, o.dtype, s.C, vectors_fit({out, argmax, table}, {s.C, s.stride}, o.dtype), [&](auto shape) {
    using S = decltype(shape);
    using T = typename S::T;
    const auto run = [&](auto kernel) {
      launch(kernel, group_grid(kOp, s.T * s.B, S::kLanes), Index3{kThreads}, 0, at.stream, static_cast<T*>(out), argmax,
             static_cast<const T*>(table), view_of(s, o));
    };
    if (o.mode == BagMode::kMax)
      run(bag_forward_kernel<S, true>);
    else
      run(bag_forward_kernel<S, false>);
  });
}

void embedding_bag_backward_cuda(const BagGradient& gradient, float* dweights, const void* dout, const void* table,
                                 const std::int32_t* argmax, const BagShape& s, const BagOptions& o, Write write_dweights,
                                 const Launch& at) {
  constexpr const char* kOp = "embedding_bag_backward";
  if (s.N == 0) return fill_bytes(gradient.begins, 0, static_cast<std::size_t>(s.T + 1) * sizeof(std::int64_t), at.stream);
  if (dweights != nullptr) write_weight_gradients(kOp, dweights, dout, table, s, o, write_dweights, at);
  const Sorting sorting(kOp, gradient.rows, s, o, at);
  launch(bag_begins_kernel, group_grid(kOp, s.T + 1, 1), Index3{kThreads}, 0, at.stream, gradient.begins, sorting.terms,
         s.row_offsets, static_cast<int>(s.T));
  const RowSink sink{
      .values = gradient.values, .table = nullptr, .moment = nullptr, .step = nullptr, .epsilon = 0, .rate = 0, .adagrad = 0};
  sum_rows(kOp, sink, dout, argmax, sorting.terms, s, o, at);
}

void embedding_bag_update_cuda(void* table, float* moment, float* dweights, const void* dout, const std::int32_t* argmax,
                               const BagShape& s, const BagOptions& o, Write write_dweights, const RowUpdateOptions& update,
                               const Launch& at) {
  constexpr const char* kOp = "embedding_bag_update";
  if (s.N == 0) return;
  if (dweights != nullptr) write_weight_gradients(kOp, dweights, dout, table, s, o, write_dweights, at);
  const Sorting sorting(kOp, nullptr, s, o, at);
  sum_rows(kOp, sink_of(table, moment, update, at), dout, argmax, sorting.terms, s, o, at);
}

void row_update_cuda(void* table, float* moment, const std::int32_t* rows, const float* values, const std::int64_t* count,
                     std::int64_t capacity, std::int64_t V, std::int64_t C, DType dtype, const RowUpdateOptions& update,
                     const Launch& at) {
  constexpr const char* kOp = "row_update";
  if (capacity == 0) return;
  with_row(kOp, dtype, C, vectors_fit({table, values}, {C}, dtype), [&](auto shape) {
    using S = decltype(shape);
    launch(row_update_kernel<S>, group_grid(kOp, std::min(capacity, V), S::kLanes), Index3{kThreads}, 0, at.stream,
           sink_of(table, moment, update, at), rows, values, count, V, static_cast<int>(C));
  });
}

}  // namespace tradewind::kernels::detail
