#include "runtime/train/classification_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

/// This rank's values, then those of all ranks in order.
template <class T>
void gather(Communicator& communicator, std::vector<T>& values, const std::vector<std::int64_t>& counts) {
  const auto before = std::accumulate(counts.begin(), counts.begin() + communicator.rank(), std::int64_t{0});
  std::vector<T> all(static_cast<std::size_t>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0})));
  std::copy(values.begin(), values.end(), all.begin() + before);
  communicator.all_gather_v(all.data(), counts.data(), kernels::dtype_of<T>, nullptr);
  values = std::move(all);
}

/// -ln p(label) of log-odds, without overflow.
double negative_log_likelihood(double score, std::uint8_t label) {
  const double z = label == 1 ? -score : score;
  return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
}

}  // namespace

std::optional<double> exact_auc(std::span<const float> scores, std::span<const std::uint8_t> labels) {
  require(scores.size() == labels.size(), "exact_auc", "every score needs a label");
  if (std::ranges::any_of(scores, [](float s) { return std::isnan(s); }))
    throw DataError("AUC: a score is not a number; the model's parameters are damaged");
  std::vector<std::pair<float, std::uint8_t>> rows(scores.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {scores[i], labels[i]};
  std::ranges::sort(rows, {}, &std::pair<float, std::uint8_t>::first);
  // In halves of a pair, so that the sum is exact.
  std::uint64_t negatives = 0, positives = 0, halves = 0;
  for (std::size_t i = 0; i < rows.size();) {
    std::uint64_t here[2] = {0, 0};
    const float score = rows[i].first;
    for (; i < rows.size() && rows[i].first == score; ++i) ++here[rows[i].second];
    halves += here[1] * (2 * negatives + here[0]);
    negatives += here[0];
    positives += here[1];
  }
  if (negatives == 0 || positives == 0) return {};
  return static_cast<double>(halves) / 2 / static_cast<double>(negatives) / static_cast<double>(positives);
}

void ClassificationMetrics::add(std::int32_t user, float score, std::uint8_t label) {
  require(label <= 1, "ClassificationMetrics", "a label is 0 or 1");
  users_.push_back(user);
  scores_.push_back(score);
  labels_.push_back(label);
}

void ClassificationMetrics::merge(Communicator& communicator) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(communicator.size()));
  const auto mine = static_cast<std::int64_t>(scores_.size());
  communicator.all_gather(counts.data(), &mine, 1, kernels::DType::kInt64, nullptr);
  gather(communicator, users_, counts);
  gather(communicator, scores_, counts);
  gather(communicator, labels_, counts);
}

ClassificationMetrics::Values ClassificationMetrics::values() const {
  if (scores_.empty()) throw DataError("AUC: there is no pair that has a score and a label");
  const std::size_t n = scores_.size();
  Values out{.rows = static_cast<std::int64_t>(n), .auc = exact_auc(scores_, labels_)};
  out.positives = std::ranges::count(labels_, std::uint8_t{1});
  double loss = 0;
  for (std::size_t i = 0; i < n; ++i) loss += negative_log_likelihood(scores_[i], labels_[i]);
  out.log_loss = loss / static_cast<double>(n);
  const double share = static_cast<double>(out.positives) / static_cast<double>(n);
  if (share > 0 && share < 1) out.base_log_loss = -share * std::log(share) - (1 - share) * std::log1p(-share);

  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [this](std::size_t i) { return users_[i]; });
  double weighted = 0, weights = 0;
  std::vector<float> scores;
  std::vector<std::uint8_t> labels;
  for (std::size_t i = 0; i < n;) {
    scores.clear();
    labels.clear();
    for (const std::int32_t user = users_[order[i]]; i < n && users_[order[i]] == user; ++i) {
      scores.push_back(scores_[order[i]]);
      labels.push_back(labels_[order[i]]);
    }
    ++out.users;
    const auto auc = exact_auc(scores, labels);
    if (!auc) continue;
    ++out.users_with_both;
    weighted += *auc * static_cast<double>(scores.size());
    weights += static_cast<double>(scores.size());
  }
  if (weights > 0) out.gauc = weighted / weights;
  return out;
}

}  // namespace tradewind::runtime
