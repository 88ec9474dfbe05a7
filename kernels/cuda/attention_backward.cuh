// The backward kernels of attention; kernels/cuda/attention.cu tells why they are built so.
//
// With P = exp(score - lse), M the dropout mask times its scale, and delta_i = sum_d dout_id out_id:
//   dV = (P M)^T dOut,  dS = P (M (dOut V^T) - delta),  dQ = scale dS K,  dK = scale dS^T Q,  dbias = dS
#pragma once

#include "kernels/cuda/device/attention_tile.cuh"

namespace tradewind::kernels::detail {

/// delta [B, H, max_q], a warp a row.
template <class T>
TRADEWIND_KERNEL_BOUNDS(256, 1)
void attention_delta_kernel(float* delta, const T* dout, const T* out, AttentionView a) {
  const int tiles = (a.max_q + 7) / 8;
  const int block = static_cast<int>(block_index().x);
  const int i = block % tiles * 8 + warp(), h = block / tiles % a.H, b = block / tiles / a.H;
  const AttentionSequence s = sequence_of(a, b);
  if (i >= s.tq) return;
  const std::int64_t at = (s.q_begin + i) * a.out_stride + h * a.D;
  float sum = 0.0F;
  for (int d = lane(); d < a.D; d += kWarpSize) sum += to_float(load(dout + at + d)) * to_float(load(out + at + d));
  for (int bits = 16; bits > 0; bits /= 2) sum += shuffle_xor(sum, bits);
  if (lane() == 0) store(delta + (std::int64_t{b} * a.H + h) * a.max_q + i, sum);
}

/// What a row (or column) of scores needs beside its products.
struct RowStatistics {
  float lse, delta;  // lse in units of log 2
};
TRADEWIND_DEVICE RowStatistics statistics_of(const AttentionView& a, const AttentionSequence& s, const float* lse,
                                             const float* delta, int b, int h, int i) {
  if (i >= s.tq) return {-INFINITY, 0.0F};
  return {load(lse + (s.q_begin + i) * a.H + h) * kLog2E, load(delta + (std::int64_t{b} * a.H + h) * a.max_q + i)};
}
/// exp(score - lse); 0 in a row that sees nothing.
TRADEWIND_DEVICE float probability(float score, float lse) { return lse == -INFINITY ? 0.0F : exp2_approximate(score - lse); }

/// Turns the products s = q k and dp = dout v of 16 queries from i0 and kN groups of 8 keys from j0, rows queries, into dS (in
/// s).
template <int kN, bool kDropout>
TRADEWIND_DEVICE void score_gradient(float (&s)[kN][4], const float (&dp)[kN][4], const AttentionView& a,
                                     const AttentionSequence& q, const float* bias, int i0, int j0,
                                     const RowStatistics (&row)[2], PhiloxKey key, const DropoutRow (&dropout)[2]) {
  const int g = lane() / 4, t = lane() % 4;
  const bool all_seen = q.all_see(i0, 16, j0, 8 * kN);
  const float keep_scale = kDropout ? dropout_scale(a.threshold) : 1.0F;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    std::uint32_t kept[2];
    if constexpr (kDropout) kept_columns<kN>(kept, key, dropout[i], j0, a.threshold);
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& x = s[n][2 * i + e];
        const float p = probability(score_of(a, q, bias, i0 + g + 8 * i, j0 + 8 * n + 2 * t + e, all_seen, x), row[i].lse);
        float through = dp[n][2 * i + e];
        if constexpr (kDropout) through = (kept[e] >> n & 1U) != 0 ? through * keep_scale : 0.0F;
        x = p == 0.0F ? 0.0F : p * (through - row[i].delta);
      }
  }
}

/// Shared memory of the query and bias kernels: tiles of queries and of their dout, and kStages of keys and values.
template <class T, int kD, int kCols, int kStages>
constexpr std::size_t query_shared_bytes() {
  return static_cast<std::size_t>(2 * 64 + 2 * kStages * kCols) * kTileStride<T, kD> * sizeof(T);
}

/// dq: a block has 64 queries of a head and goes through the keys they see, in order.
template <class T, int kD, int kCols, bool kDropout>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void attention_query_gradient_kernel(T* dq, const T* dout, const float* lse, const float* delta, const T* q, const T* k,
                                     const T* v, AttentionView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const int tiles = (a.max_q + kRows - 1) / kRows;
  const int block = static_cast<int>(block_index().x);
  const int tile = tiles - 1 - block % tiles, h = block / tiles % a.H, b = block / tiles / a.H;
  const AttentionSequence s = sequence_of(a, b);
  const int first = tile * kRows;
  if (first >= s.tq) return;
  const int begin = s.first_key(first) / kCols, end = (s.end_key(first, kRows) + kCols - 1) / kCols;
  const bool aligned = a.aligned != 0;

  T* q_tile = reinterpret_cast<T*>(shared_arena());
  T* dout_tile = q_tile + kRows * kStride;
  T* k_tiles = dout_tile + kRows * kStride;
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
  load_tile<T, kD, kRows, kAttentionThreads>(dout_tile, dout + s.q_begin * a.out_stride + h * a.D, a.out_stride, first, s.tq,
                                             a.D, aligned);
  if (begin < end) fetch(begin);
  copy_async_commit();

  const int g = lane() / 4, i0 = first + 16 * warp();
  const float* bias = bias_of(a, b, h);
  PhiloxKey key{};
  DropoutRow dropout[2] = {};
  RowStatistics row[2];
  if constexpr (kDropout) key = dropout_key(a, h);
  for (int i = 0; i < 2; ++i) {
    row[i] = statistics_of(a, s, lse, delta, b, h, i0 + g + 8 * i);
    if constexpr (kDropout) dropout[i] = dropout_row(a, s, i0 + g + 8 * i);
  }
  float acc[1][kD / 8][4] = {};
  for (int j = begin; j < end; ++j) {
    copy_async_wait<0>();
    sync_block();  // tile j is there for all, and all have done with tile j - 1
    if (j + 1 < end) fetch(j + 1);
    float p[1][kN][4] = {}, dp[1][kN][4] = {};
    product_nt<T, kD, 1, kN>(p, q_tile + 16 * warp() * kStride, k_tiles + j % 2 * kCols * kStride);
    product_nt<T, kD, 1, kN>(dp, dout_tile + 16 * warp() * kStride, v_tiles + j % 2 * kCols * kStride);
    score_gradient<kN, kDropout>(p[0], dp[0], a, s, bias, i0, j * kCols, row, key, dropout);
    product_nn<kD, 1, kN>(acc, p, k_tiles + j % 2 * kCols * kStride);
  }
  copy_async_wait<0>();
  store_rows<T, kD>(dq + s.q_begin * a.q_stride + h * a.D, a.q_stride, i0, s.tq, a.D, aligned, acc[0], {a.scale, a.scale});
}

/// Shared memory: tiles of keys and values, two stages of queries and dout, of their statistics, and of the kept keys: a byte a
/// query and counter.
template <class T, int kD, int kCols>
constexpr std::size_t key_shared_bytes() {
  return static_cast<std::size_t>(2 * 64 + 4 * kCols) * kTileStride<T, kD> * sizeof(T) +
         2 * kCols * (sizeof(RowStatistics) + 8);
}

/// dk and dv: a block has 64 keys of a key head and goes through the query heads of its group and the queries that see the
/// keys, in order. Scores are held with keys as rows.
template <class T, int kD, int kCols, bool kDropout>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void attention_key_gradient_kernel(T* dk, T* dv, const T* dout, const float* lse, const float* delta, const T* q, const T* k,
                                   const T* v, AttentionView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const int tiles = (a.max_k + kRows - 1) / kRows;
  const int block = static_cast<int>(block_index().x);
  const int tile = block % tiles, group = block / tiles % a.H_kv, b = block / tiles / a.H_kv;
  const AttentionSequence s = sequence_of(a, b);
  const int first = tile * kRows;
  if (first >= s.k_rows) return;
  const int begin = s.first_query(first) / kCols;
  const int end = first < s.tk ? (s.end_query(first, kRows) + kCols - 1) / kCols : begin;
  const int heads = a.H / a.H_kv, count = end > begin ? (end - begin) * heads : 0;
  const bool aligned = a.aligned != 0;

  T* k_tile = reinterpret_cast<T*>(shared_arena());
  T* v_tile = k_tile + kRows * kStride;
  T* q_tiles = v_tile + kRows * kStride;
  T* dout_tiles = q_tiles + 2 * kCols * kStride;
  auto* statistics = reinterpret_cast<RowStatistics*>(dout_tiles + 2 * kCols * kStride);
  auto* kept = reinterpret_cast<std::uint8_t*>(statistics + 2 * kCols);
  const auto head_of = [&](int step) { return group * heads + step / (end - begin); };
  const auto query_of = [&](int step) { return (begin + step % (end - begin)) * kCols; };
  const auto fetch = [&](int step) {
    const int h = head_of(step), i = query_of(step), stage = step % 2 * kCols;
    load_tile<T, kD, kCols, kAttentionThreads>(q_tiles + stage * kStride, q + s.q_begin * a.q_stride + h * a.D, a.q_stride, i,
                                               s.tq, a.D, aligned);
    load_tile<T, kD, kCols, kAttentionThreads>(dout_tiles + stage * kStride, dout + s.q_begin * a.out_stride + h * a.D,
                                               a.out_stride, i, s.tq, a.D, aligned);
    copy_async_commit();
    const int thread = linear_thread();
    if (thread < kCols) store(statistics + stage + thread, statistics_of(a, s, lse, delta, b, h, i + thread));
    if constexpr (kDropout) {
      const PhiloxKey key = dropout_key(a, h);
      for (int c = thread; c < 8 * kCols; c += kAttentionThreads)
        store(kept + 8 * stage + c,
              static_cast<std::uint8_t>(kept_of(key, dropout_row(a, s, i + c / 8), first / 64, c % 8, a.threshold)));
    }
  };
  load_tile<T, kD, kRows, kAttentionThreads>(k_tile, k + s.k_begin * a.k_stride + group * a.D, a.k_stride, first, s.tk, a.D,
                                             aligned);
  load_tile<T, kD, kRows, kAttentionThreads>(v_tile, v + s.k_begin * a.v_stride + group * a.D, a.v_stride, first, s.tk, a.D,
                                             aligned);
  if (count > 0) fetch(0);
  copy_async_commit();

  const int g = lane() / 4, t = lane() % 4, j0 = first + 16 * warp();
  const float keep_scale = kDropout ? dropout_scale(a.threshold) : 1.0F;
  float acc_k[1][kD / 8][4] = {}, acc_v[1][kD / 8][4] = {};
  for (int step = 0; step < count; ++step) {
    copy_async_wait<0>();
    sync_block();  // this step's tiles are there for all, and all have done with those of the step before
    if (step + 1 < count) fetch(step + 1);
    const int i0 = query_of(step), stage = step % 2 * kCols;
    const float* bias = bias_of(a, b, head_of(step));
    const bool all_seen = s.all_see(i0, kCols, j0, 16);
    float p[1][kN][4] = {}, dp[1][kN][4] = {};
    product_nt<T, kD, 1, kN>(p, k_tile + 16 * warp() * kStride, q_tiles + stage * kStride);
    product_nt<T, kD, 1, kN>(dp, v_tile + 16 * warp() * kStride, dout_tiles + stage * kStride);
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int column = 8 * n + 2 * t + e;
        const RowStatistics row = load(statistics + stage + column);
        std::uint32_t keeps = 0xFF;
        if constexpr (kDropout) keeps = load(kept + 8 * (stage + column) + g);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& x = p[0][n][2 * i + e];
          float& dx = dp[0][n][2 * i + e];
          const float probable = probability(score_of(a, s, bias, i0 + column, j0 + g + 8 * i, all_seen, x), row.lse);
          float keep = 1.0F;
          if constexpr (kDropout) keep = (keeps >> (2 * warp() + i) & 1U) != 0 ? keep_scale : 0.0F;
          dx = probable == 0.0F ? 0.0F : probable * (keep * dx - row.delta);
          x = probable * keep;
        }
      }
    product_nn<kD, 1, kN>(acc_v, p, dout_tiles + stage * kStride);
    product_nn<kD, 1, kN>(acc_k, dp, q_tiles + stage * kStride);
  }
  copy_async_wait<0>();
  store_rows<T, kD>(dk + s.k_begin * a.k_stride + group * a.D, a.k_stride, j0, s.k_rows, a.D, aligned, acc_k[0],
                    {a.scale, a.scale});
  store_rows<T, kD>(dv + s.k_begin * a.v_stride + group * a.D, a.v_stride, j0, s.k_rows, a.D, aligned, acc_v[0], {1.0F, 1.0F});
}

/// dbias += dS: a block has one tile of 64 queries and kCols keys of one plane of the bias, and adds the dS of all sequences
/// and heads that share the plane, in order. Where all queries share a row of the bias (stride 0), it goes through their tiles
/// too.
template <class T, int kD, int kCols, bool kDropout>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void attention_bias_gradient_kernel(float* dbias, const T* dout, const float* lse, const float* delta, const T* q, const T* k,
                                    const T* v, AttentionView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const bool rows_shared = a.bias_stride_q == 0;
  const int planes_h = a.bias_stride_h == 0 ? 1 : a.H, q_tiles = (a.max_q + kRows - 1) / kRows;
  const int k_tiles = (a.max_k + kCols - 1) / kCols, tiles = rows_shared ? 1 : q_tiles;
  const int block = static_cast<int>(block_index().x);
  const int key0 = block % k_tiles * kCols, tile = block / k_tiles % tiles;
  const int plane_h = block / k_tiles / tiles % planes_h, plane_b = block / k_tiles / tiles / planes_h;
  const int b_end = a.bias_stride_b == 0 ? a.B : plane_b + 1, h_end = planes_h == 1 ? a.H : plane_h + 1;
  const bool aligned = a.aligned != 0;

  T* q_tile = reinterpret_cast<T*>(shared_arena());
  T* dout_tile = q_tile + kRows * kStride;
  T* k_tile = dout_tile + kRows * kStride;
  T* v_tile = k_tile + kCols * kStride;
  const int g = lane() / 4, t = lane() % 4;
  float acc[kN][4] = {};
  for (int b = plane_b; b < b_end; ++b) {
    const AttentionSequence s = sequence_of(a, b);
    for (int h = plane_h; h < h_end; ++h)
      for (int row_tile = tile; row_tile < (rows_shared ? q_tiles : tile + 1); ++row_tile) {
        const int first = row_tile * kRows, i0 = first + 16 * warp(), group = h / (a.H / a.H_kv);
        if (first >= s.tq || key0 >= s.end_key(first, kRows) || key0 + kCols <= s.first_key(first)) continue;
        load_tile<T, kD, kRows, kAttentionThreads>(q_tile, q + s.q_begin * a.q_stride + h * a.D, a.q_stride, first, s.tq, a.D,
                                                   aligned);
        load_tile<T, kD, kRows, kAttentionThreads>(dout_tile, dout + s.q_begin * a.out_stride + h * a.D, a.out_stride, first,
                                                   s.tq, a.D, aligned);
        load_tile<T, kD, kCols, kAttentionThreads>(k_tile, k + s.k_begin * a.k_stride + group * a.D, a.k_stride, key0, s.tk,
                                                   a.D, aligned);
        load_tile<T, kD, kCols, kAttentionThreads>(v_tile, v + s.k_begin * a.v_stride + group * a.D, a.v_stride, key0, s.tk,
                                                   a.D, aligned);
        copy_async_commit();
        copy_async_wait<0>();
        sync_block();
        float p[1][kN][4] = {}, dp[1][kN][4] = {};
        product_nt<T, kD, 1, kN>(p, q_tile + 16 * warp() * kStride, k_tile);
        product_nt<T, kD, 1, kN>(dp, dout_tile + 16 * warp() * kStride, v_tile);
        RowStatistics row[2];
        DropoutRow dropout[2] = {};
        PhiloxKey key{};
        if constexpr (kDropout) key = dropout_key(a, h);
        for (int i = 0; i < 2; ++i) {
          row[i] = statistics_of(a, s, lse, delta, b, h, i0 + g + 8 * i);
          if constexpr (kDropout) dropout[i] = dropout_row(a, s, i0 + g + 8 * i);
        }
        score_gradient<kN, kDropout>(p[0], dp[0], a, s, bias_of(a, b, h), i0, key0, row, key, dropout);
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) acc[n][e] += p[0][n][e];
        sync_block();
      }
  }
  float* plane = dbias + plane_b * a.bias_stride_b + plane_h * a.bias_stride_h;
  auto* rows = reinterpret_cast<float*>(shared_arena());  // [64, kCols], where rows are to be summed
  for (int n = 0; n < kN; ++n)
    for (int e = 0; e < 4; ++e) {
      const int row = 16 * warp() + g + e / 2 * 8, column = 8 * n + 2 * t + e % 2;
      float* to = plane + (tile * kRows + row) * a.bias_stride_q + key0 + column;
      if (rows_shared)
        store(rows + row * kCols + column, acc[n][e]);
      else if (acc[n][e] != 0.0F)  // beyond the longest sequence there may be no element
        store(to, load(to) + acc[n][e]);
    }
  if (!rows_shared) return;
  sync_block();
  const int column = linear_thread();
  if (column >= kCols || key0 + column >= a.max_k) return;
  float sum = load(plane + key0 + column);
  for (int row = 0; row < kRows; ++row) sum += load(rows + row * kCols + column);
  store(plane + key0 + column, sum);
}

}  // namespace tradewind::kernels::detail
