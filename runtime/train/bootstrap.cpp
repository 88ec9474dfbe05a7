#include "runtime/train/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/core/context.h"

namespace tradewind::runtime {
namespace {

/// Sorted values' q-quantile, between neighbours where it falls there.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto i = static_cast<std::size_t>(at);
  const double next = sorted[std::min(i + 1, sorted.size() - 1)];
  return sorted[i] + (at - static_cast<double>(i)) * (next - sorted[i]);
}

double two_sided(const std::vector<double>& means) {
  const auto n = static_cast<double>(means.size());
  const auto below = static_cast<double>(std::ranges::count_if(means, [](double x) { return x <= 0; }));
  const auto above = static_cast<double>(std::ranges::count_if(means, [](double x) { return x >= 0; }));
  return std::clamp(2 * std::min(below, above) / n, 1 / n, 1.0);
}

}  // namespace

std::vector<PairedDifference> paired_bootstrap(std::span<const std::vector<double>> first,
                                               std::span<const std::vector<double>> second, std::int64_t resamples,
                                               std::uint64_t seed) {
  require(!first.empty() && first.size() == second.size() && resamples >= 1, "paired_bootstrap", "the users must be the same");
  const std::size_t users = first.size(), metrics = first[0].size();
  std::vector<PairedDifference> out(metrics);
  std::vector<double> differences(users * metrics);
  for (std::size_t u = 0; u < users; ++u)
    for (std::size_t m = 0; m < metrics; ++m) {
      out[m].first += first[u][m] / static_cast<double>(users);
      out[m].second += second[u][m] / static_cast<double>(users);
      differences[u * metrics + m] = second[u][m] - first[u][m];
    }
  std::vector<std::vector<double>> means(metrics, std::vector<double>(static_cast<std::size_t>(resamples), 0.0));
  const auto key = kernels::philox_key(seed, purpose_of("bootstrap"));
  std::vector<double> sums(metrics);
  for (std::int64_t r = 0; r < resamples; ++r) {
    std::ranges::fill(sums, 0.0);
    for (std::size_t i = 0; i < users; i += 4) {
      const auto block = kernels::philox(key, {{static_cast<std::uint32_t>(i / 4), 0, static_cast<std::uint32_t>(r), 0}});
      for (std::size_t w = 0; w < 4 && i + w < users; ++w) {
        const auto user = static_cast<std::size_t>(std::uint64_t{block.w[w]} * users >> 32);
        for (std::size_t m = 0; m < metrics; ++m) sums[m] += differences[user * metrics + m];
      }
    }
    for (std::size_t m = 0; m < metrics; ++m) means[m][static_cast<std::size_t>(r)] = sums[m] / static_cast<double>(users);
  }
  for (std::size_t m = 0; m < metrics; ++m) {
    std::ranges::sort(means[m]);
    out[m].low = quantile(means[m], 0.025);
    out[m].high = quantile(means[m], 0.975);
    out[m].p = two_sided(means[m]);
  }
  return out;
}

}  // namespace tradewind::runtime
