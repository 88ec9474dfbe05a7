// Losses over given candidates on NVIDIA GPUs. Mathematics and shapes: kernels/candidate_loss.h. N rows, V items, C channels, n
// negatives.
//
// Negatives of its own a row: a warp takes a row of x. It multiplies it with four candidates' rows at a time, 32 columns side
// by side, leaves the logits in an array [N, 1 + n], makes the loss and the gradients of the logits of them, and mixes the same
// rows of w, now in a cache, into dx. The table's gradient is that of an embedding bag whose weights are these gradients and
// whose dout is x (embedding_bag.cu: sorted, chunks in order, one writer a row); the dense form then writes its rows where they
// belong. Rows of at most 1024 channels.
//
// Shared negatives: their rows are gathered once; for chunks of R rows
//   Z = X Wn^T [R, n] (cuBLASLt), a warp a row makes gradients of it in place (bfloat16: beside it), dX = dZ Wn, dWn += dZ^T X,
// then the positives' part is added to dX. Terms of the table are the rows g_0 x of the positives and the rows of dWn, as
// float32: the gradient of an embedding lookup of N + n ids (embedding.cu).
//
// Own negatives are bound by the rows of w, N (1 + n) C elements, and once more from the cache: 13,720 rows with 256 negatives
// of 128 channels in float32 are 1.8 GB, of a table of 1.7 MB that stays in the second-level cache, so by that cache; from HBM
// it would be 0.54 ms at the H100's 3.35 TB/s and 0.38 at the H200's 4.8. Shared ones by products, 6 N n C FLOPs. Bounds, not
// measurements: none of this has run on a GPU yet.
//
// Sums of a row are float32 in a fixed tree, what there is once a row of the positive float64. A row with an id outside the
// table has loss NaN and dx NaN (shared: the gradient of all negatives too), as a kernel cannot throw. Deterministic.
#include "kernels/cuda/candidate_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/candidate_row.cuh"
#include "kernels/cuda/device/bag_row.cuh"
#include "kernels/cuda/device/column_sum.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/embedding_bag.h"

namespace tradewind::kernels::detail {
namespace {

constexpr int kAtOnce = 4;  // candidates whose rows a warp asks for at a time

TRADEWIND_DEVICE std::int64_t row_of_warp() {
  return (static_cast<std::int64_t>(block_index().x) * kThreads + linear_thread()) / kWarpSize;
}

/// Row n gives nothing to the table, and has `value` as loss and dx.
template <class T>
TRADEWIND_DEVICE void close_row(float* loss, T* dx, std::int32_t* ids, float* weights, const CandidateView& a, std::int64_t n,
                                float value) {
  if (lane() == 0) store(loss + n, value);
  if (dx != nullptr)
    for (std::int64_t c = lane(); c < a.C; c += kWarpSize) store_one(dx + n * a.C + c, value);
  if (ids == nullptr) return;
  for (std::int64_t j = lane(); j <= a.n; j += kWarpSize) {
    store(ids + j, -1);
    store(weights + j, 0.0F);
  }
}

/// Rows with negatives of their own, a warp each. weights, ids [N, 1 + n]: the logits, then what the table gets; ids null: no
/// gradient is wanted.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void own_negatives_kernel(float* loss, T* dx, std::int32_t* ids, float* weights, const T* x, const T* w, CandidateView a) {
  const std::int64_t n = row_of_warp();
  if (n >= a.N) return;
  const std::int32_t target = load(a.targets + n);
  weights += n * (1 + a.n);
  if (ids != nullptr) ids += n * (1 + a.n);
  if (target == a.ignore_index) return close_row(loss, dx, ids, weights, a, n, 0.0F);
  bool bad = !inside(a, target);
  float present = 0.0F;
  for (std::int64_t first = 0; first <= a.n && !bad; first += kAtOnce) {
    std::int32_t id[kAtOnce];
    float sum[kAtOnce] = {};
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int64_t j = first + i;
      id[i] = j == 0 ? target : j <= a.n ? load(a.negatives + n * a.n + j - 1) : a.ignore_index;
      const bool absent = id[i] == a.ignore_index;
      if (!absent && !inside(a, id[i])) bad = true;
      if (absent || !inside(a, id[i]) || (j > 0 && is_hit(a, id[i], target))) id[i] = -1;
      if (j > 0 && id[i] >= 0) present += 1.0F;
    }
    products(sum, x + n * a.C, w, id, a.C);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (lane() != i || first + i > a.n) continue;
      store(weights + first + i, id[i] < 0 ? -INFINITY : a.scale * sum[i] + shift_of(a, id[i]));
      if (ids != nullptr) store(ids + first + i, id[i]);
    }
  }
  sync_warp();
  if (bad) return close_row(loss, dx, ids, weights, a, n, NAN);
  float* gradients = ids == nullptr ? nullptr : weights + 1;
  const RowLoss out = row_loss(a, weights + 1, gradients, load(weights), present);
  sync_warp();  // all have read the positive's logit
  if (lane() == 0) {
    store(loss + n, out.loss);
    if (ids != nullptr) store(weights, out.gradient);
  }
  if (dx == nullptr) return;
  sync_warp();
  for (std::int64_t c = lane(); c < a.C; c += kWarpSize) {
    float sum = 0.0F;
#pragma unroll 4
    for (std::int64_t j = 0; j <= a.n; ++j)
      if (const std::int32_t id = load(ids + j); id >= 0) sum += load(weights + j) * to_float(load(w + id * a.C + c));
    store_one(dx + n * a.C + c, sum);
  }
}

/// The shared negatives' rows side by side, zeros where there is none, NaN for a wrong id; shift [n]: what is added to their
/// logits, -infinity for none; ids [n] (or null) as the table takes them. A warp a negative.
template <class T>
TRADEWIND_KERNEL void gather_negatives_kernel(T* rows, float* shift, std::int32_t* ids, const T* w, CandidateView a) {
  const std::int64_t j = row_of_warp();
  if (j >= a.n) return;
  const std::int32_t id = load(a.negatives + j);
  const bool absent = id == a.ignore_index, good = !absent && inside(a, id);
  if (lane() == 0) {
    store(shift + j, absent ? -INFINITY : good ? shift_of(a, id) : NAN);
    if (ids != nullptr) store(ids + j, good ? id : -1);
  }
  for (std::int64_t c = lane(); c < a.C; c += kWarpSize)
    store_one(rows + j * a.C + c, good ? to_float(load(w + id * a.C + c)) : absent ? 0.0F : NAN);
}

/// Rows [begin, begin + count) whose products with the shared negatives are in z [count, n]; dz (T; float: z itself) becomes
/// their gradients. ids, weights [N]: what the table gets of the positives; null without a gradient. A warp a row.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void shared_negatives_kernel(float* loss, T* dz, std::int32_t* ids, float* weights, float* z, const float* shift, const T* x,
                             const T* w, std::int64_t begin, std::int64_t count, CandidateView a) {
  const std::int64_t r = row_of_warp(), n = begin + r;
  if (r >= count) return;
  const std::int32_t target = load(a.targets + n);
  z += r * a.n;
  T* gradients = ids == nullptr ? nullptr : dz + r * a.n;
  if (target == a.ignore_index) {
    if (lane() == 0) store(loss + n, 0.0F);
    if (ids == nullptr) return;
    for (std::int64_t j = lane(); j < a.n; j += kWarpSize) store_one(gradients + j, 0.0F);
    if (lane() == 0) {
      store(ids + n, -1);
      store(weights + n, 0.0F);
    }
    return;
  }
  const bool good = inside(a, target);
  float present = 0.0F;
#pragma unroll 4
  for (std::int64_t j = lane(); j < a.n; j += kWarpSize) {
    const float more = load(shift + j);
    const std::int32_t id = load(a.negatives + j);
    const bool here = more != -INFINITY && !(good && inside(a, id) && is_hit(a, id, target));
    store(z + j, here ? a.scale * load(z + j) + more : -INFINITY);
    if (here) present += 1.0F;
  }
  const std::int32_t id[1] = {good ? target : -1};
  float sum[1] = {};
  products(sum, x + n * a.C, w, id, a.C);
  const RowLoss out = row_loss(a, z, gradients, good ? a.scale * sum[0] + shift_of(a, target) : NAN, warp_sum(present));
  if (lane() != 0) return;
  store(loss + n, out.loss);
  if (ids == nullptr) return;
  store(ids + n, id[0]);
  store(weights + n, out.gradient);
}

/// dx [N, C] += weights w[ids], source [N, C] = weights x, where they are not null. A warp a row.
template <class T>
TRADEWIND_KERNEL void positives_kernel(T* dx, float* source, const std::int32_t* ids, const float* weights, const T* x,
                                       const T* w, std::int64_t N, std::int64_t C) {
  const std::int64_t n = row_of_warp();
  if (n >= N) return;
  const std::int32_t id = load(ids + n);
  const float weight = load(weights + n);
  for (std::int64_t c = lane(); c < C; c += kWarpSize) {
    if (dx != nullptr && id >= 0) {
      T* to = dx + n * C + c;
      store_one(to, to_float(load(to)) + weight * to_float(load(w + id * C + c)));
    }
    if (source != nullptr) store(source + n * C + c, weight * to_float(load(x + n * C + c)));
  }
}

/// The bags of own negatives: row_offsets {0, V}, bag_offsets [N + 1].
TRADEWIND_KERNEL void offsets_kernel(std::int64_t* row_offsets, std::int64_t* bag_offsets, std::int64_t N, std::int64_t V,
                                     std::int64_t of_bag) {
  const std::int64_t i = static_cast<std::int64_t>(block_index().x) * kThreads + linear_thread();
  if (i < 2) store(row_offsets + i, i * V);
  if (i <= N) store(bag_offsets + i, i * of_bag);
}

/// dw[rows[i]] += values[i] for the *count rows, which differ. A warp a row.
TRADEWIND_KERNEL void scatter_rows_kernel(float* dw, const std::int32_t* rows, const float* values, const std::int64_t* count,
                                          std::int64_t C) {
  const std::int64_t i = row_of_warp();
  if (i >= load(count)) return;
  float* to = dw + load(rows + i) * C;
  for (std::int64_t c = lane(); c < C; c += kWarpSize) store(to + c, load(to + c) + load(values + i * C + c));
}

/// The call, without how the table's gradient is wanted.
struct Problem {
  const char* op;
  float* loss;
  void* dx;
  const CandidateBatch& batch;
  const CandidateLossOptions& options;
  CandidateView view;
  const Launch& at;

  bool gradient() const { return view.step != nullptr; }
  Index3 rows(std::int64_t count) const { return group_grid(op, count, kWarpSize); }
};

Problem problem_of(const char* op, float* loss, void* dx, const CandidateBatch& b, const CandidateLossOptions& o, double beta,
                   bool gradient, const Launch& at) {
  const CandidateView view{.bias = b.bias,
                           .log_q = b.log_q,
                           .identity = b.identity,
                           .targets = b.targets,
                           .negatives = b.negatives,
                           .step = gradient ? at.step : nullptr,
                           .beta = beta,
                           .N = b.N,
                           .V = b.V,
                           .C = b.C,
                           .n = b.n,
                           .scale = o.scale,
                           .ignore_index = o.ignore_index,
                           .task = o.task,
                           .remove_hits = o.remove_hits ? 1 : 0,
                           .kind = o.kind,
                           .mean = o.mean};
  return {op, loss, dx, b, o, view, at};
}

void write_bias(float* dbias, const float* weights, const std::int32_t* ids, std::int64_t count, const Problem& p,
                Write write) {
  if (dbias != nullptr) embedding_backward_dense_cuda(dbias, weights, ids, count, p.batch.V, 1, write, DType::kFloat32, p.at);
}

/// finish(gradient of a bag's table, its shape and options) follows where a gradient is wanted.
template <class Finish>
void own_negatives(const Problem& p, float* dbias, Write write, const Finish& finish) {
  const CandidateBatch& b = p.batch;
  const auto count = static_cast<std::size_t>(b.N * (1 + b.n));
  const ScratchArray<float> weights(p.at, count);
  const ScratchArray<std::int32_t> ids(p.at, p.gradient() ? count : 0);
  with_element(p.op, p.options.dtype, [&](auto element) {
    using T = decltype(element);
    launch(own_negatives_kernel<T>, p.rows(b.N), Index3{kThreads}, 0, p.at.stream, p.loss, static_cast<T*>(p.dx), ids.get(),
           weights.get(), static_cast<const T*>(b.x), static_cast<const T*>(b.w), p.view);
  });
  if (!p.gradient()) return;
  write_bias(dbias, weights.get(), ids.get(), static_cast<std::int64_t>(count), p, write);
  const ScratchArray<std::int64_t> row_offsets(p.at, 2), bag_offsets(p.at, static_cast<std::size_t>(b.N) + 1);
  launch(offsets_kernel, group_grid(p.op, b.N + 2, 1), Index3{kThreads}, 0, p.at.stream, row_offsets.get(), bag_offsets.get(),
         b.N, b.V, 1 + b.n);
  finish(BagShape{.T = 1,
                  .B = b.N,
                  .C = b.C,
                  .V = b.V,
                  .N = static_cast<std::int64_t>(count),
                  .row_offsets = row_offsets.get(),
                  .bag_offsets = bag_offsets.get(),
                  .ids = ids.get(),
                  .stride = b.C},
         BagOptions{.weights = weights.get(), .dtype = p.options.dtype});
}

/// finish(source, ids, how many) follows where a gradient is wanted: rows of float32 and where they go in the table.
template <class T, class Finish>
void shared_negatives(const Problem& p, float* dbias, Write write, std::int64_t chunk_bytes, const Finish& finish) {
  const CandidateBatch& b = p.batch;
  const Launch& at = p.at;
  const bool gradient = p.gradient();
  constexpr bool kInPlace = sizeof(T) == 4;
  const auto size = [](std::int64_t count, bool wanted = true) { return static_cast<std::size_t>(wanted ? count : 0); };
  const std::int64_t terms = b.N + b.n;
  const std::int64_t R = std::min(b.N, std::clamp<std::int64_t>(chunk_bytes / (4 * b.n), 32, std::max<std::int64_t>(b.N, 32)));
  const ScratchArray<T> rows(at, size(b.n * b.C)), narrow(at, size(R * b.n, gradient && !kInPlace));
  const ScratchArray<float> shift(at, size(b.n)), z(at, size(R * b.n)), source(at, size(terms * b.C, gradient)),
      weights(at, size(terms, gradient));
  const ScratchArray<std::int32_t> ids(at, size(terms, gradient));
  const auto *x = static_cast<const T*>(b.x), *w = static_cast<const T*>(b.w);
  auto* dx = static_cast<T*>(p.dx);
  T* dz = nullptr;
  if constexpr (kInPlace)
    dz = z.get();
  else
    dz = narrow.get();
  float *dwn = source.get() + b.N * b.C, *of_bias = weights.get() + b.N;  // of the negatives
  launch(gather_negatives_kernel<T>, p.rows(b.n), Index3{kThreads}, 0, at.stream, rows.get(), shift.get(),
         gradient ? ids.get() + b.N : nullptr, w, p.view);
  for (std::int64_t n = 0; n < b.N; n += R) {
    const std::int64_t count = std::min(R, b.N - n);
    gemm(z.get(), DType::kFloat32, x + n * b.C, rows.get(), p.options.dtype,
         {.m = count, .n = b.n, .k = b.C, .a_stride = b.C, .b_stride = b.C, .c_stride = b.n, .b_transposed = true}, at);
    launch(shared_negatives_kernel<T>, p.rows(count), Index3{kThreads}, 0, at.stream, p.loss, dz, ids.get(), weights.get(),
           z.get(), shift.get(), x, w, n, count, p.view);
    if (!gradient) continue;
    if (dx != nullptr)
      gemm(dx + n * b.C, p.options.dtype, dz, rows.get(), p.options.dtype,
           {.m = count, .n = b.C, .k = b.n, .a_stride = b.n, .b_stride = b.C, .c_stride = b.C}, at);
    gemm(dwn, DType::kFloat32, dz, x + n * b.C, p.options.dtype,
         {.m = b.n,
          .n = b.C,
          .k = count,
          .a_stride = b.n,
          .b_stride = b.C,
          .c_stride = b.C,
          .a_transposed = true,
          .beta = n == 0 ? 0.0F : 1.0F},
         at);
    if (dbias != nullptr)
      column_sum(of_bias, static_cast<const T*>(dz), count, b.n, b.n, n == 0 ? Write::kAssign : Write::kAccumulate, at);
  }
  if (!gradient) return;
  launch(positives_kernel<T>, p.rows(b.N), Index3{kThreads}, 0, at.stream, dx, source.get(), ids.get(), weights.get(), x, w,
         b.N, b.C);
  write_bias(dbias, weights.get(), ids.get(), terms, p, write);
  finish(source.get(), ids.get(), terms);
}

}  // namespace

void candidate_loss_cuda(float* loss, void* dx, float* dw, float* dbias, const CandidateBatch& b, Write write,
                         const CandidateLossOptions& o, double beta, const Launch& at, std::int64_t chunk_bytes) {
  const bool gradient = dx != nullptr || dw != nullptr || dbias != nullptr;
  const Problem p = problem_of("candidate_loss", loss, dx, b, o, beta, gradient, at);
  if (b.N == 0) {
    if (write == Write::kAccumulate) return;
    if (dw != nullptr) fill_bytes(dw, 0, static_cast<std::size_t>(b.V * b.C) * sizeof(float), at.stream);
    if (dbias != nullptr) fill_bytes(dbias, 0, static_cast<std::size_t>(b.V) * sizeof(float), at.stream);
    return;
  }
  if (o.shared_negatives) {
    with_element(p.op, o.dtype, [&](auto element) {
      shared_negatives<decltype(element)>(
          p, dbias, write, chunk_bytes, [&](const float* source, const std::int32_t* ids, std::int64_t count) {
            if (dw != nullptr) embedding_backward_dense_cuda(dw, source, ids, count, b.V, b.C, write, DType::kFloat32, at);
          });
    });
    return;
  }
  own_negatives(p, dbias, write, [&](const BagShape& shape, const BagOptions& bag) {
    if (dw == nullptr) return;
    if (write == Write::kAssign) fill_bytes(dw, 0, static_cast<std::size_t>(b.V * b.C) * sizeof(float), at.stream);
    const std::int64_t most = std::min(shape.N, b.V);
    const ScratchArray<std::int32_t> rows(at, static_cast<std::size_t>(most));
    const ScratchArray<float> values(at, static_cast<std::size_t>(most * b.C));
    const ScratchArray<std::int64_t> begins(at, 2);
    embedding_bag_backward_cuda({.rows = rows.get(), .values = values.get(), .begins = begins.get()}, nullptr, b.x, nullptr,
                                nullptr, shape, bag, Write::kAssign, at);
    launch(scatter_rows_kernel, p.rows(most), Index3{kThreads}, 0, at.stream, dw, rows.get(), values.get(), begins.get() + 1,
           b.C);
  });
}

std::int64_t candidate_loss_sparse_cuda(float* loss, void* dx, std::int32_t* rows, float* values, float* dbias,
                                        const CandidateBatch& b, Write write_dbias, const CandidateLossOptions& o, double beta,
                                        const Launch& at, std::int64_t chunk_bytes) {
  const Problem p = problem_of("candidate_loss_sparse", loss, dx, b, o, beta, true, at);
  if (b.N == 0) {
    if (dbias != nullptr && write_dbias == Write::kAssign)
      fill_bytes(dbias, 0, static_cast<std::size_t>(b.V) * sizeof(float), at.stream);
    return 0;
  }
  std::int64_t found = 0;
  if (o.shared_negatives) {
    with_element(p.op, o.dtype, [&](auto element) {
      shared_negatives<decltype(element)>(
          p, dbias, write_dbias, chunk_bytes, [&](const float* source, const std::int32_t* ids, std::int64_t count) {
            found = embedding_backward_sparse_cuda(rows, values, source, ids, count, b.V, b.C, DType::kFloat32, at);
          });
    });
    return found;
  }
  own_negatives(p, dbias, write_dbias, [&](const BagShape& shape, const BagOptions& bag) {
    const ScratchArray<std::int64_t> begins(at, 2);
    embedding_bag_backward_cuda({.rows = rows, .values = values, .begins = begins.get()}, nullptr, b.x, nullptr, nullptr, shape,
                                bag, Write::kAssign, at);
    copy_to_host(&found, begins.get() + 1, sizeof found, at.stream);
    stream_synchronize(at.stream);
  });
  return found;
}

}  // namespace tradewind::kernels::detail
