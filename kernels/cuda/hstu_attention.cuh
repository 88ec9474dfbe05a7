// The kernels of HSTU attention; kernels/cuda/hstu_attention.cu tells why they are built so.
#pragma once

#include "kernels/cuda/device/hstu_tile.cuh"

namespace tradewind::kernels::detail {

/// Shared memory of the forward kernel: tables, a tile of queries, two stages of keys and values.
template <class T, int kD, int kCols>
constexpr std::size_t hstu_forward_bytes() {
  return kHstuTableBytes + static_cast<std::size_t>(64 + 4 * kCols) * kTileStride<T, kD> * sizeof(T);
}

/// A block has 64 queries of one head of one sequence; later queries, which see more keys, come first.
template <class T, int kD, int kCols>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void hstu_forward_kernel(T* out, const T* q, const T* k, const T* v, HstuView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const int tiles = (a.max_length + kRows - 1) / kRows;
  const int block = static_cast<int>(block_index().x);
  const int first = (tiles - 1 - block % tiles) * kRows, h = block / tiles % a.H, b = block / tiles / a.H;
  const HstuSequence s = hstu_sequence(a, b);
  if (first >= s.rows) return;
  const int end = ((first + kRows < s.rows ? first + kRows : s.rows) + kCols - 1) / kCols;
  const bool aligned = a.aligned != 0;

  const HstuTables tables = load_hstu_tables(a);
  T* q_tile = reinterpret_cast<T*>(shared_arena() + kHstuTableBytes);
  T* k_tiles = q_tile + kRows * kStride;
  T* v_tiles = k_tiles + 2 * kCols * kStride;
  const T* keys = k + s.begin * a.k_stride + h * a.D;
  const T* values = v + s.begin * a.v_stride + h * a.Dv;
  const auto fetch = [&](int j) {
    load_tile<T, kD, kCols, kAttentionThreads>(k_tiles + j % 2 * kCols * kStride, keys, a.k_stride, j * kCols, s.rows, a.D,
                                               aligned);
    load_tile<T, kD, kCols, kAttentionThreads>(v_tiles + j % 2 * kCols * kStride, values, a.v_stride, j * kCols, s.rows, a.Dv,
                                               aligned);
    copy_async_commit();
  };
  load_tile<T, kD, kRows, kAttentionThreads>(q_tile, q + s.begin * a.q_stride + h * a.D, a.q_stride, first, s.rows, a.D,
                                             aligned);
  fetch(0);

  const int g = lane() / 4, t = lane() % 4, i0 = first + 16 * warp();
  const std::int64_t now[2] = {hstu_time(a, a.query_times, s, i0 + g), hstu_time(a, a.query_times, s, i0 + g + 8)};
  float acc[1][kD / 8][4] = {};
  for (int j = 0; j < end; ++j) {
    copy_async_wait<0>();
    sync_block();  // tile j is there for all, and all have done with tile j - 1
    if (j + 1 < end) fetch(j + 1);
    float p[1][kN][4] = {};
    product_nt<T, kD, 1, kN>(p, q_tile + 16 * warp() * kStride, k_tiles + j % 2 * kCols * kStride);
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int key = j * kCols + 8 * n + 2 * t + e;
        const std::int64_t then = hstu_time(a, a.key_times, s, key);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int query = i0 + g + 8 * i;
          float& x = p[0][n][2 * i + e];
          if (query >= s.rows || key > query) {
            x = 0.0F;
            continue;
          }
          const float score = hstu_score(a, tables, x, query, key, now[i] - then);
          x = score * hstu_sigmoid(score);
        }
      }
    product_nn<kD, 1, kN>(acc, p, v_tiles + j % 2 * kCols * kStride);
  }
  store_rows<T, kD>(out + s.begin * a.out_stride + h * a.Dv, a.out_stride, i0, s.rows, a.Dv, aligned, acc[0],
                    {a.scale, a.scale});
}

/// Shared memory of the query and key kernels: tables, two tiles of 64 rows, two stages of two tiles.
template <class T, int kD, int kCols>
constexpr std::size_t hstu_gradient_bytes() {
  return kHstuTableBytes + static_cast<std::size_t>(2 * 64 + 4 * kCols) * kTileStride<T, kD> * sizeof(T);
}

/// dq: a block has 64 queries of a head and goes through the keys they see, in order.
template <class T, int kD, int kCols>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void hstu_query_gradient_kernel(T* dq, const T* dout, const T* q, const T* k, const T* v, HstuView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const int tiles = (a.max_length + kRows - 1) / kRows;
  const int block = static_cast<int>(block_index().x);
  const int first = (tiles - 1 - block % tiles) * kRows, h = block / tiles % a.H, b = block / tiles / a.H;
  const HstuSequence s = hstu_sequence(a, b);
  if (first >= s.rows) return;
  const int end = ((first + kRows < s.rows ? first + kRows : s.rows) + kCols - 1) / kCols;
  const bool aligned = a.aligned != 0;

  const HstuTables tables = load_hstu_tables(a);
  T* q_tile = reinterpret_cast<T*>(shared_arena() + kHstuTableBytes);
  T* dout_tile = q_tile + kRows * kStride;
  T* k_tiles = dout_tile + kRows * kStride;
  T* v_tiles = k_tiles + 2 * kCols * kStride;
  const T* keys = k + s.begin * a.k_stride + h * a.D;
  const T* values = v + s.begin * a.v_stride + h * a.Dv;
  const auto fetch = [&](int j) {
    load_tile<T, kD, kCols, kAttentionThreads>(k_tiles + j % 2 * kCols * kStride, keys, a.k_stride, j * kCols, s.rows, a.D,
                                               aligned);
    load_tile<T, kD, kCols, kAttentionThreads>(v_tiles + j % 2 * kCols * kStride, values, a.v_stride, j * kCols, s.rows, a.Dv,
                                               aligned);
    copy_async_commit();
  };
  load_tile<T, kD, kRows, kAttentionThreads>(q_tile, q + s.begin * a.q_stride + h * a.D, a.q_stride, first, s.rows, a.D,
                                             aligned);
  load_tile<T, kD, kRows, kAttentionThreads>(dout_tile, dout + s.begin * a.out_stride + h * a.Dv, a.out_stride, first, s.rows,
                                             a.Dv, aligned);
  fetch(0);

  const int g = lane() / 4, i0 = first + 16 * warp();
  const std::int64_t now[2] = {hstu_time(a, a.query_times, s, i0 + g), hstu_time(a, a.query_times, s, i0 + g + 8)};
  float acc[1][kD / 8][4] = {};
  for (int j = 0; j < end; ++j) {
    copy_async_wait<0>();
    sync_block();  // tile j is there for all, and all have done with tile j - 1
    if (j + 1 < end) fetch(j + 1);
    float z[1][kN][4] = {}, dz[1][kN][4] = {};
    product_nt<T, kD, 1, kN>(z, q_tile + 16 * warp() * kStride, k_tiles + j % 2 * kCols * kStride);
    product_nt<T, kD, 1, kN>(dz, dout_tile + 16 * warp() * kStride, v_tiles + j % 2 * kCols * kStride);
    hstu_score_gradient<kN>(z[0], dz[0], a, tables, s, i0, j * kCols, now);
    product_nn<kD, 1, kN>(acc, dz, k_tiles + j % 2 * kCols * kStride);
  }
  store_rows<T, kD>(dq + s.begin * a.q_stride + h * a.D, a.q_stride, i0, s.rows, a.D, aligned, acc[0], {a.scale, a.scale});
}

/// dk and dv: a block has 64 keys of a head and goes through the queries that see them, in order. Scores are held with keys as
/// rows.
template <class T, int kD, int kCols>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void hstu_key_gradient_kernel(T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v, HstuView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>;
  const int tiles = (a.max_length + kRows - 1) / kRows;
  const int block = static_cast<int>(block_index().x);
  const int first = block % tiles * kRows, h = block / tiles % a.H, b = block / tiles / a.H;
  const HstuSequence s = hstu_sequence(a, b);
  if (first >= s.rows) return;
  const int begin = first / kCols, end = (s.rows + kCols - 1) / kCols;
  const bool aligned = a.aligned != 0;

  const HstuTables tables = load_hstu_tables(a);
  T* k_tile = reinterpret_cast<T*>(shared_arena() + kHstuTableBytes);
  T* v_tile = k_tile + kRows * kStride;
  T* q_tiles = v_tile + kRows * kStride;
  T* dout_tiles = q_tiles + 2 * kCols * kStride;
  const auto fetch = [&](int j) {
    load_tile<T, kD, kCols, kAttentionThreads>(q_tiles + j % 2 * kCols * kStride, q + s.begin * a.q_stride + h * a.D,
                                               a.q_stride, j * kCols, s.rows, a.D, aligned);
    load_tile<T, kD, kCols, kAttentionThreads>(dout_tiles + j % 2 * kCols * kStride, dout + s.begin * a.out_stride + h * a.Dv,
                                               a.out_stride, j * kCols, s.rows, a.Dv, aligned);
    copy_async_commit();
  };
  load_tile<T, kD, kRows, kAttentionThreads>(k_tile, k + s.begin * a.k_stride + h * a.D, a.k_stride, first, s.rows, a.D,
                                             aligned);
  load_tile<T, kD, kRows, kAttentionThreads>(v_tile, v + s.begin * a.v_stride + h * a.Dv, a.v_stride, first, s.rows, a.Dv,
                                             aligned);
  fetch(begin);

  const int g = lane() / 4, t = lane() % 4, j0 = first + 16 * warp();
  const std::int64_t then[2] = {hstu_time(a, a.key_times, s, j0 + g), hstu_time(a, a.key_times, s, j0 + g + 8)};
  float acc_k[1][kD / 8][4] = {}, acc_v[1][kD / 8][4] = {};
  for (int j = begin; j < end; ++j) {
    copy_async_wait<0>();
    sync_block();  // tile j is there for all, and all have done with tile j - 1
    if (j + 1 < end) fetch(j + 1);
    float p[1][kN][4] = {}, dz[1][kN][4] = {};
    product_nt<T, kD, 1, kN>(p, k_tile + 16 * warp() * kStride, q_tiles + j % 2 * kCols * kStride);
    product_nt<T, kD, 1, kN>(dz, v_tile + 16 * warp() * kStride, dout_tiles + j % 2 * kCols * kStride);
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int query = j * kCols + 8 * n + 2 * t + e;
        const std::int64_t now = hstu_time(a, a.query_times, s, query);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int key = j0 + g + 8 * i;
          float &x = p[0][n][2 * i + e], &dx = dz[0][n][2 * i + e];
          if (query >= s.rows || key > query) {
            x = dx = 0.0F;
            continue;
          }
          const float score = hstu_score(a, tables, x, query, key, now - then[i]), sigmoid = hstu_sigmoid(score);
          x = score * sigmoid;
          dx *= silu_slope(sigmoid, x);
        }
      }
    product_nn<kD, 1, kN>(acc_v, p, dout_tiles + j % 2 * kCols * kStride);
    product_nn<kD, 1, kN>(acc_k, dz, q_tiles + j % 2 * kCols * kStride);
  }
  store_rows<T, kD>(dk + s.begin * a.k_stride + h * a.D, a.k_stride, j0, s.rows, a.D, aligned, acc_k[0], {a.scale, a.scale});
  store_rows<T, kD>(dv + s.begin * a.v_stride + h * a.Dv, a.v_stride, j0, s.rows, a.Dv, aligned, acc_v[0], {a.scale, a.scale});
}

/// Shared memory of the bias kernel: tables, one tile of rows and one of columns, the gradients of a tile of scores, and a sum
/// a bucket and thread.
template <class T, int kD, int kCols>
constexpr std::size_t hstu_bias_bytes(std::int64_t time_buckets) {
  return kHstuTableBytes + static_cast<std::size_t>(64 + kCols) * kTileStride<T, kD> * sizeof(T) +
         64 * (kCols + 1) * sizeof(float) + static_cast<std::size_t>(time_buckets * kAttentionThreads) * sizeof(float);
}

/// Gradients of the tables: block `part` of the grid goes through tiles of 64 queries part, part + parts, ... of all heads and
/// sequences, and leaves its sums in row `part` of dposition [parts, positions] and dtime [parts, time_buckets]; either may be
/// null.
template <class T, int kD, int kCols>
TRADEWIND_KERNEL_BOUNDS(kAttentionThreads, 1)
void hstu_bias_gradient_kernel(float* dposition, float* dtime, const T* dout, const T* q, const T* k, const T* v, HstuView a) {
  constexpr int kRows = 64, kN = kCols / 8, kStride = kTileStride<T, kD>, kPitch = kCols + 1;
  const int tiles = (a.max_length + kRows - 1) / kRows, thread = linear_thread();
  const std::int64_t part = block_index().x, parts = grid_size().x, items = std::int64_t{tiles} * a.H * a.B;
  const bool aligned = a.aligned != 0;

  const HstuTables tables = load_hstu_tables(a);
  T* row_tile = reinterpret_cast<T*>(shared_arena() + kHstuTableBytes);
  T* column_tile = row_tile + kRows * kStride;
  auto* gradients = reinterpret_cast<float*>(column_tile + kCols * kStride);  // [64, kPitch]
  float* sums = gradients + kRows * kPitch;                                   // [time_buckets, threads]
  float* positions = dposition == nullptr ? nullptr : dposition + part * a.positions;
  if (positions != nullptr)
    for (int i = thread; i < a.positions; i += kAttentionThreads) store(positions + i, 0.0F);
  if (dtime != nullptr)
    for (int b = 0; b < a.time_buckets; ++b) store(sums + b * kAttentionThreads + thread, 0.0F);

  const int g = lane() / 4, t = lane() % 4;
  for (std::int64_t item = part; item < items; item += parts) {
    const int first = static_cast<int>(item % tiles) * kRows, i0 = first + 16 * warp();
    const int h = static_cast<int>(item / tiles % a.H), b = static_cast<int>(item / tiles / a.H);
    const HstuSequence s = hstu_sequence(a, b);
    if (first >= s.rows) continue;
    const std::int64_t now[2] = {hstu_time(a, a.query_times, s, i0 + g), hstu_time(a, a.query_times, s, i0 + g + 8)};
    for (int j0 = 0; j0 < first + kRows && j0 < s.rows; j0 += kCols) {
      float z[1][kN][4] = {}, dz[1][kN][4] = {};
      const auto fetch = [&](const T* rows, std::int64_t row_stride, const T* columns, std::int64_t column_stride, int width) {
        sync_block();  // all have done with what is in the tiles
        load_tile<T, kD, kRows, kAttentionThreads>(row_tile, rows + s.begin * row_stride + h * width, row_stride, first, s.rows,
                                                   width, aligned);
        load_tile<T, kD, kCols, kAttentionThreads>(column_tile, columns + s.begin * column_stride + h * width, column_stride,
                                                   j0, s.rows, width, aligned);
        copy_async_commit();
        copy_async_wait<0>();
        sync_block();
      };
      fetch(q, a.q_stride, k, a.k_stride, a.D);
      product_nt<T, kD, 1, kN>(z, row_tile + 16 * warp() * kStride, column_tile);
      fetch(dout, a.out_stride, v, a.v_stride, a.Dv);
      product_nt<T, kD, 1, kN>(dz, row_tile + 16 * warp() * kStride, column_tile);
      hstu_score_gradient<kN>(z[0], dz[0], a, tables, s, i0, j0, now);
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = 16 * warp() + g + e / 2 * 8, column = 8 * n + 2 * t + e % 2, query = first + row, key = j0 + column;
          const float x = dz[0][n][e] * a.scale;
          if (positions != nullptr) store(gradients + row * kPitch + column, x);
          if (dtime == nullptr || query >= s.rows || key > query) continue;
          const int bucket = hstu_bucket(a, tables, now[e / 2] - hstu_time(a, a.key_times, s, key));
          float* sum = sums + bucket * kAttentionThreads + thread;
          store(sum, load(sum) + x);
        }
      if (positions == nullptr) continue;
      sync_block();
      const int diagonal = thread - (kCols - 1),
                back = first - j0 + diagonal;  // row - column of this thread's pairs; query - key
      if (diagonal >= kRows || back < 0 || back >= a.positions) continue;
      float sum = 0.0F;
      for (int row = diagonal < 0 ? 0 : diagonal; row < kRows && row - diagonal < kCols; ++row)
        sum += load(gradients + row * kPitch + row - diagonal);
      float* to = positions + a.positions - 1 - back;
      store(to, load(to) + sum);
    }
  }
  if (dtime == nullptr) return;
  sync_block();
  for (int b = thread; b < a.time_buckets; b += kAttentionThreads) {
    float sum = 0.0F;
    for (int i = 0; i < kAttentionThreads; ++i)  // each thread begins elsewhere: another bank
      sum += load(sums + b * kAttentionThreads + (i + b) % kAttentionThreads);
    store(dtime + part * a.time_buckets + b, sum);
  }
}

}  // namespace tradewind::kernels::detail
