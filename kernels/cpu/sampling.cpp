// A row is a list of (logit, id) of which only the front is ever sorted: blocks of doubling length are selected and sorted
// until the draw falls into one, so the usual cost is one pass for the exponentials and one for a selection.
#include "kernels/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/base/parallel.h"

namespace tradewind::kernels::cpu {
namespace {

struct Candidate {
  float logit;
  std::int32_t id;
  bool operator<(const Candidate& other) const { return logit != other.logit ? logit > other.logit : id < other.id; }
};

/// The id of the largest logit, and -1 where the row cannot be sampled from.
std::int32_t largest(const float* logits, std::int64_t V) {
  std::int64_t best = 0;
  bool bad = false;
  for (std::int64_t v = 0; v < V; ++v) {
    bad |= !(logits[v] <= std::numeric_limits<float>::max());
    if (logits[v] > logits[best]) best = v;
  }
  return bad || logits[best] < std::numeric_limits<float>::lowest() ? -1 : static_cast<std::int32_t>(best);
}

/// A uniform number in [0, 1) for one row.
double uniform(const RowKeys& keys, std::int64_t n, const SamplingOptions& options, const Launch& launch) {
  const std::uint64_t sample = keys.sample[n];
  const PhiloxBlock block = philox(philox_key(launch.step->seed, options.purpose),
                                   {{0, static_cast<std::uint32_t>(keys.position[n]), static_cast<std::uint32_t>(sample),
                                     static_cast<std::uint32_t>(sample >> 32)}});
  const std::uint64_t bits = std::uint64_t{block.w[0]} << 32 | block.w[1];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

/// Candidates in order, sorted as far as somebody has looked, with the cumulative sum of their weights.
class Ranking {
 public:
  Ranking(std::vector<Candidate>& row, float temperature, float most) : row_(row), temperature_(temperature), most_(most) {}

  double weight(const Candidate& c) const { return std::exp((static_cast<double>(c.logit) - most_) / temperature_); }

  /// Sum of the weights of the first i + 1.
  double cumulative(std::size_t i) {
    while (i >= sums_.size()) extend();
    return sums_[i];
  }
  std::size_t size() const { return row_.size(); }

 private:
  void extend() {
    const std::size_t begin = sums_.size(), end = std::min(row_.size(), std::max<std::size_t>(64, 2 * begin));
    const auto at = [&](std::size_t i) { return row_.begin() + static_cast<std::ptrdiff_t>(i); };
    if (end < row_.size()) std::nth_element(at(begin), at(end - 1), row_.end());
    std::sort(at(begin), at(end));
    double sum = begin == 0 ? 0 : sums_.back();
    for (std::size_t i = begin; i < end; ++i) sums_.push_back(sum += weight(row_[i]));
  }

  std::vector<Candidate>& row_;
  double temperature_, most_;
  std::vector<double> sums_;
};

std::int32_t draw(const float* logits, std::int64_t V, double u, const SamplingOptions& options, std::vector<Candidate>& row) {
  const std::int32_t top = largest(logits, V);
  if (top < 0 || options.temperature == 0) return top;
  row.resize(static_cast<std::size_t>(V));
  for (std::int64_t v = 0; v < V; ++v) row[static_cast<std::size_t>(v)] = {logits[v], static_cast<std::int32_t>(v)};
  if (options.top_k > 0 && options.top_k < V) {
    std::nth_element(row.begin(), row.begin() + (options.top_k - 1), row.end());
    row.resize(static_cast<std::size_t>(options.top_k));
  }
  Ranking ranking(row, options.temperature, logits[top]);
  double total = 0;
  for (const Candidate& candidate : row) total += ranking.weight(candidate);
  if (options.top_p < 1) {
    std::size_t last = 0;
    while (last + 1 < ranking.size() && ranking.cumulative(last) < static_cast<double>(options.top_p) * total) ++last;
    total = ranking.cumulative(last);
  }
  // The first whose cumulative sum exceeds the number; a weight of 0 exceeds nothing, so it is never the one.
  std::size_t chosen = 0, i = 0;
  for (const double number = u * total; i < ranking.size(); ++i) {
    const double before = i == 0 ? 0 : ranking.cumulative(i - 1);
    if (ranking.cumulative(i) > before) chosen = i;  // rounding of `total` can leave the number past the end: the last counts
    if (ranking.cumulative(i) > number) break;
  }
  return row[chosen].id;
}

}  // namespace

std::int64_t sample(std::int32_t* next, const float* logits, std::int64_t N, std::int64_t V, const RowKeys& keys,
                    const SamplingOptions& options, const Launch& launch) {
  parallel_pieces(N, 1, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    std::vector<Candidate> row;
    for (std::int64_t n = begin; n < end; ++n)
      next[n] = draw(logits + n * V, V, options.temperature == 0 ? 0 : uniform(keys, n, options, launch), options, row);
  });
  return std::find_if(next, next + N, [](std::int32_t id) { return id < 0; }) - next;
}

}  // namespace tradewind::kernels::cpu
