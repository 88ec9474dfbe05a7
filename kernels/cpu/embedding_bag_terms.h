// The bags of a batch as the CPU kernels of embedding_bag.cpp take them: parts for threads, and terms sorted by row.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/base/bag_chunks.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/radix_sort.h"

namespace tradewind::kernels::cpu {

/// Bags [begin, end) of table t; pointers are those of the whole batch, `rows` of the table.
struct BagPart {
  const BagShape& shape;
  const float* rows;
  const float* weights;
  std::int64_t t, begin, end;
  bool mean;

  std::size_t C() const { return static_cast<std::size_t>(shape.C); }
  const std::int64_t* offsets() const { return shape.bag_offsets + t * shape.B; }
};

/// What a table's gradient is summed from. Term e of the sorted order is id order[e]; its dout is at sample[id].
struct Terms {
  const float* dout;           // of this table's first column
  const std::int32_t* argmax;  // the same; null: not max
  const std::uint32_t *order, *sample;
  const std::int32_t* place;  // in its bag; max
  const float* scale;         // null: 1
  std::size_t stride, argmax_stride, C, count;
};

/// Rows of one table that have terms: segment s is terms [starts[s], starts[s + 1]).
struct Segments {
  const std::uint32_t* starts;
  const std::int32_t* rows;
  std::int64_t begin, end;
};

struct UpdateScalars {
  float rate, epsilon, gradient_scale;
  bool adagrad;
};

/// Where sums go: values[s], or with `table` into its row.
struct SumTarget {
  float* values;
  float *table, *moment;
  UpdateScalars update;
  float* partial;  // slots
  float* sum;      // of one row, a thread's own
};

/// Calls body(part) for bags that the threads share, cut at the tables' bounds.
template <class Body>
void for_bags(const float* table, const BagShape& s, const BagOptions& o, const Launch& launch, const Body& body) {
  const std::int64_t bags = s.T * s.B;
  if (bags == 0) return;
  const std::int64_t grain = std::max<std::int64_t>(1, rows_per_grain(s.C) * bags / (s.N + bags));
  parallel_pieces(bags, grain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin / s.B; t * s.B < end; ++t) {
      const float* rows = table == nullptr ? nullptr : table + s.row_offsets[t] * s.C;
      body(BagPart{s, rows, o.weights, t, std::max(begin - t * s.B, std::int64_t{0}), std::min(end - t * s.B, s.B),
                   o.mode == BagMode::kMean});
    }
  });
}

/// The terms in the order of their rows, and the segments of equal ones.
class SortedTerms {
 public:
  SortedTerms(const BagShape& s, const BagOptions& o, const Launch& launch)
      : s_(s),
        threads_(s.N < 2 * kGrain / 4 ? 1 : launch.threads),
        ids_(launch, size(s.N)),
        other_ids_(launch, size(s.N)),
        order_(launch, size(s.N)),
        other_order_(launch, size(s.N)),
        sample_(launch, size(s.N)),
        starts_(launch, size(s.N) + 1),
        buckets_(launch, kRadixBuckets * size(threads_)),
        place_(launch, o.mode == BagMode::kMax ? size(s.N) : 0),
        scale_(launch, o.mode == BagMode::kMean || o.weights != nullptr ? size(s.N) : 0) {
    describe(o);
    parallel_pieces(s.T, 1, threads_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) sort(t);
    });
  }

  /// Fills rows (of the stacked array) and begins, and the starts of segments.
  void find_segments(std::int32_t* rows, std::int64_t* begins) {
    std::int64_t count = 0;
    for (std::int64_t t = 0; t < s_.T; ++t) {
      begins[t] = count;
      const auto first_row = static_cast<std::int32_t>(s_.row_offsets[t]);
      for (std::int64_t e = first(t); e < first(t + 1); ++e)
        if (e == first(t) || ids_[size(e)] != ids_[size(e - 1)]) {
          rows[count] = first_row + ids_[size(e)];
          starts_[size(count++)] = static_cast<std::uint32_t>(e);
        }
    }
    begins[s_.T] = count;
    starts_[size(count)] = static_cast<std::uint32_t>(s_.N);
  }

  /// Terms of table t are [first(t), first(t + 1)).
  std::int64_t first(std::int64_t t) const { return s_.B == 0 ? 0 : s_.bag_offsets[t * s_.B]; }
  const std::uint32_t* starts() const { return starts_.get(); }
  Terms of_table(std::int64_t t, const float* dout, const std::int32_t* argmax) const {
    return {.dout = dout + t * s_.C,
            .argmax = argmax == nullptr ? nullptr : argmax + t * s_.C,
            .order = order_.get(),
            .sample = sample_.get(),
            .place = place_.get(),
            .scale = scale_.get(),
            .stride = size(s_.stride),
            .argmax_stride = size(s_.T * s_.C),
            .C = size(s_.C),
            .count = size(first(t + 1))};
  }

 private:
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

  void describe(const BagOptions& o) const {
    for_bags(nullptr, s_, o, Launch{.threads = threads_}, [&](const BagPart& part) {
      for (std::int64_t b = part.begin; b < part.end; ++b) {
        const std::int64_t begin = part.offsets()[b], end = part.offsets()[b + 1];
        const float scale = part.mean ? 1.0F / static_cast<float>(std::max<std::int64_t>(end - begin, 1)) : 1.0F;
        for (std::int64_t n = begin; n < end; ++n) {
          sample_[size(n)] = static_cast<std::uint32_t>(b);
          if (place_.get() != nullptr) place_[size(n)] = static_cast<std::int32_t>(n - begin);
          if (scale_.get() != nullptr) scale_[size(n)] = o.weights == nullptr ? scale : scale * o.weights[n];
        }
      }
    });
  }

  void sort(std::int64_t t) const {
    const std::int64_t begin = first(t);
    const RadixArrays arrays{ids_.get() + begin, other_ids_.get() + begin, order_.get() + begin, other_order_.get() + begin,
                             buckets_.get() + kRadixBuckets * size(omp_get_thread_num())};
    radix_sort(arrays, s_.ids + begin, size(first(t + 1) - begin), static_cast<std::uint32_t>(begin),
               s_.row_offsets[t + 1] - s_.row_offsets[t]);
  }

  const BagShape& s_;
  int threads_;
  ScratchArray<std::int32_t> ids_, other_ids_;
  ScratchArray<std::uint32_t> order_, other_order_, sample_, starts_, buckets_;
  ScratchArray<std::int32_t> place_;
  ScratchArray<float> scale_;
};

}  // namespace tradewind::kernels::cpu
