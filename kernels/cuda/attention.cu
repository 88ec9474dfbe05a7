// Attention on NVIDIA GPUs of compute capability 8.0 and later: FlashAttention-2 (Dao 2023) on mma.sync, ldmatrix and cp.async.
//
// Mathematics, shapes and options: kernels/attention.h. Products in bf16 with float32 sums, or float32 as three tf32 products
// (device/mma_tile.cuh); everything between products is float32. T queries, S keys, H heads of D, of each sequence.
//
// Work. Forward 4 D FLOPs a visible pair and head; q, k, v, out once through HBM: (4 D sizeof(T) + 4) bytes a row and head. At
// T = S = 8192, D = 128, causal, bf16 that is 2,048 FLOPs a byte, and the H100 (SXM, 989 TFLOP/s dense bf16, 3.35 TB/s) turns
// from memory to arithmetic at 295, the H200 (989 TFLOP/s, 4.8 TB/s) at 206: bound by the tensor cores, of which mma.sync
// reaches about two thirds on Hopper (wgmma alone reaches more): about 300 TFLOP/s after softmax is FlashAttention-2's place.
// Backward 10 D by count, 14 D as done here, see below.
//
// Forward: a block of four warps has 64 (or 128) queries of a head; a warp's 16 (32) rows keep their running maximum, sum and
// output in registers, so that warps never exchange anything. Keys and values stream through two stages of shared memory with
// one barrier a tile. Scores are an mma's result and become the next one's left operand without leaving registers. Long causal
// rows start first.
//
// Backward, deterministic: dq is summed over keys, dk and dv over queries, and a block can hold only one of the two sums.
// Summing dq from many blocks would take atomics (order lost) or an order in which blocks wait for each other. Instead there
// are two kernels, each recomputing scores from q, k and lse: dk, dv with keys as rows (four products), dq with queries as rows
// (three): 7 products where 5 would do, for no atomics, no waiting, no workspace but delta (4 bytes a row and head). Every sum
// has one writer and one order. dbias, rarely wanted, is a kernel of its own with two more products.
//
// Dropout costs a Philox counter for eight elements; dq and forward compute it where the layout of the mask and of mma's result
// meet (a thread's columns of a row are whole counters), dk and dv share it through a byte a counter in shared memory.
//
// Hopper's own instructions (TMA, wgmma; FlashAttention-3's place, Shah et al. 2024: 660 and 474 TFLOP/s at D 128, causal, 8k)
// wait for a GPU to try them on. with_kernel below is the one place that chooses a kernel, so such a pair is chosen there, by
// compute capability, ahead of these; its instructions get wrappers in device/ptx.cuh and their meaning in tests/simt. The
// contract, the layout of the mask and the test list stay. Until then sm_90 runs the code below, compiled for it.
//
// Registers, shared memory and occupancy of each kernel: kernels/README.md.
#include "kernels/cuda/attention.h"

#include <cstdint>
#include <string>
#include <type_traits>

#include "kernels/base/dispatch.h"
#include "kernels/cuda/attention_backward.cuh"
#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels::detail {
namespace {

/// Rows of 16 a warp has, and keys (or queries) of a tile: what fits registers without spilling and leaves two blocks an SM
/// where it can.
template <class T, int kD, bool kDropout>
struct Tiles {
  static constexpr bool kNarrow = sizeof(T) == 2;
  static constexpr int kForwardM = kNarrow && kD <= (kDropout ? 32 : 64) ? 2 : 1;
  static constexpr int kForwardCols = kNarrow ? 64 : 32;
  static constexpr int kQueryCols = kNarrow ? 64 : 32;
  static constexpr int kKeyCols = kNarrow && kD <= 64 ? 64 : 32;
};

bool aligned(const AttentionShape& s, DType dtype, std::initializer_list<const void*> pointers) {
  return vectors_fit(pointers, {s.D, s.q_stride, s.k_stride, s.v_stride, s.out_stride}, dtype);
}

AttentionView view_of(const AttentionShape& s, const AttentionOptions& o, const Launch& launch, bool is_aligned) {
  AttentionView a{};
  a.q_offsets = s.q_offsets, a.k_offsets = s.k_offsets, a.k_lengths = s.k_lengths;
  a.q_stride = s.q_stride, a.k_stride = s.k_stride, a.v_stride = s.v_stride, a.out_stride = s.out_stride;
  a.bias = o.bias;
  a.bias_stride_b = o.bias_stride_b, a.bias_stride_h = o.bias_stride_h, a.bias_stride_q = o.bias_stride_q;
  a.sample = o.keys.sample, a.position = o.keys.position;
  a.step = launch.step;
  a.purpose = o.dropout.purpose;
  a.window = o.window;
  a.scale = o.scale;
  a.threshold = dropout_threshold(o.dropout.p);
  a.B = static_cast<int>(s.B), a.H = static_cast<int>(s.H), a.H_kv = static_cast<int>(s.H_kv), a.D = static_cast<int>(s.D);
  a.max_q = static_cast<int>(s.max_q), a.max_k = static_cast<int>(s.max_k);
  a.causal = o.causal ? 1 : 0, a.aligned = is_aligned ? 1 : 0;
  return a;
}

std::int64_t tiles_of(std::int64_t rows, int tile) { return (rows + tile - 1) / tile; }

/// Calls f(T{}, D padded, dropout) with the types and constants that the kernels are compiled for.
template <class F>
void with_kernel(const char* op, const AttentionShape& s, const AttentionOptions& o, const F& f) {
  const auto with_dropout = [&](auto element, auto d) {
    if (dropout_threshold(o.dropout.p) > 0)
      f(element, d, std::true_type{});
    else
      f(element, d, std::false_type{});
  };
  const auto with_head_size = [&](auto element) {
    if (s.D <= 32)
      with_dropout(element, std::integral_constant<int, 32>{});
    else if (s.D <= 64)
      with_dropout(element, std::integral_constant<int, 64>{});
    else if (s.D <= 96)
      with_dropout(element, std::integral_constant<int, 96>{});
    else if (s.D <= 128)
      with_dropout(element, std::integral_constant<int, 128>{});
    else
      throw DeviceError(std::string(op) + ": a head size of " + std::to_string(s.D) +
                        "; the CUDA kernels have up to 128: give the model more heads, or set device = \"cpu\"");
  };
  with_element(op, o.dtype, with_head_size);
}

}  // namespace

void attention_forward_cuda(void* out, float* lse, const void* q, const void* k, const void* v, const AttentionShape& s,
                            const AttentionOptions& o, const Launch& launch_at) {
  if (s.B == 0 || s.max_q == 0) return;
  const AttentionView a = view_of(s, o, launch_at, aligned(s, o.dtype, {out, q, k, v}));
  with_kernel("attention_forward", s, o, [&](auto element, auto d, auto dropout) {
    using T = decltype(element);
    using Tile = Tiles<T, d(), dropout()>;
    const Index3 grid = grid_of("attention_forward", tiles_of(s.max_q, 64 * Tile::kForwardM) * s.B * s.H);
    launch(attention_forward_kernel<T, d(), Tile::kForwardM, Tile::kForwardCols, dropout()>, grid, Index3{kAttentionThreads},
           forward_shared_bytes<T, d(), Tile::kForwardM, Tile::kForwardCols>(), launch_at.stream, static_cast<T*>(out), lse,
           static_cast<const T*>(q), static_cast<const T*>(k), static_cast<const T*>(v), a);
  });
}

void attention_backward_cuda(void* dq, void* dk, void* dv, float* dbias, const void* dout, const void* out, const float* lse,
                             const void* q, const void* k, const void* v, const AttentionShape& s, const AttentionOptions& o,
                             const Launch& launch_at) {
  if (s.B == 0) return;
  const char* op = "attention_backward";
  const AttentionView a = view_of(s, o, launch_at, aligned(s, o.dtype, {dq, dk, dv, dout, out, q, k, v}));
  const ScratchArray<float> delta(launch_at, static_cast<std::size_t>(s.B * s.H * s.max_q));
  with_kernel(op, s, o, [&](auto element, auto d, auto dropout) {
    using T = decltype(element);
    using Tile = Tiles<T, d(), dropout()>;
    const auto *q_ = static_cast<const T*>(q), *k_ = static_cast<const T*>(k), *v_ = static_cast<const T*>(v);
    const auto* dout_ = static_cast<const T*>(dout);
    const Index3 threads{kAttentionThreads};
    if (s.max_q > 0) {
      launch(attention_delta_kernel<T>, grid_of(op, tiles_of(s.max_q, 8) * s.B * s.H), Index3{256}, 0, launch_at.stream,
             delta.get(), dout_, static_cast<const T*>(out), a);
      launch(attention_query_gradient_kernel<T, d(), Tile::kQueryCols, dropout()>,
             grid_of(op, tiles_of(s.max_q, 64) * s.B * s.H), threads, query_shared_bytes<T, d(), Tile::kQueryCols, 2>(),
             launch_at.stream, static_cast<T*>(dq), dout_, lse, delta.get(), q_, k_, v_, a);
    }
    if (s.max_k > 0)
      launch(attention_key_gradient_kernel<T, d(), Tile::kKeyCols, dropout()>,
             grid_of(op, tiles_of(s.max_k, 64) * s.B * s.H_kv), threads, key_shared_bytes<T, d(), Tile::kKeyCols>(),
             launch_at.stream, static_cast<T*>(dk), static_cast<T*>(dv), dout_, lse, delta.get(), q_, k_, v_, a);
    if (dbias != nullptr && s.max_q > 0 && s.max_k > 0) {
      const std::int64_t planes = (o.bias_stride_b == 0 ? 1 : s.B) * (o.bias_stride_h == 0 ? 1 : s.H);
      const std::int64_t tiles = (o.bias_stride_q == 0 ? 1 : tiles_of(s.max_q, 64)) * tiles_of(s.max_k, Tile::kQueryCols);
      constexpr int kPadded = d() <= 64 ? 64 : 128;  // rarely wanted: fewer kernels to compile
      launch(attention_bias_gradient_kernel<T, kPadded, Tile::kQueryCols, dropout()>, grid_of(op, planes * tiles), threads,
             query_shared_bytes<T, kPadded, Tile::kQueryCols, 1>(), launch_at.stream, dbias, dout_, lse, delta.get(), q_, k_,
             v_, a);
    }
  });
}

}  // namespace tradewind::kernels::detail
