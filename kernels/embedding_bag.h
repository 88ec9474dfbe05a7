// Embedding bags: the lookups of all tables of a recommender's batch in one call, their gradient, and the update of the rows
// that were looked up, fused into the gradient or not.
//
// T tables stand on top of each other in one array [V, C]: table t is rows [row_offsets[t], row_offsets[t + 1]). A batch is B
// samples; bag (t, b) is ids[bag_offsets[t B + b], bag_offsets[t B + b + 1]), ids within table t, N in all.
//
//   sum   out[b, t] = sum over the bag of w_n table[t][id_n]        w_n = 1 without weights        torch.nn.EmbeddingBag
//   mean  the same / number of ids in the bag                        (not / sum of the weights)
//   max   out[b, t, c] = the largest of the bag; argmax[b, t, c] = its place in the bag, the first of equals; no weights
// An empty bag gives 0 (argmax -1). out [B, T, C] has `stride` elements from sample to sample, so that it may be part of a
// wider row: what DLRM's interaction reads is written in place.
//
// Backward, with s_n = w_n (mean: / number of ids):
//   gradient of a row = sum over the n that looked it up of s_n dout[bag of n]      max: of dout where argmax says n, else 0
//   dweights[n] (=, +=) <dout[bag of n], row of n> (mean: / number of ids)
// A row's terms are added in ascending n, in chunks of kBagChunk; then the chunks' sums, ascending. So the bits depend on that
// row's terms alone: not on threads, other rows or the launch. No atomics. Saved for backward: ids and offsets; max: argmax.
//
// Update of a row with gradient g, rate = step->learning_rate * options.rate, g scaled by step->gradient_scale first:
//   SGD               row -= rate g
//   row-wise Adagrad  moment += mean of g^2 over C;  row -= rate g / (sqrt(moment) + epsilon)    one moment a row, for rows
//   that
//                     were looked up: FBGEMM's EXACT_ROWWISE_ADAGRAD, Mudigere et al. 2022; no weight decay
// Fused (embedding_bag_update) and in two steps (embedding_bag_backward, row_update) it has the same bits; fused, values are
// never written. Rows in bfloat16 are computed in float32 and rounded to nearest even: an update below half a unit is lost.
//
// dtype: of table, out and dout alike; weights, values, moments are float32. CPU: float32. CUDA: float32 and bfloat16, C up to
// 1024; 16-byte loads where C, stride and pointers are multiples of 16 bytes, one by one and slower elsewhere.
// An id outside its table: on a CPU DataError with table, sample and id. On CUDA nobody looks: it is as a row of zeros that
// cannot be the largest, gets no gradient and no dweights but 0, and still counts for the mean.
// Bound by memory: forward N (C + 1) elements read, B T C written; backward N C read, rows C written; fused: rows read and
// written instead. And the sort by rows: about 40 bytes an id on a CPU, 150 on CUDA.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

enum class BagMode : std::uint8_t { kSum, kMean, kMax };

/// Terms of a row's gradient that are added up by themselves.
inline constexpr std::int64_t kBagChunk = 128;

/// The tables and a batch's bags. Arrays are in device memory where the kernel runs there. V, N and B T are below 2^31.
struct BagShape {
  std::int64_t T, B, C, V, N;       // V: rows of all tables, N: ids of all bags
  const std::int64_t* row_offsets;  // [T + 1], 0 to V
  const std::int64_t* bag_offsets;  // [T B + 1], 0 to N
  const std::int32_t* ids;          // [N]
  std::int64_t stride;              // of out and dout, at least T C
};

struct BagOptions {
  BagMode mode = BagMode::kSum;
  const float* weights = nullptr;  // [N]; sum and mean
  DType dtype = DType::kFloat32;
};

/// The rows that a batch looked up, ascending, as rows of the stacked array, and what they get. Device memory.
struct BagGradient {
  std::int32_t* rows;    // [up to min(N, V)]
  float* values;         // [up to min(N, V), C]
  std::int64_t* begins;  // [T + 1]: table t has entries [begins[t], begins[t + 1]); begins[T] is how many there are
};

enum class RowUpdateKind : std::uint8_t { kSgd, kRowwiseAdagrad };

struct RowUpdateOptions {
  RowUpdateKind kind = RowUpdateKind::kRowwiseAdagrad;
  float epsilon = 1e-8F;
  float rate = 1.0F;
};

/// argmax [B, T, C] int32: max only, and there it may be null where nobody goes backward.
void embedding_bag_forward(void* out, std::int32_t* argmax, const void* table, const BagShape& shape, const BagOptions& options,
                           const Launch& launch);

/// The gradient is assigned; dweights (null: not wanted) is written as told. `table` is read for dweights alone.
void embedding_bag_backward(const BagGradient& gradient, float* dweights, const void* dout, const void* table,
                            const std::int32_t* argmax, const BagShape& shape, const BagOptions& options, Write write_dweights,
                            const Launch& launch);

/// Updates the rows that the batch looked up. dweights are those of the table before. moment [V]: row-wise Adagrad, else null.
/// Needs launch.step.
void embedding_bag_update(void* table, float* moment, float* dweights, const void* dout, const std::int32_t* argmax,
                          const BagShape& shape, const BagOptions& options, Write write_dweights,
                          const RowUpdateOptions& update, const Launch& launch);

/// Updates rows[i] of table [V, C] with values[i] for i below *count, at most `capacity`; rows differ from each other. *count
/// is device memory, such as begins[T]. An index outside [0, V) throws DataError on a CPU and is passed over on CUDA. Needs
/// launch.step.
void row_update(void* table, float* moment, const std::int32_t* rows, const float* values, const std::int64_t* count,
                std::int64_t capacity, std::int64_t V, std::int64_t C, DType dtype, const RowUpdateOptions& update,
                const Launch& launch);

}  // namespace tradewind::kernels
