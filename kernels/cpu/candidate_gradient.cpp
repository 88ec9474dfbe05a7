// Two ways, as in embedding.cpp. Where the table is small beside the terms, threads own columns and walk all terms in order:
// the table's columns stay in a cache, a source row is read once for all its terms. Else the terms are sorted by id and summed
// row by row, which is the backward pass of an embedding bag; its sums are then put where the rows are.
#include "kernels/cpu/candidate_gradient.h"

#include <algorithm>

#include "kernels/base/bag_chunks.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/embedding_bag.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/radix_sort.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/candidate_gradient.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace vec = tradewind::kernels::HWY_NAMESPACE;

/// Columns [0, width) of every term; dw and source begin at the first of them.
void walk_terms(float* dw, const float* source, const RowTerms& terms, std::int64_t C, std::int64_t width) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t b = 0, i = 0; b < terms.B; ++b, source += C)
    for (const std::int64_t end = i + terms.per; i < end; ++i) {
      if (terms.ids[i] < 0) continue;
      float* HWY_RESTRICT row = dw + terms.ids[i] * C;
      const auto weight = hn::Set(d, terms.weights[i]);
      std::int64_t c = 0;
      for (; c + L <= width; c += L)
        hn::StoreU(hn::MulAdd(weight, hn::LoadU(d, source + c), hn::LoadU(d, row + c)), d, row + c);
      if (c == width) continue;
      const auto k = static_cast<std::size_t>(width - c);
      vec::store_n(hn::MulAdd(weight, vec::load_n(d, source + c, k), vec::load_n(d, row + c, k)), d, row + c, k);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(walk_terms);

/// The terms that are there, side by side.
class LiveTerms {
 public:
  LiveTerms(const RowTerms& terms, const Launch& launch)
      : offsets_(launch, static_cast<std::size_t>(terms.B) + 1),
        ids_(launch, static_cast<std::size_t>(terms.count())),
        weights_(launch, static_cast<std::size_t>(terms.count())) {
    std::int64_t live = 0;
    for (std::int64_t b = 0, i = 0; b < terms.B; ++b) {
      offsets_.get()[b] = live;
      for (const std::int64_t end = i + terms.per; i < end; ++i)
        if (terms.ids[i] >= 0) ids_.get()[live] = terms.ids[i], weights_.get()[live++] = terms.weights[i];
    }
    offsets_.get()[terms.B] = live;
  }
  const std::int64_t* offsets() const { return offsets_.get(); }
  const std::int32_t* ids() const { return ids_.get(); }
  const float* weights() const { return weights_.get(); }

 private:
  ScratchArray<std::int64_t> offsets_;
  ScratchArray<std::int32_t> ids_;
  ScratchArray<float> weights_;
};

}  // namespace

std::int64_t sum_terms_sparse(std::int32_t* rows, float* values, const RowTerms& terms, std::int64_t V, std::int64_t C,
                              const Launch& launch) {
  const LiveTerms live(terms, launch);
  const std::int64_t all_rows[] = {0, V}, count = live.offsets()[terms.B];
  if (count == 0) return 0;
  const BagShape shape{.T = 1,
                       .B = terms.B,
                       .C = C,
                       .V = V,
                       .N = count,
                       .row_offsets = all_rows,
                       .bag_offsets = live.offsets(),
                       .ids = live.ids(),
                       .stride = C};
  std::int64_t begins[2] = {0, 0};
  embedding_bag_backward({.rows = rows, .values = values, .begins = begins}, nullptr, terms.source, nullptr, nullptr, shape,
                         {.weights = live.weights()}, Write::kAssign, launch);
  return begins[1];
}

/// LiveTerms, and what embedding_bag_terms.h sorts.
std::int64_t sum_terms_workspace(std::int64_t B, std::int64_t terms, std::int64_t C, int threads) {
  const std::int64_t live = 8 * (B + 1) + 8 * terms, sorted = 4 * (7 * terms + 1), partial = 4 * partial_slots(terms) * C;
  const std::int64_t of_thread = 4 * (static_cast<std::int64_t>(kRadixBuckets) + (C + 15) / 16 * 16);
  return live + sorted + partial + of_thread * threads;
}

void sum_terms(float* dw, const RowTerms& terms, std::int64_t V, std::int64_t C, Write write, const Launch& launch) {
  if (write == Write::kAssign)
    parallel_pieces(V * C, kGrain, launch.threads,
                    [&](std::int64_t begin, std::int64_t end) { std::fill(dw + begin, dw + end, 0.0F); });
  if (terms.count() >= 4 * V) {
    const int threads = terms.count() * C < 2 * kGrain ? 1 : launch.threads;
    parallel_ranges(C, 16, threads, [&](std::int64_t begin, std::int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(walk_terms)(dw + begin, terms.source + begin, terms, C, end - begin);
    });
    return;
  }
  const auto most = static_cast<std::size_t>(std::min(terms.count(), V));
  const ScratchArray<std::int32_t> rows(launch, most);
  const ScratchArray<float> values(launch, most * static_cast<std::size_t>(C));
  const std::int64_t count = sum_terms_sparse(rows.get(), values.get(), terms, V, C, launch);
  parallel_pieces(count, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* to = dw + rows.get()[i] * C;
      const float* from = values.get() + i * C;
      for (std::int64_t c = 0; c < C; ++c) to[c] += from[c];
    }
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
