// Layer norm, RMS norm and the fused residual branch on NVIDIA GPUs. Mathematics and shapes: kernels/norm.h. N rows, C
// channels.
//
//   forward   s = residual + dropout(x);  y = (s - mean) rstd weight + bias
//   backward  with h = (x - mean) rstd and g = dy weight:  out = rstd (g - avg(g) - h avg(g h)) + add  (RMS: no avg(g)),
//             masked = dropout(out);  dweight = sum over rows of dy h,  dbias of dy
//
// Bound by memory. Elements a row moves: forward 2 C, fused 4 C; backward 3 C, with `add` 4 C, with `masked` 5 C. At N = 16384,
// C = 768 in bfloat16 an array is 25 MB: forward 10 us on an H200 (4.8 TB/s) and 15 on an H100 (3.35), fused 21 and 30, fused
// backward 26 and 38. Bounds, not measurements. Arithmetic is 10 to 20 FLOPs an element, dropout 12 integer instructions more.
//
// A row is read once and stays in registers, as packets of 8 channels a thread: 8 lanes a row up to 64 channels, a warp up to
// 1024, a block of 256 threads up to 8192. So the mean can be taken off before squaring, both sums are exact to rounding, and
// what the rounding of the mean leaves is taken out after them: values far from 0 keep their digits, as on the CPU.
// Eight lanes a row where rows are short, because a warp that waits for 128 bytes leaves the memory idle; one barrier a sum
// where a block has the row. Packets are one 16-byte load in bfloat16, two in float32. In bfloat16 mean and rstd are of s as
// it is stored, since backward will see no other.
//
// dweight and dbias, deterministic: a fixed number of blocks takes rows in turn, every thread sums its channels in registers,
// the rows of a block merge through shared memory in order, and device/column_sum.cuh adds what the blocks leave: one row of C
// floats a block, 528 at most, 1.6 MB at C = 768, which stays in the second-level cache.
#include "kernels/cuda/norm.h"

#include <cmath>

#include "kernels/cuda/device/column_sum.cuh"
#include "kernels/cuda/device/dropout_mask.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = kElementThreads, kWarps = kThreads / kWarpSize;

/// kLanes neighbouring threads have a row, kPackets packets each: packet p of lane l begins at channel (p kLanes + l) kPacket.
template <int kLanes_, int kPackets_>
struct RowShape {
  static constexpr int kLanes = kLanes_, kPackets = kPackets_;
  static constexpr int kRows = kThreads / kLanes;                // of a block
  static constexpr int kChannels = kLanes * kPackets * kPacket;  // at most
  static TRADEWIND_DEVICE int column(int p) { return (p * kLanes + linear_thread() % kLanes) * kPacket; }
  static TRADEWIND_DEVICE bool leads() { return linear_thread() % kLanes == 0; }
  /// x[i] becomes its sum over the row; `parts` as block_sums takes them.
  template <int kValues>
  static TRADEWIND_DEVICE void sum(float (&x)[kValues], float* parts) {
    if constexpr (kLanes == kThreads) {
      block_sums<kWarps>(x, parts);
    } else {
#pragma unroll
      for (int i = 0; i < kValues; ++i) x[i] = lanes_sum<kLanes>(x[i]);
    }
  }
};
constexpr int kParts = 2 * kWarps;                              // floats of one sum of two values over a block
constexpr std::size_t kPartBytes = 2 * kParts * sizeof(float);  // two such, used in turn

/// Ones where there are none.
TRADEWIND_DEVICE void load_weights(float (&w)[kPacket], const float* weight, int column, int C, bool aligned) {
  if (weight != nullptr) return load_values(w, weight + column, C - column, aligned);
#pragma unroll
  for (float& one : w) one = 1.0F;
}

template <class T>
struct ForwardView {
  T *s, *y;
  float *mean, *rstd;
  const T *residual, *x;
  const float *weight, *bias;
  std::int64_t N;
  int C;
  float epsilon;
  int layer, aligned;
  DropoutView dropout;
};

template <class T, class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, 1)
void norm_forward_kernel(ForwardView<T> a) {
  const std::int64_t n = static_cast<std::int64_t>(block_index().x) * S::kRows + linear_thread() / S::kLanes;
  if (n >= a.N) return;
  const bool aligned = a.aligned != 0;
  const std::int64_t row = n * a.C;
  float x[S::kPackets][kPacket];
#pragma unroll
  for (int p = 0; p < S::kPackets; ++p) load_values(x[p], a.x + row + S::column(p), a.C - S::column(p), aligned);
  if (a.residual != nullptr) {
    if (a.dropout.drops()) {
      const PhiloxKey key = a.dropout.key();
      const DropoutRow mask = a.dropout.row(n);
#pragma unroll
      for (int p = 0; p < S::kPackets; ++p)
        drop(x[p], kept_packet(key, mask, S::column(p), a.dropout.threshold), dropout_scale(a.dropout.threshold));
    }
#pragma unroll
    for (int p = 0; p < S::kPackets; ++p) {
      float before[kPacket];
      load_values(before, a.residual + row + S::column(p), a.C - S::column(p), aligned);
#pragma unroll
      for (int i = 0; i < kPacket; ++i) x[p][i] = rounded_to<T>(before[i] + x[p][i]);
      store_values(a.s + row + S::column(p), x[p], a.C - S::column(p), aligned);
    }
  }
  if (a.y == nullptr) return;
  auto* parts = reinterpret_cast<float*>(shared_arena());
  const auto channels = static_cast<float>(a.C);
  float sum[1] = {0.0F};
  if (a.layer != 0) {
#pragma unroll
    for (int p = 0; p < S::kPackets; ++p)
#pragma unroll
      for (int i = 0; i < kPacket; ++i) sum[0] += x[p][i];  // 0 beyond the row
    S::sum(sum, parts);
  }
  const float mean = sum[0] / channels;
  float sums[2] = {};  // of squares; of deviations, which the mean's rounding leaves
#pragma unroll
  for (int p = 0; p < S::kPackets; ++p)
#pragma unroll
    for (int i = 0; i < kPacket; ++i) {
      x[p][i] -= mean;
      if (S::column(p) + i < a.C) sums[0] += x[p][i] * x[p][i], sums[1] += x[p][i];
    }
  S::sum(sums, parts + kParts);
  const float rest = a.layer != 0 ? sums[1] / channels : 0.0F, variance = sums[0] / channels - rest * rest;
  const float rstd = 1.0F / sqrtf((variance < 0.0F ? 0.0F : variance) + a.epsilon);  // a NaN stays
  if (S::leads()) {
    if (a.layer != 0) store(a.mean + n, mean + rest);
    store(a.rstd + n, rstd);
  }
#pragma unroll
  for (int p = 0; p < S::kPackets; ++p) {
    float w[kPacket], b[kPacket] = {};
    load_weights(w, a.weight, S::column(p), a.C, aligned);
    if (a.bias != nullptr) load_values(b, a.bias + S::column(p), a.C - S::column(p), aligned);
#pragma unroll
    for (int i = 0; i < kPacket; ++i) x[p][i] = (x[p][i] - rest) * rstd * w[i] + b[i];
    store_values(a.y + row + S::column(p), x[p], a.C - S::column(p), aligned);
  }
}

template <class T>
struct BackwardView {
  T *out, *masked;
  float *dweight, *dbias;  // [blocks, C], of each block's rows
  const T *dy, *add, *x;
  const float *mean, *rstd, *weight;
  std::int64_t N;
  int C;
  int layer, aligned;
  DropoutView dropout;
};

/// to[c] = the sum over the block's rows in flight of what their threads have of channel c, in order.
template <class S>
TRADEWIND_DEVICE void merge_rows(float* to, const float (&x)[S::kPackets][kPacket], int C) {
  auto* tile = reinterpret_cast<float*>(shared_arena());
  sync_block();  // the arena is free
#pragma unroll
  for (int p = 0; p < S::kPackets; ++p)
    store_values(tile + linear_thread() / S::kLanes * S::kChannels + S::column(p), x[p], kPacket, true);
  sync_block();
  for (int c = linear_thread(); c < C; c += kThreads) {
    float sum = 0.0F;
#pragma unroll
    for (int r = 0; r < S::kRows; ++r) sum += load(tile + r * S::kChannels + c);
    store(to + c, sum);
  }
}

template <class T, class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, 1)
void norm_backward_kernel(BackwardView<T> a) {
  const bool aligned = a.aligned != 0, drops = a.masked != nullptr && a.dropout.drops();
  const PhiloxKey key = drops ? a.dropout.key() : PhiloxKey{};
  auto* parts = reinterpret_cast<float*>(shared_arena());
  const auto channels = static_cast<float>(a.C);
  float dweight[S::kPackets][kPacket] = {}, dbias[S::kPackets][kPacket] = {};
  const std::int64_t first = static_cast<std::int64_t>(block_index().x) * S::kRows + linear_thread() / S::kLanes;
  int turn = 0;
  for (std::int64_t n = first; n < a.N; n += static_cast<std::int64_t>(grid_size().x) * S::kRows) {
    const std::int64_t row = n * a.C;
    float g[S::kPackets][kPacket] = {};
    if (a.dy != nullptr) {
      float h[S::kPackets][kPacket], sum[2] = {};
#pragma unroll
      for (int p = 0; p < S::kPackets; ++p) {
        load_values(g[p], a.dy + row + S::column(p), a.C - S::column(p), aligned);
        load_values(h[p], a.x + row + S::column(p), a.C - S::column(p), aligned);
      }
      const float mean = a.layer != 0 ? load(a.mean + n) : 0.0F, rstd = load(a.rstd + n);
#pragma unroll
      for (int p = 0; p < S::kPackets; ++p) {
        float w[kPacket];
        load_weights(w, a.weight, S::column(p), a.C, aligned);
#pragma unroll
        for (int i = 0; i < kPacket; ++i) {  // dy is 0 beyond the row
          h[p][i] = (h[p][i] - mean) * rstd;
          dweight[p][i] += g[p][i] * h[p][i];
          dbias[p][i] += g[p][i];
          g[p][i] *= w[i];
          sum[0] += g[p][i];
          sum[1] += g[p][i] * h[p][i];
        }
      }
      S::sum(sum, parts + turn * kParts);
      turn = 1 - turn;
      const float average = a.layer != 0 ? sum[0] / channels : 0.0F, along = sum[1] / channels;
#pragma unroll
      for (int p = 0; p < S::kPackets; ++p)
#pragma unroll
        for (int i = 0; i < kPacket; ++i) g[p][i] = rstd * (g[p][i] - average - h[p][i] * along);
    }
    const DropoutRow mask = drops ? a.dropout.row(n) : DropoutRow{};
#pragma unroll
    for (int p = 0; p < S::kPackets; ++p) {
      const std::int64_t at = row + S::column(p);
      const int left = a.C - S::column(p);
      if (a.add != nullptr) {
        float added[kPacket];
        load_values(added, a.add + at, left, aligned);
#pragma unroll
        for (int i = 0; i < kPacket; ++i) g[p][i] += added[i];
      }
      store_values(a.out + at, g[p], left, aligned);
      if (a.masked == nullptr) continue;
      if (drops) drop(g[p], kept_packet(key, mask, S::column(p), a.dropout.threshold), dropout_scale(a.dropout.threshold));
      store_values(a.masked + at, g[p], left, aligned);
    }
  }
  const std::int64_t part = static_cast<std::int64_t>(block_index().x) * a.C;
  if (a.dweight != nullptr) merge_rows<S>(a.dweight + part, dweight, a.C);
  if (a.dbias != nullptr) merge_rows<S>(a.dbias + part, dbias, a.C);
}

/// Calls f(RowShape) with the one for rows of C channels.
template <class F>
void with_row(const char* op, std::int64_t C, const F& f) {
  if (C > 8192)
    throw DeviceError(std::string(op) + ": rows of " + std::to_string(C) +
                      " channels; the CUDA kernels have up to 8192: narrow the model, or set device = \"cpu\"");
  if (C <= 64) return f(RowShape<8, 1>{});
  if (C <= 256) return f(RowShape<32, 1>{});
  if (C <= 512) return f(RowShape<32, 2>{});
  if (C <= 1024) return f(RowShape<32, 4>{});
  if (C <= 2048) return f(RowShape<kThreads, 1>{});
  if (C <= 4096) return f(RowShape<kThreads, 2>{});
  f(RowShape<kThreads, 4>{});
}

template <class S>
std::int64_t blocks_of(std::int64_t N) {
  return (N + S::kRows - 1) / S::kRows;
}

}  // namespace

void norm_forward_cuda(void* s, void* y, float* mean, float* rstd, const void* residual, const void* x, const float* weight,
                       const float* bias, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                       const NormOptions& o, const Launch& launch_at) {
  const char* op = residual == nullptr ? "norm_forward" : "residual_norm_forward";
  if (N == 0) return;
  with_element(op, o.dtype, [&](auto element) {
    using T = decltype(element);
    const ForwardView<T> a{.s = static_cast<T*>(s),
                           .y = static_cast<T*>(y),
                           .mean = mean,
                           .rstd = rstd,
                           .residual = static_cast<const T*>(residual),
                           .x = static_cast<const T*>(x),
                           .weight = weight,
                           .bias = bias,
                           .N = N,
                           .C = static_cast<int>(C),
                           .epsilon = o.epsilon,
                           .layer = o.kind == NormKind::kLayerNorm ? 1 : 0,
                           .aligned = vectors_fit({s, y, residual, x, weight, bias}, {C}, o.dtype) ? 1 : 0,
                           .dropout = dropout_view(dropout, keys, launch_at)};
    with_row(op, C, [&](auto shape) {
      using S = decltype(shape);
      launch(norm_forward_kernel<T, S>, grid_of(op, blocks_of<S>(N)), Index3{kThreads}, kPartBytes, launch_at.stream, a);
    });
  });
}

void norm_backward_cuda(void* out, void* masked, float* dweight, float* dbias, const void* dy, const void* add, const void* x,
                        const float* mean, const float* rstd, const float* weight, std::int64_t N, std::int64_t C,
                        const Dropout& dropout, const RowKeys& keys, Write write_dw, const NormOptions& o,
                        const Launch& launch_at) {
  constexpr const char* kOp = "norm_backward";
  if (N == 0 || dy == nullptr) {  // nothing comes through the norm
    for (float* gradient : {dweight, dbias})
      if (gradient != nullptr && write_dw == Write::kAssign)
        fill_bytes(gradient, 0, static_cast<std::size_t>(C) * sizeof(float), launch_at.stream);
    if (N == 0) return;
    dweight = dbias = nullptr;
  }
  with_element(kOp, o.dtype, [&](auto element) {
    using T = decltype(element);
    with_row(kOp, C, [&](auto shape) {
      using S = decltype(shape);
      // Each SM has room for as many blocks as make 528 of 132, with one packet a thread, and for fewer with more.
      const std::int64_t blocks = std::min<std::int64_t>(blocks_of<S>(N), 528 / S::kPackets);
      const auto part = static_cast<std::size_t>(blocks * C);
      const ScratchArray<float> parts(launch_at, dweight == nullptr ? 0 : part),
          bias_parts(launch_at, dbias == nullptr ? 0 : part);
      const BackwardView<T> a{.out = static_cast<T*>(out),
                              .masked = static_cast<T*>(masked),
                              .dweight = parts.get(),
                              .dbias = bias_parts.get(),
                              .dy = static_cast<const T*>(dy),
                              .add = static_cast<const T*>(add),
                              .x = static_cast<const T*>(x),
                              .mean = mean,
                              .rstd = rstd,
                              .weight = weight,
                              .N = N,
                              .C = static_cast<int>(C),
                              .layer = o.kind == NormKind::kLayerNorm ? 1 : 0,
                              .aligned = vectors_fit({out, masked, dy, add, x, weight}, {C}, o.dtype) ? 1 : 0,
                              .dropout = dropout_view(dropout, keys, launch_at)};
      const std::size_t tile = static_cast<std::size_t>(S::kRows) * S::kChannels * sizeof(float);
      launch(norm_backward_kernel<T, S>, grid_of(kOp, blocks), Index3{kThreads}, std::max(tile, kPartBytes), launch_at.stream,
             a);
      if (dweight != nullptr) column_sum(dweight, static_cast<const float*>(parts.get()), blocks, C, C, write_dw, launch_at);
      if (dbias != nullptr) column_sum(dbias, static_cast<const float*>(bias_parts.get()), blocks, C, C, write_dw, launch_at);
    });
  });
}

}  // namespace tradewind::kernels::detail
