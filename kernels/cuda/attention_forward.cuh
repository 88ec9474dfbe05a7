// The forward kernel of attention; kernels/cuda/attention.cu tells why it is built so.
#pragma once

#include "kernels/cuda/device/attention_tile.cuh"

namespace tradewind::kernels::detail {

/// Shared memory: a tile of queries, and two stages of a tile of keys and one of values.
template <class T, int kD, int kM, int kCols>
constexpr std::size_t forward_shared_bytes() {
  return static_cast<std::size_t>(64 * kM + 4 * kCols) * kTileStride<T, kD> * sizeof(T);
}

/// The running maximum and sum of each row (Milakov and Gimelshein 2018), rescaling what has been summed so far. Turns scores,
/// in units of log 2, into exp(score - maximum).
template <int kD, int kN>
TRADEWIND_DEVICE void online_softmax(float (&s)[kN][4], float (&out)[kD / 8][4], float (&top)[2], float (&sum)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float best = top[i];
#pragma unroll
    for (int n = 0; n < kN; ++n) best = fmaxf(best, fmaxf(s[n][2 * i], s[n][2 * i + 1]));
    best = fmaxf(best, shuffle_xor(best, 1));
    best = fmaxf(best, shuffle_xor(best, 2));
    const float reference = best == -INFINITY ? 0.0F : best;  // of a row that has seen nothing, every term is exp(-infinity)
    const float rescale = exp2_approximate(top[i] - reference);
    top[i] = best;
    float total = 0.0F;
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        s[n][2 * i + e] = exp2_approximate(s[n][2 * i + e] - reference);
        total += s[n][2 * i + e];
      }
    sum[i] = sum[i] * rescale + total;
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) out[d][2 * i] *= rescale, out[d][2 * i + 1] *= rescale;
  }
}

/// A block has 64 kM queries of one head of one sequence; later queries, which see more keys, come first.
template <class T, int kD, int kM, int kCols, bool kDropout>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void attention_forward_kernel(T* out, float* lse, const T* q, const T* k, const T* v, AttentionView a) {
  constexpr int kRows = 64 * kM, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const int tiles = (a.max_q + kRows - 1) / kRows;
  const int block = static_cast<int>(block_index().x);
  const int tile = tiles - 1 - block % tiles, h = block / tiles % a.H, b = block / tiles / a.H;
  const AttentionSequence s = sequence_of(a, b);
  const int first = tile * kRows;
  if (first >= s.tq) return;
  const int begin = s.first_key(first) / kCols, end = (s.end_key(first, kRows) + kCols - 1) / kCols;
  const bool aligned = a.aligned != 0;

  T* q_tile = reinterpret_cast<T*>(shared_arena());
  T* k_tiles = q_tile + kRows * kStride;
  T* v_tiles = k_tiles + 2 * kCols * kStride;
  const int group = h / (a.H / a.H_kv);
  const T* keys = k + s.k_begin * a.k_stride + group * a.D;
  const T* values = v + s.k_begin * a.v_stride + group * a.D;
  const auto fetch = [&](int j) {
    load_tile<T, kD, kCols, kAttentionThreads>(k_tiles + j % 2 * kCols * kStride, keys, a.k_stride, j * kCols, s.tk, a.D,
                                               aligned);
    load_tile<T, kD, kCols, kAttentionThreads>(v_tiles + j % 2 * kCols * kStride, values, a.v_stride, j * kCols, s.tk, a.D,
                                               aligned);
    copy_async_commit();
  };
  load_tile<T, kD, kRows, kAttentionThreads>(q_tile, q + s.q_begin * a.q_stride + h * a.D, a.q_stride, first, s.tq, a.D,
                                             aligned);
  if (begin < end) fetch(begin);
  copy_async_commit();

  const int g = lane() / 4, t = lane() % 4, warp_row = warp() * 16 * kM;
  const float* bias = bias_of(a, b, h);
  PhiloxKey key{};
  DropoutRow row[kM][2];
  if constexpr (kDropout) {
    key = dropout_key(a, h);
#pragma unroll
    for (int m = 0; m < kM; ++m)
      for (int i = 0; i < 2; ++i) row[m][i] = dropout_row(a, s, first + warp_row + 16 * m + g + 8 * i);
  }
  float acc[kM][kD / 8][4] = {}, top[kM][2], sum[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
    for (int i = 0; i < 2; ++i) top[m][i] = -INFINITY, sum[m][i] = 0.0F;

  for (int j = begin; j < end; ++j) {
    copy_async_wait<0>();
    sync_block();  // tile j is there for all, and all have done with tile j - 1
    if (j + 1 < end) fetch(j + 1);
    float p[kM][kN][4] = {};
    product_nt<T, kD, kM, kN>(p, q_tile + warp_row * kStride, k_tiles + j % 2 * kCols * kStride);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      const int i0 = first + warp_row + 16 * m;
      const bool all_seen = s.all_see(i0, 16, j * kCols, kCols);
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          p[m][n][e] = score_of(a, s, bias, i0 + g + e / 2 * 8, j * kCols + 8 * n + 2 * t + e % 2, all_seen, p[m][n][e]);
      online_softmax<kD, kN>(p[m], acc[m], top[m], sum[m]);
      if constexpr (kDropout) {  // after the sum: what is dropped is probability, not score
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          std::uint32_t kept[2];
          kept_columns<kN>(kept, key, row[m][i], j * kCols, a.threshold);
#pragma unroll
          for (int n = 0; n < kN; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e)
              if ((kept[e] >> n & 1U) == 0) p[m][n][2 * i + e] = 0.0F;
        }
      }
    }
    product_nn<kD, kM, kN>(acc, p, v_tiles + j % 2 * kCols * kStride);
  }
  copy_async_wait<0>();  // the queries of a tile that sees no key

  const float keep_scale = kDropout ? dropout_scale(a.threshold) : 1.0F;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    const int i0 = first + warp_row + 16 * m;
    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float total = sum[m][i];
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
      factor[i] = total == 0.0F ? 0.0F : keep_scale / total;
      const int query = i0 + g + 8 * i;
      if (lse != nullptr && t == 0 && query < s.tq)
        store(lse + (s.q_begin + query) * a.H + h, total == 0.0F ? -INFINITY : (top[m][i] + log2f(total)) * kLn2);
    }
    store_rows<T, kD>(out + s.q_begin * a.out_stride + h * a.D, a.out_stride, i0, s.tq, a.D, aligned, acc[m], factor);
  }
}

}  // namespace tradewind::kernels::detail
