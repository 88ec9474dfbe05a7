// Softmax, its logarithm and their gradients on NVIDIA GPUs. Mathematics and shapes: kernels/softmax.h. N rows of C elements.
//
// Bound by memory: forward 2 N C sizeof(T) bytes, backward 3 (accumulating 4); an exponential an element, a dozen instructions.
// 16,384 rows of 1024 in bfloat16 are 67 MB forward: 20 us at the H100's 3.35 TB/s, 14 at the H200's 4.8 TB/s; bounds, not
// measurements: none of this has run on a GPU yet.
//
// Rows of up to 1024: a group of 4 to 32 lanes has the row in its registers, up to 32 values a lane (device/bag_row.cuh), so it
// is read once; largest and sum go round the group by shuffles, and no lane waits for another warp. Backward holds two rows, up
// to 100 registers: 16 warps an SM with up to 4 KiB each under way.
//
// Longer rows: a block a row, in two passes over memory, of which the second finds the row in the second-level cache (50 MB
// hold 400 rows of 32,000 floats at work). The first keeps the largest value so far and the sum of the exponentials relative to
// it (Milakov and Gimelshein 2018), scaled anew only where a packet of eight has a larger one: one exponential an element.
// Packets are summed in float32 and their sums in float64, since a thread of a long row has hundreds.
//
// Deterministic: a thread takes its columns in order, lanes and warps merge in a fixed tree. y may be x and dx may be dy: an
// element is written by the thread that read it, after the last read of the row.
#include "kernels/cuda/softmax.h"

#include <cmath>

#include "kernels/cuda/device/bag_row.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = kGroupThreads, kWarps = kThreads / kWarpSize;

/// What is taken off a row before the exponential: its largest value, but nothing of a row of -infinity alone.
TRADEWIND_DEVICE float shift_of(float top) { return top == -INFINITY ? 0.0F : top; }

/// A group's row, `beyond` past its end.
template <class S>
TRADEWIND_DEVICE void load_row(float (&x)[S::kChannels], const typename S::T* row, int C, float beyond) {
#pragma unroll
  for (int i = 0; i < S::kBlocks; ++i) {
    const int column = channel_of<S>(i);
    const Vector16 v = load_vector<S::kAligned>(row, column, C);
#pragma unroll
    for (int j = 0; j < S::kPer; ++j) x[i * S::kPer + j] = column + j < C ? channel<typename S::T>(v, j) : beyond;
  }
}
template <class S>
TRADEWIND_DEVICE void store_row(typename S::T* row, int C, const float (&x)[S::kChannels]) {
#pragma unroll
  for (int i = 0; i < S::kBlocks; ++i) store_vector<S::kAligned>(row, channel_of<S>(i), C, x + i * S::kPer);
}

/// A group a row.
template <class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, 2)
void softmax_forward_kernel(typename S::T* y, const typename S::T* x, std::int64_t N, int C, int log) {
  const std::int64_t n = group_index<S>();
  if (n >= N) return;
  float z[S::kChannels];
  load_row<S>(z, x + n * C, C, -INFINITY);
  float top = -INFINITY;
#pragma unroll
  for (const float value : z) top = fmaxf(top, value);
#pragma unroll
  for (int bits = S::kLanes / 2; bits > 0; bits /= 2) top = fmaxf(top, shuffle_xor(top, bits, group_mask<S>()));
  const float shift = shift_of(top);
  float e[S::kChannels], sum = 0;
#pragma unroll
  for (int j = 0; j < S::kChannels; ++j) {
    e[j] = expf(z[j] - shift);
    sum += e[j];
  }
  sum = group_sum<S>(sum);
  const float scale = sum == 0.0F ? 0.0F : 1.0F / sum, less = shift + (sum == 0.0F ? 0.0F : logf(sum));
#pragma unroll
  for (int j = 0; j < S::kChannels; ++j) e[j] = log != 0 ? z[j] - less : e[j] * scale;
  store_row<S>(y + n * C, C, e);
}

template <class S>
TRADEWIND_KERNEL_BOUNDS(kThreads, S::kAligned ? 2 : 1)
void softmax_backward_kernel(typename S::T* dx, const typename S::T* dy, const typename S::T* y, std::int64_t N, int C, int log,
                             int add) {
  const std::int64_t n = group_index<S>();
  if (n >= N) return;
  float g[S::kChannels], p[S::kChannels], total = 0;
  load_row<S>(g, dy + n * C, C, 0.0F);
  load_row<S>(p, y + n * C, C, 0.0F);
#pragma unroll
  for (int j = 0; j < S::kChannels; ++j) total += log != 0 ? g[j] : g[j] * p[j];
  total = group_sum<S>(total);
#pragma unroll
  for (int j = 0; j < S::kChannels; ++j) g[j] = log != 0 ? g[j] - expf(p[j]) * total : p[j] * (g[j] - total);
  if (add != 0) {
    load_row<S>(p, dx + n * C, C, 0.0F);
#pragma unroll
    for (int j = 0; j < S::kChannels; ++j) g[j] += p[j];
  }
  store_row<S>(dx + n * C, C, g);
}

/// Sum of exp(x - shift_of(top)), with the largest x, both over the columns of a thread, warp or block.
struct LogSum {
  double sum;
  float top, unused;
};
TRADEWIND_DEVICE LogSum merged(LogSum a, LogSum b) {
  const float top = fmaxf(a.top, b.top);
  if (top == -INFINITY) return {a.sum + b.sum, top, 0.0F};  // zeros, or a NaN
  return {a.sum * expf(a.top - top) + b.sum * expf(b.top - top), top, 0.0F};
}

/// A block a row.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void long_softmax_forward_kernel(T* y, const T* x, int C, int log, int aligned) {
  x += std::int64_t{block_index().x} * C, y += std::int64_t{block_index().x} * C;
  LogSum mine{0, -INFINITY, 0.0F};
  for (int c = kPacket * linear_thread(); c < C; c += kPacket * kThreads) {
    float z[kPacket], top = mine.top, sum = 0;
    load_values(z, x + c, C - c, aligned != 0);
#pragma unroll
    for (int j = 0; j < kPacket; ++j)
      if (c + j < C) top = fmaxf(top, z[j]);
    if (top > mine.top) mine.sum *= expf(mine.top - top);  // 0 * 0 at first
    mine.top = top;
#pragma unroll
    for (int j = 0; j < kPacket; ++j)
      if (c + j < C) sum += expf(z[j] - shift_of(top));
    mine.sum += sum;
  }
  for (int bits = kWarpSize / 2; bits > 0; bits /= 2)
    mine = merged(mine, {shuffle_xor(mine.sum, bits), shuffle_xor(mine.top, bits), 0.0F});
  auto* parts = reinterpret_cast<LogSum*>(shared_arena());
  if (lane() == 0) store(parts + warp(), mine);
  sync_block();
  LogSum all = load(parts);
  for (int w = 1; w < kWarps; ++w) all = merged(all, load(parts + w));
  const float shift = shift_of(all.top), scale = all.sum == 0 ? 0.0F : static_cast<float>(1 / all.sum),
              less = all.sum == 0 ? 0.0F : static_cast<float>(shift + ::log(all.sum));
  for (int c = kPacket * linear_thread(); c < C; c += kPacket * kThreads) {
    float z[kPacket];
    load_values(z, x + c, C - c, aligned != 0);
#pragma unroll
    for (float& value : z) value = log != 0 ? value - less : expf(value - shift) * scale;
    store_values(y + c, z, C - c, aligned != 0);
  }
}

template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void long_softmax_backward_kernel(T* dx, const T* dy, const T* y, int C, int log, int add, int aligned) {
  const std::int64_t row = std::int64_t{block_index().x} * C;
  double sums = 0;
  for (int c = kPacket * linear_thread(); c < C; c += kPacket * kThreads) {
    float g[kPacket], p[kPacket], sum = 0;
    load_values(g, dy + row + c, C - c, aligned != 0);
    load_values(p, y + row + c, C - c, aligned != 0);
#pragma unroll
    for (int j = 0; j < kPacket; ++j) sum += log != 0 ? g[j] : g[j] * p[j];
    sums += sum;
  }
  const auto total = static_cast<float>(block_sum<kWarps>(sums, reinterpret_cast<double*>(shared_arena())));
  for (int c = kPacket * linear_thread(); c < C; c += kPacket * kThreads) {
    float g[kPacket], p[kPacket];
    load_values(g, dy + row + c, C - c, aligned != 0);
    load_values(p, y + row + c, C - c, aligned != 0);
#pragma unroll
    for (int j = 0; j < kPacket; ++j) g[j] = log != 0 ? g[j] - expf(p[j]) * total : p[j] * (g[j] - total);
    if (add != 0) {
      load_values(p, dx + row + c, C - c, aligned != 0);
#pragma unroll
      for (int j = 0; j < kPacket; ++j) g[j] += p[j];
    }
    store_values(dx + row + c, g, C - c, aligned != 0);
  }
}

constexpr std::int64_t kLongest = 1024;  // row that a group holds

}  // namespace

void softmax_forward_cuda(void* y, const void* x, std::int64_t N, std::int64_t C, bool log, DType dtype, const Launch& at) {
  constexpr const char* kOp = "softmax_forward";
  if (N == 0) return;
  const bool aligned = vectors_fit({y, x}, {C}, dtype);
  const int columns = static_cast<int>(C), of_log = log ? 1 : 0;
  if (C > kLongest)
    return with_element(kOp, dtype, [&](auto element) {
      using T = decltype(element);
      launch(long_softmax_forward_kernel<T>, grid_of(kOp, N), Index3{kThreads}, kWarps * sizeof(LogSum), at.stream,
             static_cast<T*>(y), static_cast<const T*>(x), columns, of_log, aligned ? 1 : 0);
    });
  with_row(kOp, dtype, C, aligned, [&](auto shape) {
    using S = decltype(shape);
    using T = typename S::T;
    launch(softmax_forward_kernel<S>, group_grid(kOp, N, S::kLanes), Index3{kThreads}, 0, at.stream, static_cast<T*>(y),
           static_cast<const T*>(x), N, columns, of_log);
  });
}

void softmax_backward_cuda(void* dx, const void* dy, const void* y, std::int64_t N, std::int64_t C, bool log, Write write,
                           DType dtype, const Launch& at) {
  constexpr const char* kOp = "softmax_backward";
  if (N == 0) return;
  const bool aligned = vectors_fit({dx, dy, y}, {C}, dtype);
  const int columns = static_cast<int>(C), of_log = log ? 1 : 0, add = write == Write::kAccumulate ? 1 : 0;
  if (C > kLongest)
    return with_element(kOp, dtype, [&](auto element) {
      using T = decltype(element);
      launch(long_softmax_backward_kernel<T>, grid_of(kOp, N), Index3{kThreads}, kWarps * sizeof(double), at.stream,
             static_cast<T*>(dx), static_cast<const T*>(dy), static_cast<const T*>(y), columns, of_log, add, aligned ? 1 : 0);
    });
  with_row(kOp, dtype, C, aligned, [&](auto shape) {
    using S = decltype(shape);
    using T = typename S::T;
    launch(softmax_backward_kernel<S>, group_grid(kOp, N, S::kLanes), Index3{kThreads}, 0, at.stream, static_cast<T*>(dx),
           static_cast<const T*>(dy), static_cast<const T*>(y), N, columns, of_log, add);
  });
}

}  // namespace tradewind::kernels::detail
