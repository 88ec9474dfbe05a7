// HSTU attention on NVIDIA GPUs of compute capability 8.0 and later: the tiles of attention (attention.cu) without a softmax.
//
// Mathematics, shapes and options: kernels/hstu_attention.h. Products in bf16 with float32 sums, or float32 as three tf32
// products (device/mma_tile.cuh); everything between products is float32. q, k and v of up to 128 columns, both padded to one
// width of 32, 64, 96 or 128.
//
// Work. Forward 2 (D + Dv) FLOPs a visible pair and head, backward 6 D + 4 Dv by count; q, k, v, out once through HBM. At the
// sizes of recommenders (T 200, D and Dv 64) that is 50 FLOPs a byte of bf16 for half of T x T: below the H100's 295 and the
// H200's 206, so bound by memory and by how many blocks there are: 128 such sequences of 4 heads are 52 MB forward, 16 us at
// the H100's 3.35 TB/s and 11 at the H200's 4.8 TB/s. Bounds, not measurements. A pair also costs a sigmoid (two approximate
// instructions of the special function unit, as many as a softmax) and, with a time bias, a logarithm, two comparisons with
// bounds in shared memory and a lookup there; whole seconds are 64-bit.
//
// Forward: a block has 64 queries of a head, a warp 16; keys and values stream through two stages of shared memory. Nothing is
// rescaled and nothing saved: backward computes z again from q and k.
//
// Backward, deterministic, as in attention.cu: dq with queries as rows (three products), dk and dv with keys as rows (four),
// and where gradients of tables are wanted a third kernel with two more products: 9 where 5 would do, for no atomics. That
// third kernel has a fixed number of blocks, each with sums of its own, added up in order by column_sum. Of position: a tile's
// gradients lie in shared memory and a thread adds up a diagonal. Of time: a sum a bucket and thread, so that no two threads
// ever meet, 512 bytes a bucket of shared memory; added up once a block.
//
// Registers, shared memory and occupancy of each kernel: kernels/README.md.
#include "kernels/cuda/hstu_attention.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include "kernels/base/dispatch.h"
#include "kernels/cuda/device/column_sum.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/hstu_attention.cuh"

namespace tradewind::kernels::detail {
namespace {

/// Keys (or queries) of a tile: what fits registers without spilling.
template <class T, int kD>
inline constexpr int kHstuCols = sizeof(T) == 2 && kD <= 64 ? 64 : 32;

HstuView view_of(const HstuAttentionShape& s, const HstuAttentionOptions& o, bool aligned) {
  HstuView a{};
  a.offsets = s.offsets;
  a.q_stride = s.q_stride, a.k_stride = s.k_stride, a.v_stride = s.v_stride, a.out_stride = s.out_stride;
  a.position_bias = o.position_bias, a.time_bias = o.time_bias;
  a.query_times = o.query_times, a.key_times = o.key_times;
  a.scale = o.scale;
  a.B = static_cast<int>(s.B), a.H = static_cast<int>(s.H), a.D = static_cast<int>(s.D), a.Dv = static_cast<int>(s.Dv);
  a.max_length = static_cast<int>(s.max_length);
  a.positions = static_cast<int>(o.positions), a.time_buckets = static_cast<int>(o.time_buckets);
  a.aligned = aligned ? 1 : 0;
  if (o.time_bias != nullptr) std::ranges::copy(TimeBuckets(o.time_buckets).first, a.first);
  return a;
}

bool aligned(const HstuAttentionShape& s, DType dtype, std::initializer_list<const void*> pointers) {
  return vectors_fit(pointers, {s.D, s.Dv, s.q_stride, s.k_stride, s.v_stride, s.out_stride}, dtype);
}

/// Calls f(T{}, padded width) with the types and constants that the kernels are compiled for.
template <class F>
void with_kernel(const char* op, const HstuAttentionShape& s, DType dtype, const F& f) {
  const std::int64_t width = std::max(s.D, s.Dv);
  with_element(op, dtype, [&](auto element) {
    if (width <= 32)
      f(element, std::integral_constant<int, 32>{});
    else if (width <= 64)
      f(element, std::integral_constant<int, 64>{});
    else if (width <= 96)
      f(element, std::integral_constant<int, 96>{});
    else if (width <= 128)
      f(element, std::integral_constant<int, 128>{});
    else
      throw DeviceError(std::string(op) + ": a head size of " + std::to_string(width) +
                        "; the CUDA kernels have up to 128: give the model more heads, or set device = \"cpu\"");
  });
}

std::int64_t row_blocks(const HstuAttentionShape& s) { return (s.max_length + 63) / 64 * s.B * s.H; }

}  // namespace

void hstu_attention_forward_cuda(void* out, const void* q, const void* k, const void* v, const HstuAttentionShape& s,
                                 const HstuAttentionOptions& o, const Launch& launch_at) {
  const char* op = "hstu_attention_forward";
  if (row_blocks(s) == 0) return;
  const HstuView a = view_of(s, o, aligned(s, o.dtype, {out, q, k, v}));
  with_kernel(op, s, o.dtype, [&](auto element, auto d) {
    using T = decltype(element);
    constexpr int kCols = kHstuCols<T, d()>;
    launch(hstu_forward_kernel<T, d(), kCols>, grid_of(op, row_blocks(s)), Index3{kAttentionThreads},
           hstu_forward_bytes<T, d(), kCols>(), launch_at.stream, static_cast<T*>(out), static_cast<const T*>(q),
           static_cast<const T*>(k), static_cast<const T*>(v), a);
  });
}

void hstu_attention_backward_cuda(void* dq, void* dk, void* dv, const HstuBiasGradients& dbias, const void* dout, const void* q,
                                  const void* k, const void* v, const HstuAttentionShape& s, const HstuAttentionOptions& o,
                                  const Launch& launch_at) {
  const char* op = "hstu_attention_backward";
  constexpr std::int64_t kMostParts = 264;  // two blocks for each of the H100's 132 SMs
  const std::int64_t blocks = row_blocks(s), parts = std::min(blocks, kMostParts);
  const HstuView a = view_of(s, o, aligned(s, o.dtype, {dq, dk, dv, dout, q, k, v}));
  const auto floats = [&](const float* wanted, std::int64_t each) {
    return wanted == nullptr ? std::size_t{0} : static_cast<std::size_t>(parts * each);
  };
  const ScratchArray<float> positions(launch_at, floats(dbias.position, o.positions)),
      times(launch_at, floats(dbias.time, o.time_buckets));
  with_kernel(op, s, o.dtype, [&](auto element, auto d) {
    using T = decltype(element);
    constexpr int kCols = kHstuCols<T, d()>;
    if (blocks == 0) return;
    const auto *q_ = static_cast<const T*>(q), *k_ = static_cast<const T*>(k), *v_ = static_cast<const T*>(v);
    const auto* dout_ = static_cast<const T*>(dout);
    const Index3 threads{kAttentionThreads}, grid = grid_of(op, blocks);
    launch(hstu_query_gradient_kernel<T, d(), kCols>, grid, threads, hstu_gradient_bytes<T, d(), kCols>(), launch_at.stream,
           static_cast<T*>(dq), dout_, q_, k_, v_, a);
    launch(hstu_key_gradient_kernel<T, d(), kCols>, grid, threads, hstu_gradient_bytes<T, d(), kCols>(), launch_at.stream,
           static_cast<T*>(dk), static_cast<T*>(dv), dout_, q_, k_, v_, a);
    if (dbias.position != nullptr || dbias.time != nullptr)
      launch(hstu_bias_gradient_kernel<T, d(), kCols>, grid_of(op, parts), threads,
             hstu_bias_bytes<T, d(), kCols>(dbias.time == nullptr ? 0 : o.time_buckets), launch_at.stream, positions.get(),
             times.get(), dout_, q_, k_, v_, a);
  });
  if (dbias.position != nullptr)
    column_sum(dbias.position, static_cast<const float*>(positions.get()), parts, o.positions, o.positions,
               dbias.write_position, launch_at);
  if (dbias.time != nullptr)
    column_sum(dbias.time, static_cast<const float*>(times.get()), parts, o.time_buckets, o.time_buckets, dbias.write_time,
               launch_at);
}

}  // namespace tradewind::kernels::detail
