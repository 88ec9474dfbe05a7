// Logits exist for one chunk of rows at a time: product with w, softmax in place, gradient in place, then the products that
// make dx and dw out of it. 6 N C V FLOPs bound it; the softmax reads each logit once from the cache the product left it in.
//
// Where dw is small, each thread takes rows of its own, a chunk at a time, and adds to a dw of its own (the first thread to the
// caller's); these are merged in thread order. A private dw would not fit where V C is large, nor would a thread's chunk stay
// in its cache: there all threads share the products of one larger chunk. Either way the split depends on sizes and threads
// alone.
#include "kernels/cpu/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/parallel.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_cross_entropy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/softmax-inl.h"

#ifndef TRADEWIND_LINEAR_CROSS_ENTROPY_ONCE
#define TRADEWIND_LINEAR_CROSS_ENTROPY_ONCE
namespace tradewind::kernels::cpu {
/// Floats from a row of logits to the next: rows begin at cache lines, or every vector of a row lies in two.
inline std::int64_t logit_stride(std::int64_t V) { return (V + 15) / 16 * 16; }
}  // namespace tradewind::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace vec = tradewind::kernels::HWY_NAMESPACE;

// z are the logits of rows [begin, end) without bias, logit_stride(V) apart; they become their gradient if one is wanted.
void cross_entropy_rows(float* z, const CrossEntropyProblem& p, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const bool gradient = p.gradient();
  const double s = p.label_smoothing;
  for (std::int64_t n = begin; n < end; ++n, z += logit_stride(p.V)) {
    const std::int32_t t = p.targets[n];
    const bool ignored = t == p.ignore_index;
    if (ignored) {
      p.loss[n] = 0;
      if (p.nll != nullptr) p.nll[n] = 0;
      if (p.lse == nullptr) {
        if (gradient) std::fill_n(z, p.V, 0.0F);
        continue;
      }
    }
    if (p.bias != nullptr) {
      std::int64_t v = 0;
      for (; v + L <= p.V; v += L) hn::StoreU(hn::Add(hn::LoadU(d, z + v), hn::LoadU(d, p.bias + v)), d, z + v);
      for (; v < p.V; ++v) z[v] += p.bias[v];
    }
    const float most = vec::row_max(z, p.V);
    const double mean = s != 0 ? vec::row_sum(z, p.V) / static_cast<double>(p.V) : 0.0;
    const double z_t = ignored ? 0.0 : z[t];
    const double sum = gradient ? vec::row_exp_sum<true>(z, z, p.V, most) : vec::row_exp_sum<false>(z, z, p.V, most);
    const double lse = most + std::log(sum);
    if (p.lse != nullptr) p.lse[n] = static_cast<float>(lse);
    if (ignored) {
      if (gradient) std::fill_n(z, p.V, 0.0F);
      continue;
    }
    const double nll = lse - (1 - s) * z_t - s * mean;
    p.loss[n] = static_cast<float>(nll + p.z_loss * lse * lse);
    if (p.nll != nullptr) p.nll[n] = static_cast<float>(nll);
    if (!gradient) continue;
    // d loss / d z[v] = softmax[v] (1 + 2 z_loss lse) - s / V - (1 - s) [v = t]
    const double factor = p.scale * (1 + 2 * p.z_loss * lse) / sum;
    vec::row_scale_add(z, z, p.V, static_cast<float>(factor), static_cast<float>(-p.scale * s / static_cast<double>(p.V)));
    z[t] -= static_cast<float>(p.scale * (1 - s));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(cross_entropy_rows);

/// Logits and gradients of rows [begin, end). dw and dbias are those of the problem, or a thread's own.
void chunk(const CrossEntropyProblem& p, float* z, float* dw, float* dbias, Write write, std::int64_t begin, std::int64_t end,
           int threads) {
  const std::int64_t rows = end - begin;
  const float* x = p.x + begin * p.C;
  const std::int64_t ldz = logit_stride(p.V);
  gemm(z, ldz, {x, p.C}, {p.w, p.C, true}, rows, p.V, p.C, Write::kAssign, threads);
  parallel_pieces(rows, 1, threads, [&](std::int64_t from, std::int64_t to) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_rows)(z + from * ldz, p, begin + from, begin + to);
  });
  if (p.dx != nullptr) gemm(p.dx + begin * p.C, p.C, {z, ldz}, {p.w, p.C}, rows, p.C, p.V, Write::kAssign, threads);
  if (dw != nullptr) gemm(dw, p.C, {z, ldz, true}, {x, p.C}, p.V, p.C, rows, write, threads);
  if (dbias == nullptr) return;
  parallel_pieces(p.V, 1024, threads, [&](std::int64_t from, std::int64_t to) {
    if (write == Write::kAssign) std::fill_n(dbias + from, to - from, 0.0F);
    add_column_sums(dbias + from, z + from, rows, to - from, ldz);
  });
}

/// All rows in order, every product by all threads.
void shared_chunks(const CrossEntropyProblem& p, std::int64_t chunk_rows, const Launch& launch) {
  const ScratchArray<float> z(launch, static_cast<std::size_t>(chunk_rows * logit_stride(p.V)));
  Write write = p.write;
  for (std::int64_t n = 0; n < p.N; n += chunk_rows) {
    chunk(p, z.get(), p.dw, p.dbias, write, n, std::min(p.N, n + chunk_rows), launch.threads);
    write = Write::kAccumulate;
  }
}

/// How N rows are cut: each thread's own rows into chunks, or all of them.
struct Cut {
  std::int64_t part_rows, chunk_rows;  // part_rows 0: chunks of all threads
};

Cut cut_of(std::int64_t N, std::int64_t V, std::int64_t C, int threads) {
  constexpr std::int64_t kPrivateBytes = std::int64_t{64} << 20;  // of all threads' dw
  constexpr std::int64_t kPrivateLogits = 384 * 1024;             // of one thread's chunk
  constexpr std::int64_t kSharedLogits = 16 * 1024 * 1024;        // of a chunk of all threads: 64 MiB
  constexpr std::int64_t kLeastRows = 32;                         // below which a product packs more than it multiplies
  const std::int64_t part_rows = (N + threads - 1) / threads;
  const std::int64_t own_bytes = (threads - 1) * (V * C) * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t private_rows = std::min({part_rows, std::int64_t{512}, kPrivateLogits / V / 32 * 32});
  if (own_bytes <= kPrivateBytes && private_rows >= std::min(part_rows, kLeastRows)) return {part_rows, private_rows};
  return {0, std::min(N, std::max(kLeastRows, kSharedLogits / V / 32 * 32))};
}

/// As many parts as have rows: three threads and four rows make two parts of two.
std::int64_t parts_of(std::int64_t N, std::int64_t part_rows) { return (N + part_rows - 1) / part_rows; }

/// Each thread its own `part_rows` rows and its own gradient of the weights.
void private_chunks(const CrossEntropyProblem& p, std::int64_t part_rows, std::int64_t chunk_rows, const Launch& launch) {
  const auto parts = static_cast<int>(parts_of(p.N, part_rows));
  const std::int64_t weights = p.dw != nullptr ? p.V * p.C : 0, biases = p.dbias != nullptr ? p.V : 0;
  const std::int64_t own = weights + biases;
  const ScratchArray<float> z(launch, static_cast<std::size_t>(parts * chunk_rows * logit_stride(p.V)));
  const ScratchArray<float> partial(launch, static_cast<std::size_t>((parts - 1) * own));
  parallel_ranges(p.N, part_rows, parts, [&](std::int64_t begin, std::int64_t end, int part) {
    float* mine = part == 0 ? nullptr : partial.get() + (part - 1) * own;
    float* dw = part == 0 || weights == 0 ? p.dw : mine;
    float* dbias = part == 0 || biases == 0 ? p.dbias : mine + weights;
    Write write = part == 0 ? p.write : Write::kAssign;
    for (std::int64_t n = begin; n < end; n += chunk_rows) {
      chunk(p, z.get() + part * chunk_rows * logit_stride(p.V), dw, dbias, write, n, std::min(end, n + chunk_rows), 1);
      write = Write::kAccumulate;
    }
  });
  parallel_pieces(own, 4096, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (int part = 1; part < parts; ++part) {
      const float* from = partial.get() + (part - 1) * own;
      for (std::int64_t i = begin; i < std::min(end, weights); ++i) p.dw[i] += from[i];
      for (std::int64_t i = std::max(begin, weights); i < end; ++i) p.dbias[i - weights] += from[i];
    }
  });
}

}  // namespace

void linear_cross_entropy(const CrossEntropyProblem& p, const Launch& launch) {
  if (p.N == 0) {
    if (p.write == Write::kAssign && p.dw != nullptr) std::fill_n(p.dw, p.V * p.C, 0.0F);
    if (p.write == Write::kAssign && p.dbias != nullptr) std::fill_n(p.dbias, p.V, 0.0F);
    return;
  }
  const Cut cut = cut_of(p.N, p.V, p.C, launch.threads);
  if (cut.part_rows > 0)
    private_chunks(p, cut.part_rows, cut.chunk_rows, launch);
  else
    shared_chunks(p, cut.chunk_rows, launch);
}

std::int64_t linear_cross_entropy_workspace(std::int64_t N, std::int64_t V, std::int64_t C, int threads) {
  if (N == 0) return 0;
  const Cut cut = cut_of(N, V, C, threads);
  const std::int64_t parts = cut.part_rows > 0 ? parts_of(N, cut.part_rows) : 1;
  const std::int64_t own = cut.part_rows > 0 ? (parts - 1) * (V * C + V) : 0;
  return static_cast<std::int64_t>(sizeof(float)) * (parts * cut.chunk_rows * logit_stride(V) + own);
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
