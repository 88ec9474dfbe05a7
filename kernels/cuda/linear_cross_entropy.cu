// Linear and cross-entropy on NVIDIA GPUs: chunks of rows whose logits are made, turned into gradients in place and used up.
//
// Mathematics and shapes: kernels/linear_cross_entropy.h. N rows, V classes, C channels. For each chunk of R rows:
//   Z = X W^T           cuBLASLt, [R, V] float32
//   Z becomes dL/dZ     in place, one pass by a block a row: online logsumexp (Milakov and Gimelshein 2018), target, mean,
//                       loss; then the gradient
//   dX = dZ W           cuBLASLt
//   dW += dZ^T X        cuBLASLt, float32; the first chunk assigns where the caller does
//   dbias += sum of dZ's rows, device/column_sum.cuh
// bfloat16: Z is float32 all the same (a logit of 20 in bf16 is off by 0.06), dZ is bf16, in an array of its own. Rows of Z and
// dZ begin at multiples of 16 bytes whatever V is (GPT-2's is 50,257), since tensor cores are fed 16 bytes at a time.
//
// Bound by the products, 6 N C V FLOPs. A logit goes through HBM as 4 bytes written by the product, 4 read for the sum, 4 read
// and 4 (2) written for the gradient, 4 (2) read by each of two products: 24 (18) bytes, against 6 C FLOPs. In bf16 at C = 4096
// that is 1,365 FLOPs a byte, where the H100 (989 TFLOP/s, 3.35 TB/s) turns at 295 and the H200 (4.8 TB/s) at 206: the products
// decide. At C = 64 it is 21, and memory decides. A chunk has at most 256 MiB of logits: long enough for full waves of the
// products, short beside the model's memory.
//
// The row kernel: 256 threads a row, few registers, 64 bytes of shared memory, so 6 blocks an SM: it lives on bandwidth,
// threads read columns next to each other. Deterministic: each thread sums its columns in order, warps and blocks merge in a
// fixed tree.
#include "kernels/cuda/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/device/column_sum.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr float kLog2E = 1.44269504088896341F, kLn2 = 0.69314718055994531F;

/// A kernel's parameter.
struct CrossEntropyView {
  const std::int32_t* targets;
  const StepState* step;   // null: no gradient is wanted
  std::int64_t V, stride;  // stride: from row to row of logits
  float label_smoothing, z_loss;
  std::int32_t ignore_index;
  int task;
};

/// Sum of exp(z - top), with the largest z, both over the columns of a thread, warp or block.
struct LogSum {
  float top, sum;
};
TRADEWIND_DEVICE LogSum merged(LogSum a, LogSum b) {
  const float top = fmaxf(a.top, b.top);
  if (top == -INFINITY) return {top, a.sum + b.sum};
  return {top, a.sum * exp2_approximate((a.top - top) * kLog2E) + b.sum * exp2_approximate((b.top - top) * kLog2E)};
}

template <class T>
TRADEWIND_DEVICE float logit(const float* z, const T* bias, std::int64_t v) {
  const float x = load(z + v);
  return bias == nullptr ? x : x + to_float(load(bias + v));
}

/// Loss of a row, and its gradient with respect to the logits into dz (T; float: z itself). A block a row.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kThreads, 1)
void cross_entropy_kernel(float* loss, float* nll, float* lse, T* dz, const float* z, const T* bias, CrossEntropyView a) {
  struct Part {
    LogSum log;
    float total, unused;
  };
  const std::int64_t n = block_index().x;
  const float* row = z + n * a.stride;
  LogSum mine{-INFINITY, 0.0F};
  float total = 0.0F;
#pragma unroll 4
  for (std::int64_t v = linear_thread(); v < a.V; v += kThreads) {
    const float x = logit(row, bias, v);
    mine = merged(mine, {x, x == x ? 1.0F : x});  // fmaxf passes over a NaN, the sum does not
    total += x;
  }
  for (int bits = 16; bits > 0; bits /= 2) {
    mine = merged(mine, {shuffle_xor(mine.top, bits), shuffle_xor(mine.sum, bits)});
    total += shuffle_xor(total, bits);
  }
  auto* parts = reinterpret_cast<Part*>(shared_arena());
  if (lane() == 0) store(parts + warp(), Part{mine, total, 0.0F});
  sync_block();
  Part all = load(parts);
  for (int w = 1; w < kWarps; ++w) {
    const Part other = load(parts + w);
    all.log = merged(all.log, other.log);
    all.total += other.total;
  }
  const float log_sum = all.log.top + log2f(all.log.sum) * kLn2;
  const std::int32_t target = load(a.targets + n);
  const bool ignored = target == a.ignore_index, inside = target >= 0 && target < a.V;
  const float at_target = ignored ? 0.0F : inside ? logit(row, bias, target) : NAN;
  if (linear_thread() == 0) {
    const float smoothed =
        a.label_smoothing == 0.0F ? 0.0F : a.label_smoothing * (log_sum - all.total / static_cast<float>(a.V));
    const float likelihood = ignored ? 0.0F : (1.0F - a.label_smoothing) * (log_sum - at_target) + smoothed;
    store(loss + n, ignored ? 0.0F : likelihood + a.z_loss * log_sum * log_sum);
    if (nll != nullptr) store(nll + n, likelihood);
    if (lse != nullptr) store(lse + n, log_sum);
  }
  if (a.step == nullptr) return;
  sync_block();  // all have read the target's logit, which is written below
  const float scale = load(&a.step->loss_scale[a.task]) * (inside || ignored ? 1.0F : NAN);
  const float through = scale * (1.0F + 2.0F * a.z_loss * log_sum), even = scale * a.label_smoothing / static_cast<float>(a.V);
#pragma unroll 4
  for (std::int64_t v = linear_thread(); v < a.V; v += kThreads) {
    const float p = exp2_approximate((logit(row, bias, v) - log_sum) * kLog2E);
    const float g = ignored ? 0.0F : through * p - even - (v == target ? scale * (1.0F - a.label_smoothing) : 0.0F);
    store_one(dz + n * a.stride + v, g);
  }
}

template <class T>
struct Pointers {
  T* dx;
  const T *x, *w, *bias;
};

template <class T>
void compute(float* loss, float* nll, float* lse, const Pointers<T>& p, float* dw, float* dbias, std::int64_t N, std::int64_t V,
             std::int64_t C, Write write, CrossEntropyView a, DType dtype, const Launch& launch_at, std::int64_t chunk_bytes) {
  const bool gradient = a.step != nullptr;
  const std::int64_t S = a.stride;
  const std::int64_t most = std::clamp<std::int64_t>(chunk_bytes / (4 * S), 32, std::max<std::int64_t>(N, 32));
  const std::int64_t R = std::min(most, N);
  const ScratchArray<float> z(launch_at, static_cast<std::size_t>(R * S));
  constexpr bool kInPlace = sizeof(T) == 4;
  const ScratchArray<T> narrow(launch_at, kInPlace || !gradient ? 0 : static_cast<std::size_t>(R * S));
  T* dz = nullptr;
  if constexpr (kInPlace)
    dz = z.get();
  else
    dz = narrow.get();
  const std::int32_t* targets = a.targets;
  const auto offset = [](float* q, std::int64_t n) { return q == nullptr ? nullptr : q + n; };
  for (std::int64_t n = 0; n < N; n += R) {
    const std::int64_t rows = std::min(R, N - n);
    const bool adds = n > 0 || write == Write::kAccumulate;
    gemm(z.get(), DType::kFloat32, p.x + n * C, p.w, dtype,
         {.m = rows, .n = V, .k = C, .a_stride = C, .b_stride = C, .c_stride = S, .b_transposed = true}, launch_at);
    a.targets = targets + n;
    launch(cross_entropy_kernel<T>, Index3{static_cast<unsigned>(rows)}, Index3{kThreads}, kWarps * 16, launch_at.stream,
           loss + n, offset(nll, n), offset(lse, n), dz, z.get(), p.bias, a);
    if (p.dx != nullptr)
      gemm(p.dx + n * C, dtype, dz, p.w, dtype, {.m = rows, .n = C, .k = V, .a_stride = S, .b_stride = C, .c_stride = C},
           launch_at);
    if (dw != nullptr)
      gemm(dw, DType::kFloat32, dz, p.x + n * C, dtype,
           {.m = V,
            .n = C,
            .k = rows,
            .a_stride = S,
            .b_stride = C,
            .c_stride = C,
            .a_transposed = true,
            .beta = adds ? 1.0F : 0.0F},
           launch_at);
    if (dbias != nullptr)
      column_sum(dbias, static_cast<const T*>(dz), rows, V, S, adds ? Write::kAccumulate : Write::kAssign, launch_at);
  }
}

}  // namespace

void linear_cross_entropy_cuda(float* loss, float* nll, float* lse, void* dx, float* dw, float* dbias, const void* x,
                               const void* w, const void* bias, const std::int32_t* targets, std::int64_t N, std::int64_t V,
                               std::int64_t C, Write write, const LinearCrossEntropyOptions& o, const Launch& launch_at,
                               std::int64_t chunk_bytes) {
  if (N == 0) {
    if (write == Write::kAccumulate) return;
    if (dw != nullptr) fill_bytes(dw, 0, static_cast<std::size_t>(V * C) * sizeof(float), launch_at.stream);
    if (dbias != nullptr) fill_bytes(dbias, 0, static_cast<std::size_t>(V) * sizeof(float), launch_at.stream);
    return;
  }
  CrossEntropyView a{};
  a.targets = targets;
  a.step = dx != nullptr || dw != nullptr || dbias != nullptr ? launch_at.step : nullptr;
  a.V = V, a.stride = (V + 7) / 8 * 8;
  a.label_smoothing = o.label_smoothing, a.z_loss = o.z_loss;
  a.ignore_index = o.ignore_index, a.task = o.task;
  const auto run = [&](auto element) {
    using T = decltype(element);
    const Pointers<T> p{static_cast<T*>(dx), static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias)};
    compute(loss, nll, lse, p, dw, dbias, N, V, C, write, a, o.dtype, launch_at, chunk_bytes);
  };
  with_element("linear_cross_entropy", o.dtype, run);
}

}  // namespace tradewind::kernels::detail
