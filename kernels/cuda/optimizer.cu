// Optimiser updates and the gradient's squared norm on NVIDIA GPUs. Mathematics and arrays: kernels/optimizer.h.
//
// Bound by memory. adam reads parameter, gradient, m and v and writes three of them: 28 bytes a parameter and 2 more for the
// bfloat16 copy, against about 20 FLOPs. 124 M parameters (GPT-2) are 3.7 GB: 1.1 ms at the H100's 3.35 TB/s, 0.78 at the
// H200's 4.8 TB/s. SGD moves 12 bytes, 20 with momentum, as Adagrad does; the norm 4. Bounds, not measurements: none of this
// has run on a GPU yet. The rules of an element are in optimizer_rules.cuh.
//
// Segments are cut into chunks of kChunk elements that begin at multiples of kChunk, so that vectors of 16 bytes are whole
// wherever a segment begins; the ends go one by one. Chunks are numbered through all segments and block k takes chunks k, k +
// grid, ...: a hundred small segments cost as much as one of their size. Each block looks at 256 segments at a time: a thread
// counts the chunks of one, a scan turns the counts into the numbers where segments end (2 KiB of shared memory), and a binary
// search finds the segment of a chunk. The host need not know the segments, which are in device memory: it needs their size for
// the grid alone (options.elements), and takes four blocks for each SM of an H100 without it.
//
// A thread has one vector of each array in flight, 64 bytes, and 40 registers or fewer: 6 blocks of 256 threads on an SM have
// 96 KiB under way; 25 KiB are what a latency of 600 ns needs at 4.8 TB/s.
//
// What changes from step to step is read from launch.step: Adam's bias corrections are computed in float64 by every thread, 2
// log2(t) products, and folded into scalars as on the CPU. Elements do not meet: no order to depend on.
//
// The norm: a block a kNormBlock elements, each thread its elements in order, lanes and warps in a fixed tree, float64 from the
// first square on (a conversion and an FMA for 4 bytes: a tenth of what an H100 does meanwhile); then one block adds the
// blocks' sums, each thread every 256th in order, the same tree. The bits depend on count alone.
#include "kernels/cuda/optimizer.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/stream.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/optimizer_rules.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kChunk = 2048, kNormBlock = 16384;
constexpr std::int64_t kManyBlocks = 4 * 132;  // what an H100 or H200 holds

/// A kernel's parameter. states: as many as the rule has. copy may be null.
struct UpdateView {
  float *parameter, *states[2];
  const float* gradient;
  BFloat16* copy;
  const Segment* segments;
  std::int64_t segment_count;
  const StepState* step;
};

/// The part of a segment that a block takes at once, and how it is updated.
struct Chunk {
  std::int64_t at, begin, end;  // elements [at, at + kChunk) that are in [begin, end)
  float decay, rate;
};

/// x's sum over this thread and those before it; `parts` has room for kWarps.
TRADEWIND_DEVICE std::int64_t block_inclusive_sum(std::int64_t x, std::int64_t* parts) {
  for (int by = 1; by < kWarpSize; by *= 2) {
    const std::int64_t other = shuffle_up(x, by);
    if (lane() >= by) x += other;
  }
  if (lane() == kWarpSize - 1) store(parts + warp(), x);
  sync_block();
  for (int w = 0; w < warp(); ++w) x += load(parts + w);
  return x;
}

/// Calls body(Chunk) for each chunk of this block. All threads of the block call it.
template <class Body>
TRADEWIND_DEVICE void for_each_chunk(const Segment* segments, std::int64_t count, const Body& body) {
  auto* ends = reinterpret_cast<std::int64_t*>(shared_arena());  // of 256 segments: how many chunks up to and with each
  std::int64_t next = block_index().x;
  for (std::int64_t tile = 0; tile < count; tile += kThreads) {
    std::int64_t chunks = 0;
    if (const std::int64_t i = tile + linear_thread(); i < count) {
      const std::int64_t begin = load(&segments[i].begin), end = load(&segments[i].end);
      if (begin < end) chunks = (end + kChunk - 1) / kChunk - begin / kChunk;
    }
    // The barrier within the sum also keeps these from overtaking a search among those of the tile before.
    store(ends + linear_thread(), block_inclusive_sum(chunks, ends + kThreads));
    sync_block();
    const std::int64_t total = load(ends + kThreads - 1);
    for (; next < total; next += grid_size().x) {
      int low = 0, high = kThreads - 1;  // the first segment that ends behind `next`
      while (low < high) {
        const int middle = (low + high) / 2;
        if (load(ends + middle) > next)
          high = middle;
        else
          low = middle + 1;
      }
      const Segment* s = segments + tile + low;
      const std::int64_t begin = load(&s->begin), before = low == 0 ? 0 : load(ends + low - 1);
      body(Chunk{(begin / kChunk + next - before) * kChunk, begin, load(&s->end), load(&s->weight_decay), load(&s->rate)});
    }
    next -= total;
  }
}

template <bool kAligned, class Rule>
TRADEWIND_DEVICE void update_four(const UpdateView& a, const Rule& rule, const typename Rule::Step& step, const Chunk& c,
                                  std::int64_t i) {
  if (i + 4 <= c.begin || i >= c.end) return;
  // False at a segment's ends, where elements go one by one.
  const bool whole = i >= c.begin && i + 4 <= c.end;
  const auto read = [&](float(&x)[4], const float* from) {
    if (kAligned && whole) {
      const Vector16 v = load(reinterpret_cast<const Vector16*>(from + i));
      for (int j = 0; j < 4; ++j) x[j] = from_bits(v.w[j]);
    } else {
      for (int j = 0; j < 4; ++j) x[j] = i + j >= c.begin && i + j < c.end ? load(from + i + j) : 0.0F;
    }
  };
  const auto write = [&](float* to, const float(&x)[4]) {
    if (kAligned && whole) return store(reinterpret_cast<Vector16*>(to + i), packed<float>(x));
    for (int j = 0; j < 4; ++j)
      if (i + j >= c.begin && i + j < c.end) store(to + i + j, x[j]);
  };
  float p[4], first[4] = {}, second[4] = {}, g[4];
  read(p, a.parameter);
  read(g, a.gradient);
  if (rule.reads_states(step)) {
    if constexpr (Rule::kStates > 0) read(first, a.states[0]);
    if constexpr (Rule::kStates > 1) read(second, a.states[1]);
  }
  for (int j = 0; j < 4; ++j) rule.update(p[j], first[j], second[j], g[j], c.decay, c.rate, step);
  write(a.parameter, p);
  if constexpr (Rule::kStates > 0) write(a.states[0], first);
  if constexpr (Rule::kStates > 1) write(a.states[1], second);
  if (a.copy == nullptr) return;
  if (kAligned && whole) {
    store(reinterpret_cast<std::uint64_t*>(a.copy + i),
          std::uint64_t{pack_bfloat16(p[2], p[3])} << 32 | pack_bfloat16(p[0], p[1]));
    return;
  }
  for (int j = 0; j < 4; ++j)
    if (i + j >= c.begin && i + j < c.end) store(a.copy + i + j, to_bfloat16(p[j]));
}

template <class Rule, bool kAligned>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void update_kernel(UpdateView a, Rule rule) {
  const auto step = rule.at(a.step);
  for_each_chunk(a.segments, a.segment_count, [&](Chunk c) {
    c.rate *= step.rate;
    for (int j = 0; j < kChunk; j += 4 * kThreads) update_four<kAligned>(a, rule, step, c, c.at + j + 4 * linear_thread());
  });
}

/// sums[b] = the sum of the squares of x[b kNormBlock, (b + 1) kNormBlock), as far as it goes.
template <bool kAligned>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void squared_norm_kernel(double* sums, const float* x, std::int64_t count) {
  const std::int64_t begin = std::int64_t{block_index().x} * kNormBlock;
  const int left = static_cast<int>(count - begin < kNormBlock ? count - begin : kNormBlock);
  double sum = 0;
#pragma unroll 4
  for (int i = 4 * linear_thread(); i < kNormBlock; i += 4 * kThreads) {
    float v[4];
    load_values(v, x + begin + i, left - i, kAligned);
    for (const float value : v) sum += static_cast<double>(value) * static_cast<double>(value);
  }
  sum = block_sum<kWarps>(sum, reinterpret_cast<double*>(shared_arena()));
  if (linear_thread() == 0) store(sums + block_index().x, sum);
}

TRADEWIND_KERNEL_BOUNDS(kThreads, 1) void add_up_kernel(double* sum, const double* sums, std::int64_t count) {
  double mine = 0;
  for (std::int64_t i = linear_thread(); i < count; i += kThreads) mine += load(sums + i);
  mine = block_sum<kWarps>(mine, reinterpret_cast<double*>(shared_arena()));
  if (linear_thread() == 0) store(sum, mine);
}

template <class Rule>
void update(const UpdateView& a, const Rule& rule, std::int64_t elements, const Launch& at) {
  // Segments' ends are chunks of their own, but short ones: eight to a block.
  const std::int64_t wanted = elements == 0 ? kManyBlocks : elements / kChunk + a.segment_count / 8;
  const Index3 grid{static_cast<unsigned>(std::clamp<std::int64_t>(wanted, 1, kManyBlocks))};
  constexpr std::size_t kShared = (kThreads + kWarps) * sizeof(std::int64_t);
  const bool aligned = vectors_fit({a.parameter, a.states[0], a.states[1], a.gradient, a.copy}, {}, DType::kFloat32);
  if (aligned)
    launch(update_kernel<Rule, true>, grid, Index3{kThreads}, kShared, at.stream, a, rule);
  else
    launch(update_kernel<Rule, false>, grid, Index3{kThreads}, kShared, at.stream, a, rule);
}

}  // namespace

void adam_update_cuda(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                      std::int64_t segment_count, const AdamOptions& o, const Launch& at) {
  const UpdateView a{.parameter = parameter,
                     .states = {m, v},
                     .gradient = gradient,
                     .copy = static_cast<BFloat16*>(o.copy),
                     .segments = segments,
                     .segment_count = segment_count,
                     .step = at.step};
  update(a, adam_rule(o, false), o.elements, at);
}

void sgd_update_cuda(float* parameter, float* momentum, const float* gradient, const Segment* segments,
                     std::int64_t segment_count, const SgdOptions& o, const Launch& at) {
  const UpdateView a{.parameter = parameter,
                     .states = {momentum, nullptr},
                     .gradient = gradient,
                     .copy = static_cast<BFloat16*>(o.copy),
                     .segments = segments,
                     .segment_count = segment_count,
                     .step = at.step};
  const auto run = [&](auto rule) {
    rule.momentum = o.momentum, rule.one_minus_dampening = 1.0F - o.dampening, rule.nesterov = o.nesterov ? 1 : 0;
    update(a, rule, o.elements, at);
  };
  if (o.momentum != 0.0F)
    run(Sgd<true>{});
  else
    run(Sgd<false>{});
}

void adagrad_update_cuda(float* parameter, float* sum, const float* gradient, const Segment* segments,
                         std::int64_t segment_count, const AdagradOptions& o, const Launch& at) {
  const UpdateView a{.parameter = parameter,
                     .states = {sum, nullptr},
                     .gradient = gradient,
                     .copy = static_cast<BFloat16*>(o.copy),
                     .segments = segments,
                     .segment_count = segment_count,
                     .step = at.step};
  update(a, Adagrad{.epsilon = o.epsilon}, o.elements, at);
}

void squared_norm_cuda(double* sum, const float* x, std::int64_t count, const Launch& at) {
  const std::int64_t blocks = (count + kNormBlock - 1) / kNormBlock;
  const ScratchArray<double> sums(at, static_cast<std::size_t>(blocks));
  const auto run = [&](auto kernel) {
    launch(kernel, Index3{static_cast<unsigned>(blocks)}, Index3{kThreads}, kWarps * sizeof(double), at.stream, sums.get(), x,
           count);
  };
  if (blocks > 0) {
    if (vectors_fit({x}, {}, DType::kFloat32))
      run(squared_norm_kernel<true>);
    else
      run(squared_norm_kernel<false>);
  }
  launch(add_up_kernel, Index3{1}, Index3{kThreads}, kWarps * sizeof(double), at.stream, sum, sums.get(), blocks);
}

}  // namespace tradewind::kernels::detail
