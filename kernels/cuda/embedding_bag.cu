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
#include <cstdint>

#include "kernels/cuda/embedding_bag_gradient.cuh"
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

/// A batch's terms, sorted by row. Its arrays live as long as it does.
class BagTerms {
 public:
  BagTerms(const char* op, std::int32_t* rows, const BagShape& s, const BagOptions& o, const Launch& at)
      : bags_(at, o.mode == BagMode::kMax || o.weights != nullptr ? static_cast<std::size_t>(s.N) : 0),
        sorted_(op, rows, s.N, s.V, at, [&](std::uint32_t* keys, std::uint32_t* terms) {
          launch(bag_keys_kernel, group_grid(op, s.T * s.B, 8), Index3{kThreads}, 0, at.stream, keys, terms, bags_.get(),
                 view_of(s, o));
        }) {
    sorted_.terms.bags = bags_.get();
  }
  const SortedTerms& terms() const { return sorted_.terms; }

 private:
  ScratchArray<std::uint32_t> bags_;
  SortedRows sorted_;
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
  RowSink sink{};
  sink.table = table, sink.moment = moment, sink.step = at.step;
  sink.epsilon = update.epsilon, sink.rate = update.rate;
  sink.adagrad = update.kind == RowUpdateKind::kRowwiseAdagrad ? 1 : 0;
  return sink;
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
  const BagTerms sorting(kOp, gradient.rows, s, o, at);
  launch(bag_begins_kernel, group_grid(kOp, s.T + 1, 1), Index3{kThreads}, 0, at.stream, gradient.begins, sorting.terms(),
         s.row_offsets, static_cast<int>(s.T));
  RowSink sink{};
  sink.values = gradient.values, sink.stride = s.C;
  sum_rows(kOp, sink, dout, argmax, sorting.terms(), s, o, at);
}

void embedding_bag_update_cuda(void* table, float* moment, float* dweights, const void* dout, const std::int32_t* argmax,
                               const BagShape& s, const BagOptions& o, Write write_dweights, const RowUpdateOptions& update,
                               const Launch& at) {
  constexpr const char* kOp = "embedding_bag_update";
  if (s.N == 0) return;
  if (dweights != nullptr) write_weight_gradients(kOp, dweights, dout, table, s, o, write_dweights, at);
  const BagTerms sorting(kOp, nullptr, s, o, at);
  sum_rows(kOp, sink_of(table, moment, update, at), dout, argmax, sorting.terms(), s, o, at);
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
