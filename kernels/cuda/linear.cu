// A linear layer on NVIDIA GPUs: products by cuBLASLt, bias and activation in the product's epilogue where it has them, else in
// one pass of ours. Mathematics and shapes: kernels/linear.h. x [M, K], w [N, K], y [M, N].
//
//   y = act(x W^T + b)       pre, what the activation was given, by the same kernel
//   dX = dY W
//   dW = dY^T X, float32     db = sum of dY's rows, device/column_sum.cuh
//
// 2 M N K FLOPs each, and (M K + N K + M N) elements: at M = 16384, N = 3072, K = 768 in bfloat16 592 FLOPs a byte, where the
// H100 (989 TFLOP/s, 3.35 TB/s) turns from memory to arithmetic at 295 and the H200 (4.8 TB/s) at 206: bound by the tensor
// cores, 78 us. The same in float32, true float32 products (67 TFLOP/s, no tensor cores): 1.15 ms. Bounds, not measurements.
// What an epilogue saves is no trifle: a pass that reads pre and writes y moves 4 bytes an element, 201 MB or 42 us on an H200.
// So ReLU, and GELU by tanh with or without pre in bfloat16, stay in the product; in float32 GELU is ours, as nobody says how
// exact cuBLASLt's is. The pass lives on bandwidth: 8 elements a thread, 16-byte loads, one exponential and one reciprocal
// each.
//
// db reads dY once more: 21 us beside the 234 of the three products. cuBLASLt could sum it beside dW (its epilogue BGRADA), but
// not add it to what is there, which accumulation over micro-batches needs.
//
// With launch.stable_rows a product of ours takes cuBLASLt's place, which picks its kernel, and so its order, by M: 64 x 64
// tiles, one order of K for every row, tensor cores (float32 as three tf32 products), no second stage of loads. For serving,
// whose few rows leave it waiting for W: bound by N K elements of memory, of which it reaches a part.
//
// cuBLASLt's epilogues want whole vectors of 16 bytes; where a stride or pointer is none, the product is plain and the pass
// adds the bias too. Deterministic: cuBLASLt gives the same bits for the same shape on the same GPU and version as long as one
// stream uses its workspace, which is ours, of this call.
#include "kernels/cuda/linear.h"

#include "kernels/cuda/device/activations.cuh"
#include "kernels/cuda/device/column_sum.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/device/mma_tile.cuh"

namespace tradewind::kernels::detail {
namespace {

/// pre = z + bias, y = act(z + bias), row by row. y or pre may be z; pre and bias may be null.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kElementThreads, 1)
void bias_activation_kernel(T* y, T* pre, const T* z, const T* bias, LinearShape s, Activation activation, RowSplit split,
                            int aligned) {
  const RowPlace at = row_place(split);
  if (at.row >= s.M || at.column >= s.N) return;
  const std::int64_t place = at.row * s.ldy + at.column, left = s.N - at.column;
  float values[kPacket];
  load_values(values, z + place, left, aligned != 0);
  if (bias != nullptr) {
    float added[kPacket];
    load_values(added, bias + at.column, left, aligned != 0);
#pragma unroll
    for (int i = 0; i < kPacket; ++i) values[i] += added[i];
  }
  if (pre != nullptr) store_values(pre + place, values, left, aligned != 0);
  with_activation(activation, [&](auto kind) {
#pragma unroll
    for (int i = 0; i < kPacket; ++i) values[i] = decltype(kind)::value(values[i]);
  });
  store_values(y + place, values, left, aligned != 0);
}

constexpr int kTile = 64, kStableThreads = 128;  // rows and columns of a block, and the depth of a step; four warps
template <class T>
constexpr std::size_t kStableBytes = std::size_t{2} * kTile* kTileStride<T, kTile> * sizeof(T);

/// z = x W^T, each row's bits a matter of that row and W alone: every sum runs over K in the same steps, whatever M.
template <class T>
TRADEWIND_KERNEL_BOUNDS(kStableThreads, 1)
void stable_product_kernel(T* z, const T* x, const T* w, LinearShape s, int across, int aligned) {
  constexpr int kColumns = kTile / 8;
  const auto block = static_cast<std::int64_t>(block_index().x);
  const std::int64_t m0 = block / across * kTile, n0 = block % across * kTile;
  const auto rows = static_cast<int>(s.M - m0 < kTile ? s.M - m0 : kTile),
             columns = static_cast<int>(s.N - n0 < kTile ? s.N - n0 : kTile);
  auto* x_tile = reinterpret_cast<T*>(shared_arena());
  T* w_tile = x_tile + kTile * kTileStride<T, kTile>;
  float acc[1][kColumns][4] = {};
  for (std::int64_t k = 0; k < s.K; k += kTile) {
    const auto depth = static_cast<int>(s.K - k < kTile ? s.K - k : kTile);
    load_tile<T, kTile, kTile, kStableThreads>(x_tile, x + m0 * s.ldx + k, s.ldx, 0, rows, depth, aligned != 0);
    load_tile<T, kTile, kTile, kStableThreads>(w_tile, w + n0 * s.K + k, s.K, 0, columns, depth, aligned != 0);
    copy_async_commit();
    copy_async_wait<0>();
    sync_block();
    product_nt<T, kTile, 1, kColumns>(acc, x_tile + warp() * 16 * kTileStride<T, kTile>, w_tile);
    sync_block();
  }
#pragma unroll
  for (int n = 0; n < kColumns; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = warp() * 16 + lane() / 4 + 8 * (e / 2), column = 8 * n + 2 * (lane() % 4) + e % 2;
      if (row < rows && column < columns) store_one(z + (m0 + row) * s.ldy + n0 + column, acc[0][n][e]);
    }
}

bool fit(const LinearShape& s, DType dtype, std::initializer_list<const void*> pointers) {
  return vectors_fit(pointers, {s.N, s.K, s.ldx, s.ldy}, dtype);
}

}  // namespace

void linear_forward_cuda(void* y, void* pre, const void* x, const void* w, const void* bias, const LinearShape& s,
                         const LinearOptions& o, const Launch& launch_at) {
  constexpr const char* kOp = "linear_forward";
  const bool aligned = fit(s, o.dtype, {y, pre, x, w, bias});
  const bool stable = launch_at.stable_rows;
  const bool fused = !stable && aligned && gemm_has(o.activation, pre != nullptr, o.dtype);
  const GemmShape shape{
      .m = s.M, .n = s.N, .k = s.K, .a_stride = s.ldx, .b_stride = s.K, .c_stride = s.ldy, .b_transposed = true};
  GemmEpilogue epilogue;
  if (aligned && !stable) epilogue.bias = bias;
  if (fused) epilogue.activation = o.activation, epilogue.before = pre;
  void* product = fused || pre == nullptr ? y : pre;
  with_element(kOp, o.dtype, [&](auto element) {
    using T = decltype(element);
    if (stable) {
      const std::int64_t across = (s.N + kTile - 1) / kTile;
      launch(stable_product_kernel<T>, grid_of(kOp, (s.M + kTile - 1) / kTile * across), Index3{kStableThreads},
             kStableBytes<T>, launch_at.stream, static_cast<T*>(product), static_cast<const T*>(x), static_cast<const T*>(w), s,
             static_cast<int>(across), aligned ? 1 : 0);
    } else {
      gemm(product, o.dtype, x, w, o.dtype, shape, launch_at, epilogue);
    }
    const bool adds = bias != nullptr && epilogue.bias == nullptr;
    if (fused || (!adds && o.activation == Activation::kNone && pre == nullptr)) return;
    const RowSplit split = row_split(s.N);
    launch(bias_activation_kernel<T>, row_grid(kOp, s.M, split), Index3{kElementThreads}, 0, launch_at.stream,
           static_cast<T*>(y), adds ? static_cast<T*>(pre) : nullptr, static_cast<const T*>(product),
           adds ? static_cast<const T*>(bias) : nullptr, s, o.activation, split, aligned ? 1 : 0);
  });
}

void linear_backward_input_cuda(void* dx, const void* dy, const void* w, const LinearShape& s, Write write,
                                const LinearOptions& o, const Launch& launch_at) {
  with_element("linear_backward_input", o.dtype, [&](auto) {
    gemm(dx, o.dtype, dy, w, o.dtype,
         {.m = s.M,
          .n = s.K,
          .k = s.N,
          .a_stride = s.ldy,
          .b_stride = s.K,
          .c_stride = s.ldx,
          .beta = write == Write::kAccumulate ? 1.0F : 0.0F},
         launch_at);
  });
}

void linear_backward_weight_cuda(float* dw, float* dbias, const void* dy, const void* x, const LinearShape& s, Write write,
                                 const LinearOptions& o, const Launch& launch_at) {
  if (s.M == 0) {
    if (write == Write::kAccumulate) return;
    fill_bytes(dw, 0, static_cast<std::size_t>(s.N * s.K) * sizeof(float), launch_at.stream);
    if (dbias != nullptr) fill_bytes(dbias, 0, static_cast<std::size_t>(s.N) * sizeof(float), launch_at.stream);
    return;
  }
  with_element("linear_backward_weight", o.dtype, [&](auto element) {
    using T = decltype(element);
    gemm(dw, DType::kFloat32, dy, x, o.dtype,
         {.m = s.N,
          .n = s.K,
          .k = s.M,
          .a_stride = s.ldy,
          .b_stride = s.ldx,
          .c_stride = s.K,
          .a_transposed = true,
          .beta = write == Write::kAccumulate ? 1.0F : 0.0F},
         launch_at);
    if (dbias != nullptr) column_sum(dbias, static_cast<const T*>(dy), s.M, s.N, s.ldy, write, launch_at);
  });
}

}  // namespace tradewind::kernels::detail
