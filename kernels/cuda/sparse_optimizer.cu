// Sparse optimiser updates on NVIDIA GPUs. Mathematics and arrays: kernels/sparse_optimizer.h; the rules of an element are
// those of the dense updates, optimizer_rules.cuh.
//
// Bound by memory, at random rows: n rows of C channels and k states of that size move n C (12 + 8 k) bytes, 2 n C more for the
// bfloat16 copy; row-wise Adagrad 12 n C and 8 n, of which whole sectors of 32 bytes come, twice. 100,000 rows of 64 channels
// with adam: 179 MB, 54 us at the H100's 3.35 TB/s and 37 at the H200's 4.8. Bounds, not measurements.
//
// A group of lanes (device/bag_row.cuh) as wide as a row has vectors of 16 bytes takes a row, one vector of each array a lane
// at a time: 64 bytes in flight a thread with adam. Rows of 64 channels are two to a warp, each array's row two lines of 128
// bytes. The grid is what the GPU holds; groups go on to other rows, so that Adam's bias corrections (float64, 2 log2(t)
// products) are computed once a thread and not once a row. Rows are distinct: one writer an element, no order to depend on.
#include "kernels/cuda/sparse_optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/device/bag_row.cuh"
#include "kernels/cuda/optimizer_rules.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr std::int64_t kManyBlocks = 4 * 132;  // of 256 threads: what an H100 or H200 holds with 64 registers

/// A kernel's parameter. states: as many as the rule has. copy may be null.
struct SparseView {
  float *table, *states[2];
  const std::int32_t* rows;
  const float* values;
  std::int64_t count, V;
  BFloat16* copy;
  const StepState* step;
  std::int32_t C;
};

/// body(row, its place in the table, its gradient) for each row of this group.
template <class S, class Body>
TRADEWIND_DEVICE void for_rows(const SparseView& a, const Body& body) {
  const std::int64_t groups = static_cast<std::int64_t>(grid_size().x) * (kGroupThreads / S::kLanes);
  for (std::int64_t i = group_index<S>(); i < a.count; i += groups) {
    const std::int32_t row = load(a.rows + i);
    if (row >= 0 && row < a.V) body(row, static_cast<std::int64_t>(row) * a.C, a.values + i * a.C);
  }
}

template <class S>
TRADEWIND_DEVICE void load_four(float (&x)[4], const float* row, int c, int C) {
  const Vector16 v = load_vector<S::kAligned>(row, c, C);
#pragma unroll
  for (int j = 0; j < 4; ++j) x[j] = from_bits(v.w[j]);
}

template <class S>
TRADEWIND_DEVICE void write_copy(const SparseView& a, std::int64_t place, int c, const float (&p)[4]) {
  if (a.copy == nullptr) return;
  if constexpr (S::kAligned) {
    if (c < a.C)
      store(reinterpret_cast<std::uint64_t*>(a.copy + place + c),
            std::uint64_t{pack_bfloat16(p[2], p[3])} << 32 | pack_bfloat16(p[0], p[1]));
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (c + j < a.C) store(a.copy + place + c + j, to_bfloat16(p[j]));
  }
}

template <class S, class Rule>
TRADEWIND_KERNEL_BOUNDS(kGroupThreads, S::kBlocks <= 4 ? 4 : 2)
void sparse_update_kernel(SparseView a, Rule rule) {
  const auto step = rule.at(a.step);
  for_rows<S>(a, [&](std::int32_t, std::int64_t place, const float* gradient) {
#pragma unroll
    for (int i = 0; i < S::kBlocks; ++i) {
      const int c = channel_of<S>(i);
      float p[4], first[4] = {}, second[4] = {}, g[4];
      load_four<S>(p, a.table + place, c, a.C);
      load_four<S>(g, gradient, c, a.C);
      if constexpr (Rule::kStates > 0) load_four<S>(first, a.states[0] + place, c, a.C);
      if constexpr (Rule::kStates > 1) load_four<S>(second, a.states[1] + place, c, a.C);
#pragma unroll
      for (int j = 0; j < 4; ++j) rule.update(p[j], first[j], second[j], g[j], 0.0F, step.rate, step);
      store_vector<S::kAligned>(a.table + place, c, a.C, p);
      if constexpr (Rule::kStates > 0) store_vector<S::kAligned>(a.states[0] + place, c, a.C, first);
      if constexpr (Rule::kStates > 1) store_vector<S::kAligned>(a.states[1] + place, c, a.C, second);
      write_copy<S>(a, place, c, p);
    }
  });
}

template <class S>
TRADEWIND_KERNEL_BOUNDS(kGroupThreads, S::kBlocks <= 4 ? 4
                                       : S::kAligned   ? 2
                                                       : 1)
void rowwise_adagrad_kernel(SparseView a, float epsilon) {
  const float scale = load(&a.step->gradient_scale), learning_rate = load(&a.step->learning_rate);
  for_rows<S>(a, [&](std::int32_t row, std::int64_t place, const float* gradient) {
    float g[S::kChannels], square = 0;
    load_floats<S>(g, gradient, a.C);
#pragma unroll
    for (float& x : g) x *= scale, square += x * x;
    square = group_sum<S>(square);
    // One lane reads and writes the sum; the others hear of it.
    float sum = group_lane<S>() == 0 ? load(a.states[0] + row) : 0.0F;
    sum = shuffle(sum, lane() - group_lane<S>(), group_mask<S>()) + square / static_cast<float>(a.C);
    if (group_lane<S>() == 0) store(a.states[0] + row, sum);
    const float rate = learning_rate / (sqrtf(sum) + epsilon);
#pragma unroll
    for (int i = 0; i < S::kBlocks; ++i) {
      const int c = channel_of<S>(i);
      float p[4];
      load_four<S>(p, a.table + place, c, a.C);
#pragma unroll
      for (int j = 0; j < 4; ++j) p[j] -= rate * g[4 * i + j];
      store_vector<S::kAligned>(a.table + place, c, a.C, p);
      write_copy<S>(a, place, c, p);
    }
  });
}

}  // namespace

void sparse_update_cuda(float* table, float* first, float* second, const SparseRows& gradient, std::int64_t V, std::int64_t C,
                        const SparseUpdateOptions& o, const Launch& at) {
  constexpr const char* kOp = "sparse_update";
  const SparseView a{.table = table,
                     .states = {first, second},
                     .rows = gradient.rows,
                     .values = gradient.values,
                     .count = gradient.count,
                     .V = V,
                     .copy = static_cast<BFloat16*>(o.copy),
                     .step = at.step,
                     .C = static_cast<std::int32_t>(C)};
  // A row of row-wise sums has no channels: it need not be aligned.
  const bool of_rows = o.rule == SparseRule::kRowwiseAdagrad;
  const bool aligned = vectors_fit({table, of_rows ? nullptr : first, second, gradient.values, o.copy}, {C}, DType::kFloat32);
  with_row_of<float>(kOp, C, aligned, [&](auto shape) {
    using S = decltype(shape);
    const Index3 needed = group_grid(kOp, gradient.count, S::kLanes);
    const Index3 grid{std::min(needed.x, static_cast<unsigned>(kManyBlocks))}, threads{kGroupThreads};
    const auto run = [&](auto rule) { launch(sparse_update_kernel<S, decltype(rule)>, grid, threads, 0, at.stream, a, rule); };
    switch (o.rule) {
      case SparseRule::kSgd: return run(Sgd<false>{.momentum = 0.0F, .one_minus_dampening = 1.0F, .nesterov = 0});
      case SparseRule::kAdagrad: return run(Adagrad{.epsilon = o.epsilon});
      case SparseRule::kRowwiseAdagrad: return launch(rowwise_adagrad_kernel<S>, grid, threads, 0, at.stream, a, o.epsilon);
      case SparseRule::kAdam: return run(adam_rule({.beta1 = o.beta1, .beta2 = o.beta2, .epsilon = o.epsilon}, true));
    }
  });
}

}  // namespace tradewind::kernels::detail
