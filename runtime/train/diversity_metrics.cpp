#include "runtime/train/diversity_metrics.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

enum Sum : std::uint8_t { kLists, kNovelty, kWithPairs, kByVectors, kByCategory };

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Coverage, Gini and entropy of how often each item was shown.
struct Exposure {
  double coverage = 0, gini = 0, entropy = 0;
};

Exposure exposure_of(std::vector<std::int64_t> shown) {
  std::ranges::sort(shown);
  const auto n = static_cast<double>(shown.size());
  double total = 0, weighted = 0, distinct = 0;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const auto x = static_cast<double>(shown[i]);
    total += x;
    weighted += (2 * static_cast<double>(i + 1) - n - 1) * x;
    distinct += x > 0 ? 1 : 0;
  }
  Exposure out{.coverage = distinct / n, .gini = weighted / (n * total)};
  for (const std::int64_t x : shown)
    if (x > 0) out.entropy -= static_cast<double>(x) / total * std::log(static_cast<double>(x) / total);
  return out;
}

}  // namespace

DiversityMetrics::DiversityMetrics(std::vector<std::int64_t> cutoffs, DiversityInputs inputs)
    : cutoffs_(std::move(cutoffs)), inputs_(std::move(inputs)), at_(cutoffs_.size()) {
  const std::size_t items = inputs_.item_users.size();
  if (cutoffs_.empty() || std::ranges::min(cutoffs_) < 1) throw ConfigError("lists need a cut-off of at least 1");
  require(items > 0 && inputs_.users > 0, "DiversityMetrics", "there must be items, and users that had some");
  require(inputs_.vectors.size() % items == 0 && (inputs_.category.empty() || inputs_.category.size() == items),
          "DiversityMetrics", "vectors and categories must be those of the items");
  for (const std::int64_t had : inputs_.item_users)
    information_.push_back(std::log2(static_cast<double>(inputs_.users) / static_cast<double>(std::max<std::int64_t>(had, 1))));
  for (AtCutoff& at : at_) at.shown.resize(items);
}

/// The cosines of all pairs of unit vectors u sum to (|sum u|^2 - sum |u|^2) / 2.
void DiversityMetrics::add_pairs(AtCutoff& to, std::span<const std::int32_t> list) const {
  const auto n = static_cast<double>(list.size());
  const double pairs = n * (n - 1) / 2;
  to.sums[kWithPairs] += 1;
  if (!inputs_.vectors.empty()) {
    const std::size_t width = inputs_.vectors.size() / inputs_.item_users.size();
    std::vector<double> sum(width);
    double units = 0;
    for (const std::int32_t item : list) {
      const auto row = std::span(inputs_.vectors).subspan(index(item) * width, width);
      double square = 0;
      for (const float x : row) square += double{x} * x;
      if (square <= 0) continue;
      units += 1;
      for (std::size_t c = 0; c < width; ++c) sum[c] += row[c] / std::sqrt(square);
    }
    double square = 0;
    for (const double x : sum) square += x * x;
    to.sums[kByVectors] += 1 - (square - units) / 2 / pairs;
  }
  if (!inputs_.category.empty()) {
    std::int64_t alike = 0;
    for (std::size_t i = 0; i < list.size(); ++i)
      for (std::size_t j = i + 1; j < list.size(); ++j) {
        const std::int32_t a = inputs_.category[index(list[i])];
        alike += a >= 0 && a == inputs_.category[index(list[j])] ? 1 : 0;
      }
    to.sums[kByCategory] += 1 - static_cast<double>(alike) / pairs;
  }
}

void DiversityMetrics::add(std::span<const std::int32_t> list) {
  for (std::size_t c = 0; c < cutoffs_.size() && !list.empty(); ++c) {
    const auto shown = list.first(std::min(list.size(), index(cutoffs_[c])));
    double bits = 0;
    for (const std::int32_t item : shown) {
      ++at_[c].shown[index(item)];
      bits += information_[index(item)];
    }
    at_[c].sums[kLists] += 1;
    at_[c].sums[kNovelty] += bits / static_cast<double>(shown.size());
    if (shown.size() > 1) add_pairs(at_[c], shown);
  }
}

void DiversityMetrics::merge(Communicator& communicator) {
  for (AtCutoff& at : at_) {
    communicator.all_reduce(at.shown.data(), static_cast<std::int64_t>(at.shown.size()), kernels::DType::kInt64, ReduceOp::kSum,
                            nullptr);
    communicator.all_reduce(at.sums, std::size(at.sums), kernels::DType::kFloat64, ReduceOp::kSum, nullptr);
  }
}

std::vector<std::pair<std::string, double>> DiversityMetrics::values() const {
  std::vector<std::pair<std::string, double>> out;
  for (std::size_t c = 0; c < cutoffs_.size(); ++c) {
    const AtCutoff& at = at_[c];
    if (at.sums[kLists] <= 0) throw DataError("lists: there is no candidate for any user");
    const auto name = [&](const char* what) { return std::string(what) + "@" + std::to_string(cutoffs_[c]); };
    const Exposure exposure = exposure_of({at.shown.begin() + inputs_.hidden, at.shown.end()});
    out.insert(out.end(), {{name("coverage"), exposure.coverage},
                           {name("gini"), exposure.gini},
                           {name("entropy"), exposure.entropy},
                           {name("novelty"), at.sums[kNovelty] / at.sums[kLists]}});
    if (at.sums[kWithPairs] <= 0) continue;
    if (!inputs_.vectors.empty()) out.emplace_back(name("intra_list_diversity"), at.sums[kByVectors] / at.sums[kWithPairs]);
    if (!inputs_.category.empty()) out.emplace_back(name("category_diversity"), at.sums[kByCategory] / at.sums[kWithPairs]);
  }
  return out;
}

}  // namespace tradewind::runtime
